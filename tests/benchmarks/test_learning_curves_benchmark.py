"""The drawing of learning curves takes finished runs, each under its dataset and its model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import recbole_clia

sys.path.append(str(Path(recbole_clia.__file__).resolve().parent.parent / "benchmarks"))

import learning_curves


def write(folder: Path, model: str, seed: int, epochs: int = 3, **facts: Any) -> None:
    curve = [{"epoch": e, "train_seconds": 2.0 * (e + 1), "valid_score": 0.1 * e} for e in range(epochs)]
    record = {"model": model, "dataset": "made", "seed": seed, "packed": True, "state": "done", "curve": curve}
    record.update({"device": "cpu", "machine": {"gpu": None}, **facts})
    (folder / "runs" / f"{model}-{seed}").mkdir(parents=True)
    (folder / "runs" / f"{model}-{seed}" / "run.json").write_text(json.dumps(record))


def test_finished_runs_are_drawn_once_each(tmp_path: Path) -> None:
    write(tmp_path / "a", "CLIA", 2020)
    write(tmp_path / "a", "CLIA", 2021)
    write(tmp_path / "a", "SASRec", 2020)
    write(tmp_path / "a", "SASRec", 2021, state="failed")
    write(tmp_path / "a", "Pop", 2020, epochs=1)
    write(tmp_path / "b", "NARM", 2020, packed=False, dataset="other", device="cuda", machine={"gpu": "Made G1"})
    found = learning_curves.curves([tmp_path / "a", tmp_path / "b"])
    seen = {dataset: {name: len(records) for name, records in models.items()} for dataset, models in found.items()}
    assert seen == {"made": {"CLIA": 2, "SASRec (packed)": 1}, "other": {"NARM": 1}}
    learning_curves.main([str(tmp_path / "a"), str(tmp_path / "b"), "--svg", str(tmp_path / "deep" / "drawing.svg")])
    drawing = (tmp_path / "deep" / "drawing.svg").read_text(encoding="utf-8")
    for word in ("made, CPU", "other, Made G1", "CLIA", "SASRec (packed)", "NARM"):
        assert f">{word}<" in drawing


def test_nothing_to_draw_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        learning_curves.main([str(tmp_path)])
    assert ended.value.code == 2
    assert "no finished run" in capsys.readouterr().err
