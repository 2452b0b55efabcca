"""Paired tests over users of runs from several folders: by the users' tokens, whatever the order of the rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import recbole_clia
from recbole_clia.comparison.record import write_rows

sys.path.append(str(Path(recbole_clia.__file__).resolve().parent.parent / "benchmarks"))

import paired_users

USERS = 40


def write(folder: Path, model: str, seed: int, rank: np.ndarray, order: np.ndarray | None = None) -> Path:
    order = np.arange(USERS) if order is None else order
    rows = np.zeros((USERS, 7), dtype=np.int64)
    rows[:, 0], rows[:, 4], rows[:, 5] = np.arange(USERS), rank, (rank + 1) // 2
    run = folder / "runs" / f"{model}-{seed}"
    run.mkdir(parents=True)
    record = {
        "model": model,
        "dataset": "made",
        "seed": seed,
        "state": "done",
        "rows_crc": write_rows(run, rows[order]),
    }
    (run / "run.json").write_text(json.dumps(record))
    return run


def ndcg(rank: int) -> float:
    return float(1 / np.log2(rank + 1)) if rank <= 10 else 0.0


def test_each_user_has_the_mean_of_the_seeds_and_meets_themselves(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mine = [random.integers(1, 15, USERS) for _ in range(2)]
    theirs = random.integers(3, 25, USERS)
    write(tmp_path / "a", "CLIA", 2020, mine[0])
    write(tmp_path / "a", "CLIA", 2021, mine[1], random.permutation(USERS))
    write(tmp_path / "b", "NARM", 2020, theirs, random.permutation(USERS))
    write(tmp_path / "b", "Same", 2020, mine[0])
    lines = paired_users.table(paired_users.runs_of([tmp_path / "a", tmp_path / "b"])["made"], "CLIA")
    assert [(line["ranking"], line["against"]) for line in lines] == [
        ("all items", "NARM"),
        ("all items", "Same"),
        ("history hidden", "NARM"),
        ("history hidden", "Same"),
    ]
    for line, change in ((lines[0], lambda rank: rank), (lines[2], lambda rank: (rank + 1) // 2)):
        one = [(ndcg(change(int(mine[0][u]))) + ndcg(change(int(mine[1][u])))) / 2 for u in range(USERS)]
        other = [ndcg(change(int(theirs[u]))) for u in range(USERS)]
        assert line["CLIA"] == pytest.approx(np.mean(one))
        assert line["it"] == pytest.approx(np.mean(other))
        assert line["gain"] == f"{np.mean(one) / np.mean(other) - 1:+.1%}"
        assert line["p"] == pytest.approx(scipy.stats.wilcoxon(np.round(np.subtract(one, other), 12)).pvalue)
        assert line["p, corrected"] >= line["p"]


def test_what_cannot_be_paired_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rank = np.arange(1, USERS + 1)
    write(tmp_path / "a", "CLIA", 2020, rank)
    for folders, words in ((["a"], "no dataset with finished runs of CLIA and another"), (["a", "b"], "a second run")):
        if "b" in folders:
            write(tmp_path / "b", "CLIA", 2020, rank)
        with pytest.raises(SystemExit) as ended:
            paired_users.main([str(tmp_path / folder) for folder in folders])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
    run = write(tmp_path / "c", "NARM", 2020, rank)
    np.save(run / "rows.npy", np.ones((USERS, 7), dtype=np.int64))
    with pytest.raises(SystemExit):
        paired_users.main([str(tmp_path / "a"), str(tmp_path / "c")])
    assert "not those of the run" in capsys.readouterr().err
