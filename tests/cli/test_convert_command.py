"""``recbole-clia convert`` as a person types it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_clia.cli.main import main
from recbole_clia.converters.catalogue import CONVERTERS, describe

VIEWS = "sessionId;userId;itemId;timeframe;eventdate\n" + "".join(
    f"{session};NA;{item};{1000 * item};2016-05-09\n" for session in range(1, 7) for item in range(1, 13)
)


@pytest.fixture
def views(workplace: Path) -> Path:
    (workplace / "train-item-views.csv").write_text(VIEWS + "7;NA;1;x;2016-05-09\n7;NA;1\n")
    (workplace / "product-categories.csv").write_text("itemId;categoryId\n1;4\n2;4\n")
    return workplace / "train-item-views.csv"


def row(printed: str, name: str) -> list[str]:
    return next(re.split(r"\s{2,}", line.strip()) for line in printed.splitlines() if line.startswith(name + " "))


def test_it_tells_what_was_found(views: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "diginetica", str(views), "product-categories.csv", "my data"]) == 0
    printed = capsys.readouterr().out
    expected = describe("diginetica")
    assert expected.title in printed
    assert row(printed, "users") == ["users", "6", f"{expected.users:,}"]
    assert row(printed, "items") == ["items", "12", f"{expected.items:,}"]
    assert row(printed, "interactions") == ["interactions", "72", f"{expected.interactions:,}"]
    assert "train-item-views.csv: 1 line left out, 3 fields instead of 5 (first at line 75)\n" in printed
    assert "train-item-views.csv: 1 line left out, timeframe is not a whole number (first at line 74)\n" in printed
    assert "it may be a subset or another release" in printed
    assert "my data/diginetica/diginetica.inter: 72 interactions\n" in printed
    assert "my data/diginetica/diginetica.item: 2 items\n" in printed
    assert printed.endswith("Next: recbole-clia train --dataset=diginetica --data_path='my data'\n")
    assert Path("my data/diginetica/diginetica.inter").read_text().count("\n") == 73


def test_the_next_command_runs(views: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "diginetica", str(views), "data"]) == 0
    printed = capsys.readouterr().out
    assert "diginetica.item" not in printed
    words = printed.splitlines()[-1].removeprefix("Next: recbole-clia ").split()
    small = ["--epochs=1", "--embedding_size=8", "--hidden_size=8", "--MAX_ITEM_LIST_LENGTH=8", "--state=ERROR"]
    assert main([*words, *small, "--show_progress=False"]) == 0
    assert "ndcg@10" in capsys.readouterr().out


def test_numbers_as_published_need_no_remark(
    views: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from recbole_clia.converters import catalogue

    whole = replace(describe("diginetica"), users=6, items=12, interactions=72)
    monkeypatch.setattr(catalogue, "describe", lambda name: whole)
    assert main(["convert", "diginetica", str(views), "data"]) == 0
    printed = capsys.readouterr().out
    assert row(printed, "users") == ["users", "6", "6"]
    assert "subset" not in printed
    unknown = replace(whole, users=None, items=None, interactions=None, statistics="not known, for a reason")
    monkeypatch.setattr(catalogue, "describe", lambda name: unknown)
    assert main(["convert", "diginetica", str(views), "data", "--force"]) == 0
    printed = capsys.readouterr().out
    assert row(printed, "users") == ["users", "6", "not known"]
    assert "Statistics: not known, for a reason\n" in printed
    assert "subset" not in printed


def test_it_replaces_only_by_force_wherever_that_stands(views: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "diginetica", str(views), "data"]) == 0
    assert main(["convert", "diginetica", str(views), "data"]) == 2
    assert "is already there" in capsys.readouterr().err
    for words in (
        ["--force", "diginetica", str(views), "data"],
        ["diginetica", "--force", str(views), "data"],
        ["diginetica", str(views), "--force", "data"],
        ["diginetica", str(views), "data", "--force"],
    ):
        assert main(["convert", *words]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "convert: give a dataset, its raw files and a folder, or --list to see the datasets"),
        (["digenetica", "a", "b"], "convert: the dataset 'digenetica' is unknown; did you mean diginetica?"),
        (
            ["zzzz", "a", "b"],
            "convert: the dataset 'zzzz' is unknown; recbole-clia convert --list shows the known ones",
        ),
        (
            ["retailrocket", "events.csv"],
            "convert: give retailrocket's raw files (events.csv, item_properties_part1.csv",
        ),
        (["retailrocket", "a.csv", "out"], "a.csv: there is no such file"),
        (["retailrocket", "events.csv", "events.csv"], "events.csv is a file; the last word must be the folder"),
        (["retailrocket", "notes.csv", "out"], "notes.csv: its name is none of retailrocket's files"),
        (["retailrocket", "events.csv", "out"], "events.csv: not one interaction was found"),
        (["retailrocket", "events.csv", "notes.csv/out"], "convert: notes.csv/out/retailrocket: Not a directory"),
        (["retailrocket", "events.csv", "out", "--overwrite"], "convert: unknown argument --overwrite"),
        (["--list", "taobao"], "convert: --list takes no further words, such as taobao"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    Path("events.csv").write_text("timestamp,visitorid,event,itemid,transactionid\n")
    Path("notes.csv").write_text("")
    assert main(["convert", *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"recbole-clia: {sentence}")
    assert not list(workplace.rglob("*.inter"))


def test_list_shows_every_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--list"]) == 0
    printed = capsys.readouterr().out
    listed = [line.split()[0] for line in printed.splitlines()[2:] if line and not line.startswith(" ")]
    assert listed == list(CONVERTERS)
    for name in CONVERTERS:
        assert describe(name).publisher in printed
