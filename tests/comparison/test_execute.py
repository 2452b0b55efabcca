"""Runs are made once, recorded at once, and repeated where they failed or were interrupted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import prepare
from filelock import FileLock
from recbole.model.general_recommender.pop import Pop

import recbole_clia
from recbole_clia.comparison import execute as execution
from recbole_clia.comparison.claims import LOCK
from recbole_clia.comparison.execute import Outcome, execute, finished, seconds_left
from recbole_clia.comparison.plan import METRICS, Run, make_plan
from recbole_clia.comparison.record import COLUMNS, LOG, RECORD, ROWS, read_record, write_atomically, write_record
from recbole_clia.comparison.score import row_metrics
from recbole_clia.errors import UsageError


@pytest.fixture
def settings(made: dict[str, Any]) -> dict[str, Any]:
    chosen = {key: made[key] for key in ("data_path", "load_col", "use_gpu", "MAX_ITEM_LIST_LENGTH")}
    return {**chosen, "epochs": 2, "hidden_size": 8, "user_inter_num_interval": "[4,inf)"}


@pytest.fixture
def plan(settings: dict[str, Any]) -> list[Run]:
    return make_plan(["CLIA", "GRU4Rec"], ["made"], [1, 2], settings=settings)


def run_here(runs: Sequence[Run], folder: Path, **others: Any) -> list[Outcome]:
    return execute(runs, folder, **others)


def test_a_run_is_recorded_whole(here: list[str], plan: list[Run], workplace: Path) -> None:
    told: list[str] = []
    outcomes = run_here(plan, workplace / "runs", ended=lambda outcome, left: told.append(str(outcome.run)))
    assert told == [str(run) for run in plan]
    for outcome in outcomes:
        folder = workplace / "runs" / outcome.run.folder
        record = json.loads((folder / RECORD).read_text())
        assert record == outcome.record == read_record(folder, outcome.run.key)
        assert record["state"] == "done"
        assert record["config"] == json.loads(json.dumps(dict(outcome.run.config)))
        assert record["config"]["seed"] == record["seed"] == outcome.run.seed
        assert record["versions"]["torch"]
        assert record["machine"]["threads"] == 1
        assert record["packed"] is True
        assert [point["epoch"] for point in record["curve"]] == [0, 1]
        seconds = [point["train_seconds"] for point in record["curve"]]
        assert 0 < seconds[0] < seconds[1]
        assert record["seconds_to_best"] == seconds[record["best_epoch"]]
        assert record["valid"]["ndcg@10"] == max(point["valid_score"] for point in record["curve"])
        assert ("alpha" in record["diagnosis"]) is (record["model"] == "CLIA")
        assert record["parameters"] > 0
        assert record["peak_mib"] > 0
        assert sorted(path.name for path in folder.iterdir()) == [LOG, ROWS, RECORD]
    assert not any((workplace / name).exists() for name in ("log", "log_tensorboard", "models"))


@pytest.mark.parametrize("model", ["CLIA", "SASRec", "NARM", "Pop", "BPR"])
def test_metrics_of_the_rows_are_recboles(
    here: list[str], settings: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(Pop, "calculate_loss", Pop.calculate_loss)  # given back afterwards
    del settings["hidden_size"]
    runs = make_plan([model], ["made"], [1], settings=settings)
    (outcome,) = run_here(runs, workplace / "runs", keep_models=True)
    record = outcome.record
    rows = np.load(workplace / "runs" / outcome.run.folder / ROWS)
    metrics = row_metrics(rows[:, COLUMNS.index("rank")])
    assert record["test_rows_left_out"] == 0
    for metric in METRICS:
        assert record["test"][metric] == metrics[metric].mean()
        assert record["test_of_recbole"][metric.lower()] == pytest.approx(metrics[metric].mean(), abs=0.51e-4)
        assert record["hidden"][metric] == row_metrics(rows[:, COLUMNS.index("hidden_rank")])[metric].mean()
    repeat = rows[:, COLUMNS.index("repeat")] == 1
    rank, hidden = (rows[:, COLUMNS.index(name)] for name in ("rank", "hidden_rank"))
    assert 0 < repeat.sum() < len(rows)
    assert (hidden[repeat] > 20).all()
    best, worst = np.minimum(rank - rows[:, COLUMNS.index("history")], 21), rank
    assert (best[~repeat] <= hidden[~repeat]).all()
    assert (hidden[~repeat] <= worst[~repeat]).all()
    assert (hidden[~repeat] < worst[~repeat]).any()
    assert (workplace / "runs" / outcome.run.folder / "model.pth").is_file()


def test_rows_of_different_models_are_those_of_the_same_targets(
    here: list[str], settings: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where general models would test users of two interactions."""
    monkeypatch.setattr(Pop, "calculate_loss", Pop.calculate_loss)  # given back afterwards
    del settings["hidden_size"]
    settings.pop("user_inter_num_interval")
    outcomes = run_here(make_plan(["NARM", "Pop"], ["made"], [1], settings=settings), workplace / "runs")
    one, other = (np.load(workplace / "runs" / outcome.run.folder / ROWS) for outcome in outcomes)
    assert outcomes[1].record["test_rows_left_out"] > 0
    shared = [COLUMNS.index(name) for name in ("user", "item", "history", "popularity", "repeat")]
    assert np.array_equal(one[:, shared], other[:, shared])
    lines = [line.split("\t") for line in (Path(settings["data_path"]) / "made/made.inter").read_text().splitlines()]
    log = sorted((user, float(time), item) for user, item, time in lines[1:])
    users, items = (sorted({entry[place] for entry in log}) for place in (0, 2))
    want = []
    for user in users:
        own = [item for name, _, item in log if name == user]
        if len(own) >= 3:
            want.append([1 + users.index(user), 1 + items.index(own[-1]), len(own) - 1, own[-1] in own[:-1]])
    assert one[:, [0, 1, 2, COLUMNS.index("repeat")]].tolist() == want
    outside = [item for _, _, item in log]
    for row in want:
        outside.remove(items[row[1] - 1])
    assert one[:, 3].tolist() == [outside.count(items[row[1] - 1]) for row in want]


def test_pop_is_popularity(
    here: list[str], settings: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batches and the seed; RecBole counts an item once a batch."""
    monkeypatch.setattr(Pop, "calculate_loss", Pop.calculate_loss)  # given back afterwards
    del settings["hidden_size"]
    found = []
    for size in (7, 2048):
        plan = make_plan(["Pop"], ["made"], [1, 2], settings={**settings, "train_batch_size": size})
        for outcome in run_here(plan, workplace / "runs"):
            found.append(np.load(workplace / "runs" / outcome.run.folder / ROWS))
    assert len({outcome.tobytes() for outcome in found}) == 1
    prepared = prepare({**plan[0].settings}, "Pop")
    count = np.bincount(prepared.train._dataset.inter_feat["item_id"].numpy(), minlength=prepared.dataset.item_num)
    test = prepared.test._dataset.inter_feat
    pairs = list(zip(test["user_id"].tolist(), test["item_id"].tolist(), strict=True))
    above = {user: int((count[1:] > count[item]).sum()) for user, item in pairs}
    tied = {user: int((count[1:] == count[item]).sum()) for user, item in pairs}
    tokens = prepared.dataset.id2token("user_id", np.arange(1, prepared.dataset.user_num)).tolist()
    for row in found[0].tolist():
        user = 1 + tokens.index(sorted(tokens)[row[0] - 1])
        assert above[user] < row[4] <= max(above[user] + tied[user], 21)


def test_what_is_done_is_never_made_again(here: list[str], plan: list[Run], workplace: Path) -> None:
    folder = workplace / "runs"
    first = run_here(plan[:3], folder)
    assert len(here) == 3
    kept = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    here.clear()
    again = run_here(plan, folder)
    assert here == [plan[3].folder]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept} == kept
    assert [outcome.fresh for outcome in again] == [False, False, False, True]
    assert [outcome.record for outcome in again[:3]] == [outcome.record for outcome in first]


EDITED: dict[str, dict[str, Any]] = {
    "no figures": {"test": None},
    "a figure less": {"hidden": {"NDCG@10": 0.1}},
    "a word for a figure": {"test": dict.fromkeys(METRICS, "high")},
    "a curve of nothing": {"curve": [{}]},
    "no curve": {"curve": 5},
    "a word for seconds": {"seconds": "x"},
    "no time": {"began": "yesterday"},
    "no size": {"parameters": None},
}


@pytest.mark.parametrize(
    "fault", ["no record", "half a record", "no rows", "other rows", "another key", "a folder left", *sorted(EDITED)]
)
def test_what_is_broken_or_interrupted_is_repeated(
    here: list[str], plan: list[Run], workplace: Path, fault: str
) -> None:
    runs = workplace / "runs"
    first = run_here(plan[:2], runs)
    folder = runs / plan[0].folder
    if fault in ("no record", "a folder left"):
        (folder / RECORD).unlink()
    if fault == "a folder left":
        (folder / "work-abc" / "saved").mkdir(parents=True)
        (folder / "output.txt").write_text("half a line")
    if fault == "half a record":
        text = (folder / RECORD).read_text()
        (folder / RECORD).write_text(text[: len(text) // 2])
    if fault == "no rows":
        (folder / ROWS).unlink()
    if fault == "other rows":
        rows = np.load(folder / ROWS)
        np.save(folder / ROWS, rows + 1)
    if fault in EDITED:
        write_record(folder, {**first[0].record, **EDITED[fault]})
    if fault == "another key":
        write_record(folder, {**first[0].record, "key": "0" * 12})
    here.clear()
    second = run_here(plan[:2], runs)
    assert here == [plan[0].folder]
    assert sorted(path.name for path in folder.iterdir()) == [LOG, ROWS, RECORD]
    assert second[0].record["test"] == first[0].record["test"]  # the same seed


def test_a_run_that_fails_is_recorded_and_the_others_go_on(
    here: list[str], plan: list[Run], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_run = recbole_clia.run

    def run(model: str, *args: Any, config_dict: dict[str, Any], **others: Any) -> Any:
        if model == "CLIA" and config_dict["seed"] == 1:
            raise UsageError("the disk is full\nof logs")
        if model == "GRU4Rec" and config_dict["seed"] == 2:
            raise MemoryError
        return true_run(model, *args, config_dict=config_dict, **others)

    monkeypatch.setattr(recbole_clia, "run", run)
    folder = workplace / "runs"
    outcomes = run_here(plan, folder)
    assert [outcome.record["state"] for outcome in outcomes] == ["failed", "done", "done", "failed"]
    assert outcomes[0].record["sentence"] == "the disk is full of logs"
    assert outcomes[3].record["sentence"] == "MemoryError"
    assert read_record(folder / plan[0].folder, plan[0].key) == outcomes[0].record
    assert outcomes[0].record["config"]["seed"] == 1
    assert [outcome.run for outcome in finished(plan, folder)] == [plan[1], plan[2]]
    assert os.getcwd() == str(workplace)
    here.clear()
    monkeypatch.setattr(recbole_clia, "run", true_run)
    assert [outcome.record["state"] for outcome in run_here(plan, folder)] == ["done"] * 4
    assert here == [plan[0].folder, plan[3].folder]


def test_a_process_that_dies_is_a_run_that_failed(
    plan: list[Run], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_popen = execution.subprocess.Popen

    def popen(words: list[str], **others: Any) -> Any:
        script = "kill -9 $$" if "CLIA" in words[-1] else "echo words; echo last words; exit 3"
        return true_popen(["sh", "-c", script], **others)

    monkeypatch.setattr(execution.subprocess, "Popen", popen)
    outcomes = execute(plan[:2], workplace / "runs", jobs=2)
    assert [outcome.record["state"] for outcome in outcomes] == ["failed", "failed"]
    assert "SIGKILL" in outcomes[0].record["sentence"]
    assert outcomes[1].record["sentence"] == "last words"


def test_an_interrupt_ends_the_processes_and_records_nothing(
    plan: list[Run], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_popen, processes = execution.subprocess.Popen, []

    def popen(words: list[str], **others: Any) -> Any:
        processes.append(true_popen(["sleep", "60"], **others))
        return processes[-1]

    def interrupt(left: float | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution.subprocess, "Popen", popen)
    with pytest.raises(KeyboardInterrupt):
        execute(plan, workplace / "runs", jobs=2, waiting=interrupt)
    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)
    assert not list((workplace / "runs").rglob(RECORD))
    assert finished(plan, workplace / "runs") == []


def test_so_many_processes_run_at_a_time(plan: list[Run], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[Any] = []
    most = []

    class Slow:
        returncode, stdin = 1, None

        def __init__(self) -> None:
            self.looks = 0

        def poll(self) -> int | None:
            self.looks += 1
            if self.looks < 4:
                return None
            running.remove(self)
            return 1

    def launch(task: Path, environment: dict[str, str]) -> Slow:
        (task.parent / "output.txt").write_text("")
        running.append(Slow())
        most.append((len(running), environment["OMP_NUM_THREADS"]))
        return running[-1]

    monkeypatch.setattr(execution, "_launch", launch)
    monkeypatch.setattr(execution, "_WAIT", 0.0)
    monkeypatch.setattr(execution.os, "cpu_count", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    execute(plan, workplace / "runs", jobs=3)
    assert max(number for number, _ in most) == 3
    assert {threads for _, threads in most} == {"3"}


def in_two_threads(plan: list[Run], folder: Path) -> list[list[Outcome]]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda runs: execute(runs, folder), (plan, plan[::-1])))


@pytest.mark.parametrize("state", ["failed", "done"])
def test_commands_that_share_a_folder_make_each_run_once(
    here: list[str], plan: list[Run], workplace: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Whether it succeeds or not; both have the outcome of all, in the order that each asked for."""
    folder, made = workplace / "runs", list[str]()
    kept: dict[str, dict[str, Any]] = {}
    if state == "done":
        kept = {outcome.run.folder: outcome.record for outcome in run_here(plan, folder)}
        for name in kept:
            (folder / name / RECORD).unlink()

    class Slow:
        stdin, returncode = None, 0

        def __init__(self, task: Path) -> None:
            self.folder, self.facts = task.parent, json.loads(task.read_text())["facts"]
            self.end = time.monotonic() + 0.15
            made.append(self.folder.name)

        def poll(self) -> int | None:
            if time.monotonic() < self.end:
                return None
            (self.folder / "output.txt").write_text("")
            write_record(self.folder, kept.get(self.folder.name, {**self.facts, "state": state, "sentence": "words"}))
            return 0

    monkeypatch.setattr(execution, "_clear", lambda folder: None)
    monkeypatch.setattr(execution, "_launch", lambda task, environment: Slow(task))
    monkeypatch.setattr(execution, "_WAIT", 0.01)
    forth, back = in_two_threads(plan, folder)
    assert sorted(made) == sorted(run.folder for run in plan)
    assert [outcome.run for outcome in forth] == plan
    assert [outcome.run for outcome in back] == plan[::-1]
    assert {outcome.record["state"] for outcome in forth + back} == {state}
    assert sum(outcome.fresh for outcome in forth + back) == len(plan)
    assert 0 < sum(outcome.fresh for outcome in forth) < len(plan)
    assert [path.name for path in folder.rglob(LOCK)] == ([LOCK] * len(plan) if state == "failed" else [])


def test_a_run_of_another_command_that_was_stopped_is_made(
    here: list[str], plan: list[Run], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after all others, and who waits for it is told so once."""
    monkeypatch.setattr(execution, "_WAIT", 0.01)
    lock = FileLock(workplace / "runs" / plan[0].folder / LOCK)
    (workplace / "runs" / plan[0].folder).mkdir(parents=True)
    lock.acquire()
    told: list[Run] = []

    def elsewhere(run: Run) -> None:
        assert here == [run.folder for run in plan[1:]]
        told.append(run)

    def waiting(left: float | None) -> None:
        if told and lock.is_locked:
            lock.release()

    outcomes = run_here(plan, workplace / "runs", elsewhere=elsewhere, waiting=waiting)
    assert told == plan[:1]
    assert here == [run.folder for run in [*plan[1:], plan[0]]]
    assert [outcome.run for outcome in outcomes] == plan
    assert all(outcome.fresh and outcome.record["state"] == "done" for outcome in outcomes)


def test_the_time_left_is_told_by_what_was_seen(plan: list[Run]) -> None:
    assert seconds_left({}, plan, {}, 1) is None
    seen = {("CLIA", "made"): [10.0, 20.0]}
    assert seconds_left(seen, plan, {}, 1) == 60.0  # two of CLIA, and two that are taken for such
    seen["GRU4Rec", "made"] = [5.0]
    assert seconds_left(seen, plan, {}, 1) == 40.0
    assert seconds_left(seen, plan[1:], {plan[0]: 9.0}, 2) == (5 + 15 + 5 + 6) / 2
    assert seconds_left(seen, [], {plan[0]: 99.0}, 4) == 0.0


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(stream: Any) -> None:
        stream.write(b"new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    write_record(tmp_path, {"key": "k", "state": "failed", "sentence": "s", "x": [float("nan"), {"y": float("inf")}]})
    record = read_record(tmp_path, "k")
    assert record is not None
    assert record["x"] == [None, {"y": None}]
    assert "NaN" not in (tmp_path / RECORD).read_text()
