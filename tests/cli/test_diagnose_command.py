"""``recbole-clia diagnose`` as a person types it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import random_rows, write_log

from recbole_clia import run
from recbole_clia.cli.main import main
from recbole_clia.diagnosis.page import TITLES

SETTINGS = {
    "MAX_ITEM_LIST_LENGTH": 8,
    "embedding_size": 8,
    "hidden_size": 8,
    "show_progress": False,
    "state": "ERROR",
    "use_gpu": False,
    "epochs": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a trained CLIA, ``saved/made.pth``, whose data have a column of labels."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("diagnosed")
        patch.chdir(path)
        write_log(path / "dataset", random_rows(7))
        file = path / "dataset/made/made.inter"
        head, *rows = file.read_text().splitlines()
        rows = [f"{row}\t{number % 2}\t{number}" for number, row in enumerate(rows)]
        file.write_text("\n".join([f"{head}\tmotive:float\tnumber:float", *rows]) + "\n")
        columns = {"inter": ["user_id", "item_id", "timestamp"]}
        result = run("CLIA", "made", config_dict={**SETTINGS, "load_col": columns})
        for end in (".pth", ".last.pth"):
            Path(result["model_file"].removesuffix(".pth") + end).rename(f"saved/made{end}")
        yield path


def printed_numbers(text: str, begins: str) -> list[float]:
    (line,) = [line for line in text.splitlines() if line.startswith(begins)]
    return [float(word.replace(",", "")) for word in re.findall(r"-?[\d,]*\.?\d+", line.removeprefix(begins))]


def test_it_prints_writes_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "saved/made.pth"]) == 0
    printed = capsys.readouterr().out
    figures: dict[str, Any] = json.loads((folder / "diagnosis/made.json").read_text())
    rows = figures["rows"]
    assert f"CLIA on made: saved/made.pth\n{rows} of {figures['of_rows']} test rows" in printed
    alpha = figures["measures"]["alpha"]
    names = ("least", "quarter", "median", "three_quarters", "most", "mean", "std", "rows")
    shown = printed_numbers(printed, "alpha, the weight of the long-term interest")
    assert shown == pytest.approx([alpha[name] for name in names], abs=6e-4)
    for words, name in {
        "fusion": "fusion",
        "long-term branch alone": "long",
        "short-term branch alone": "short",
        "popularity, to compare": "popularity",
    }.items():
        ranking = figures["ranking"][name]
        line = next(line for line in printed.splitlines() if line.startswith(words))
        shown = [float(word) for word in re.findall(r"\d\.\d+", line)]
        assert shown == pytest.approx([ranking[key] for key in ("ndcg", "ndcg_error", "hit")], abs=6e-5)
    shuffled, *others = figures["counterfactuals"]
    assert shuffled["kind"] == "shuffled"
    line = next(line for line in printed.splitlines() if line.startswith("items shuffled"))
    assert f"{shuffled['branches']['short']['ndcg']:.4f}" in line
    assert [change["items"] for change in others] == [1, 2, 3, 5, 8, 3]
    label = figures["label"]
    assert label["field"] == "motive"
    assert f"ROC AUC of alpha {label['auc']:.4f}" in printed
    assert figures["verdict"]
    assert all(f"- {line}" in printed for line in figures["verdict"])
    assert "2 recorded in saved/made.last.pth" in printed
    assert "Figures: diagnosis/made.json\nDrawing: diagnosis/made.svg" in printed


def test_the_drawing_is_well_formed_and_titled_and_always_the_same(folder: Path) -> None:
    for out in ("page/s", "again"):
        assert main(["diagnose", "saved/made.pth", "--out", out, "--rows", "9", "--seed=3"]) == 0
    rows = json.loads((folder / "page/s/made.json").read_text())["of_rows"]
    text = (folder / "page/s/made.svg").read_text()
    ElementTree.fromstring(text)
    words = set(re.findall(r"<!-- (.*?) -->", text))
    assert set(TITLES.values()) <= words
    assert f"CLIA on made: 9 of {rows} test rows, each ranked among 30 items" in words
    assert {"motive 1", "motive 0"} <= words
    for file in ("made.json", "made.svg"):
        assert (folder / "page/s" / file).read_bytes() == (folder / "again" / file).read_bytes()


def test_a_single_row_can_be_drawn(folder: Path) -> None:
    assert main(["diagnose", "saved/made.pth", "--out", "single", "--rows=1"]) == 0
    ElementTree.fromstring((folder / "single/made.svg").read_text())
    figures = json.loads((folder / "single/made.json").read_text())
    assert figures["rows"] == 1
    assert figures["label"]["auc"] is None
    assert figures["ranking"]["fusion"]["ndcg_error"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "the following arguments are required: MODEL_FILE"),
        (["saved/nowhere.pth"], "checkpoint saved/nowhere.pth: No such file"),
        (["saved"], "checkpoint saved: Is a directory"),
        (["dataset/made/made.inter"], "made.inter: it is damaged or no checkpoint"),
        (["half.pth"], "half.pth: it is damaged or no checkpoint"),
        (["other.pth"], "other.pth: it holds no model"),
        (["gru.pth"], "gru.pth holds GRU4Rec; only CLIA and CLSR have two interests"),
        (["saved/made.pth", "--rows=0"], "rows must be at least 1, not 0"),
        (["saved/made.pth", "--rows=many"], "invalid int value: 'many'"),
        (["saved/made.pth", "--seed=-1"], "seed must be at least 0, not -1"),
        (["saved/made.pth", "--label=motif"], "label: there is no field 'motif' in"),
        (["saved/made.pth", "--label=motif"], "did you mean motive?"),
        (["saved/made.pth", "--label=number"], "'number' of dataset/made/made.inter must hold 0 and 1 only, and has"),
        (["saved/made.pth", "--label=item_id"], "'item_id' says who did what when"),
        (["saved/made.pth", "--data_path=gone"], "dataset 'made'"),
        (["saved/made.pth", "--embedding_size=4"], "embedding_size is a setting of the trained model"),
        (["saved/made.pth", "--epochs=3"], "diagnose: epochs is a setting of training, which is over; leave it out"),
        (["saved/made.pth", "--train_seconds=3"], "diagnose: train_seconds is a setting of training"),
        (
            ["saved/made.pth", "--dataset=ok"],
            "diagnose: dataset is what the trained model's file says, 'made'; leave it",
        ),
        (["saved/made.pth", "--model=CLSR"], "diagnose: model is what the trained model's file says, 'CLIA'; leave it"),
        (["saved/made.pth", "--data_pth=gone"], "'data_pth' is read by nothing"),
        (["saved/made.pth", "stray"], "'stray' must have the form --key=value"),
        (["saved/made.pth", "--user_inter_num_interval=[9,inf)"], "these are other data, or other filters"),
        (["saved/made.pth", "--out=half.pth"], "--out: half.pth is no folder"),
        (["saved/made.pth", "--out=half.pth/deeper"], "--out: half.pth/deeper is no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence_and_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    (folder / "half.pth").write_bytes((folder / "saved/made.pth").read_bytes()[:1000])
    torch.save({"weights": torch.zeros(1)}, "other.pth")
    checkpoint = torch.load("saved/made.pth")
    checkpoint["config"]["model"] = "GRU4Rec"
    torch.save(checkpoint, "gru.pth")
    before = sorted(folder.rglob("*"))
    try:
        code = main(["diagnose", *words])
    except SystemExit as stop:  # argparse ends the process itself
        code = stop.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert code == 2
    assert sentence in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""
    assert sorted(folder.rglob("*")) == before
