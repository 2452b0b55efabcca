"""``recbole-clia synth`` as a person types it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from recbole_clia.cli.main import main
from recbole_clia.synthesis.generator import World

SMALL = ["--users=40", "--items=80", "--categories=10", "--sessions=4", "--session_length=5", "--seed=3"]


def commands(printed: str) -> list[list[str]]:
    """What is to be typed next."""
    return [shlex.split(line)[1:] for line in re.findall(r"recbole-clia (?:data|train) .*", printed)]


def test_it_tells_what_was_made(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", *SMALL, "--out=my data"]) == 0
    printed = capsys.readouterr().out
    folder = workplace / "my data" / "synth"
    facts = json.loads((folder / "synth.world.json").read_text())
    lines = (folder / "synth.inter").read_text().splitlines()[1:]
    assert re.search(r"^users +40$", printed, re.MULTILINE)
    assert re.search(rf"^items +{facts['items']} +of 80$", printed, re.MULTILINE)
    assert re.search(rf"^sessions +{len({line.split(chr(9))[3] for line in lines})}$", printed, re.MULTILINE)
    assert re.search(rf"^interactions +{len(lines)}$", printed, re.MULTILINE)
    share = sum(line.split("\t")[2] == "1" for line in lines) / len(lines)
    assert re.search(rf"^driven by taste +{100 * share:.2f} %", printed, re.MULTILINE)
    assert re.search(rf"^ceiling_auc +{facts['ceiling_auc']:.4f}", printed, re.MULTILINE)
    assert facts["world"]["users"] == 40
    assert facts["seed"] == 3
    assert commands(printed) == [
        ["data", "stats", "synth", "--data_path=my data"],
        ["train", "--dataset=synth", "--data_path=my data"],
    ]


@pytest.mark.parametrize("words", [[], ["other"]])
def test_the_next_commands_run(workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["synth", *words, *SMALL]) == 0
    stats, train = commands(capsys.readouterr().out)
    assert main(stats) == 0
    printed = capsys.readouterr().out
    assert "without any filter" in printed
    assert re.search(r"^unit of the times +ms$", printed, re.MULTILINE)
    assert re.search(r"^ties: .* 0  of", printed, re.MULTILINE)
    small = ["--epochs=1", "--embedding_size=8", "--hidden_size=8", "--MAX_ITEM_LIST_LENGTH=8", "--state=ERROR"]
    assert main([*train, *small, "--show_progress=False"]) == 0
    assert "ndcg@10" in capsys.readouterr().out


def test_every_number_of_the_world_is_an_option(workplace: Path) -> None:
    given = {}
    for number in fields(World):
        given[number.name] = 5 if number.type == "int" else min(number.metadata["allowed"].high, number.default + 0.25)
    given |= {"categories": 7, "items": 33, "year": 2001, "session_length": 1.5, "noise": 0.25}
    assert World(**given) != World()
    assert all(given[number.name] != number.default for number in fields(World))
    assert main(["synth", *(f"--{name}={value}" for name, value in given.items())]) == 0
    assert json.loads(Path("dataset/synth/synth.world.json").read_text())["world"] == given


def test_one_motive_alone_has_no_ceiling(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", *SMALL, "--errands=0", "--purity=1"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^driven by taste +100.00 %", printed, re.MULTILINE)
    assert re.search(r"^ceiling_auc +all motives are the same", printed, re.MULTILINE)


def test_it_replaces_only_by_force(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", *SMALL]) == 0
    made = {path.name: path.read_bytes() for path in Path("dataset/synth").iterdir()}
    assert len(made) == 4
    capsys.readouterr()
    assert main(["synth", *SMALL[:-1], "--seed=4"]) == 2
    assert capsys.readouterr().err == (
        "recbole-clia: dataset/synth/synth.inter is already there; give another name or folder, "
        "or replace it with --force\n"
    )
    assert {path.name: path.read_bytes() for path in Path("dataset/synth").iterdir()} == made
    Path("dataset/synth/synth.inter").unlink()
    assert main(["synth", *SMALL]) == 2  # any of its files would be lost
    assert main(["synth", *SMALL[:-1], "--seed=4", "--force"]) == 0
    assert all(path.read_bytes() != made[path.name] for path in Path("dataset/synth").iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--users=0"], "users must be a whole number in [1, 10000000], not 0"),
        (["--users=many"], "argument --users: invalid int value: 'many'"),
        (["--purity=0.4"], "purity must be in [0.5, 1], not 0.4"),
        (["--noise=nan"], "noise must be in [0, 1], not nan"),
        (["--session_gap=inf"], "session_gap must be in [0.001, 10000], not inf"),
        (["--tastes=25"], "categories must be more than tastes, so that an intent can be none of them: 25 are not"),
        (["--items=20"], "items must be as many as categories or more: 20 are less than 25"),
        (["--seed=-1"], "seed must be in [0, inf), not -1"),
        (["--year=2099", "--session_gap=300"], "the log would last until the year 2100"),
        (["--user=5"], "synth: unknown argument --user=5"),
        (["one", "two"], "synth: unknown argument two"),
        (["ml-1m"], "synth: ml-1m is another dataset, whose settings would hold; choose another name"),
        (["gowalla"], "synth: gowalla is another dataset"),
        (["a/b"], "the name of a dataset must be a plain word, not 'a/b'"),
        ([".."], "the name of a dataset must be a plain word, not '..'"),
        (["--out=notes.csv"], "notes.csv is a file; it must be the folder for the result"),
        (["--out=notes.csv/data", "--users=5"], "synth: notes.csv/data/synth: Not a directory"),
        (["n" * 300, "--users=5"], "synth: dataset/" + "n" * 300),
    ],
)
def test_bad_input_ends_in_one_sentence(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    Path("notes.csv").write_text("")
    try:
        code = main(["synth", *words])
    except SystemExit as stop:  # argparse's own
        code = stop.code
    assert code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"recbole-clia: {sentence}")
    assert said.err.count("\n") == 1
    assert [path.name for path in workplace.iterdir()] == ["notes.csv"]
