"""``recbole-clia compare`` as it is typed."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import recbole_clia
import recbole_clia.tuning.trial as trial_runs
from recbole_clia.cli import compare as command
from recbole_clia.cli.main import main
from recbole_clia.settings.config import read_config_file

FILES = ("leaderboard.csv", "leaderboard.html", "leaderboard.md", "leaderboard.tex")


@pytest.fixture
def words(made: dict[str, Any]) -> list[str]:
    given = {"load_col": made["load_col"], "use_gpu": False, "MAX_ITEM_LIST_LENGTH": 8, "epochs": 1}
    return [
        *("compare", "--models", "CLIA", "GRU4Rec", "--datasets", "made", "--seeds", "2"),
        *("--data_path=dataset", "--user_inter_num_interval=[4,inf)"),
        *(f"--{key}={value}" for key, value in given.items()),
    ]


def without(words: list[str], options: set[str]) -> list[str]:
    """The words but these options with what belongs to them."""
    kept, left_out = [], False
    for word in words:
        left_out = word.partition("=")[0] in options if word.startswith("--") else left_out
        kept += [] if left_out else [word]
    return kept


def test_a_comparison_and_the_same_again(
    here: list[str], words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    told = capsys.readouterr()
    assert "4 runs, 0 of them done before" in told.out
    assert "GRU4Rec (packed)" in told.out
    assert "GRU4Rec on made, seed 2021: test NDCG@10" in told.out
    assert sorted(path.name for path in Path("compare").iterdir()) == [*FILES, "runs"]
    rows = list(csv.DictReader(Path("compare/leaderboard.csv").read_text().splitlines()))
    assert {row["model"] for row in rows} == {"CLIA", "GRU4Rec"}
    assert {row["seeds"] for row in rows} == {"2"}
    assert len(here) == 4
    here.clear()
    texts = [Path("compare", name).read_text() for name in FILES]
    assert main(words) == 0
    assert "4 runs, 4 of them done before" in capsys.readouterr().out
    assert here == []
    assert [Path("compare", name).read_text() for name in FILES] == texts


def test_a_leaderboard_that_cannot_be_written_is_shown(
    here: list[str], words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    Path("compare/leaderboard.html").unlink()
    Path("compare/leaderboard.html/in the way").mkdir(parents=True)
    capsys.readouterr()
    assert main(words) == 2
    told = capsys.readouterr()
    assert "GRU4Rec (packed)" in told.out
    assert told.err.count("\n") == 1
    assert "--out: the leaderboard cannot be written into compare: " in told.err


def failing(train: Any, model: str, error: Exception) -> Any:
    """``train``, which fails for one model."""

    def run(name: str, *args: Any, **others: Any) -> Any:
        if name == model:
            raise error
        return train(name, *args, **others)

    return run


def test_more_seeds_are_added_to_what_is_there(here: list[str], words: list[str], workplace: Path) -> None:
    assert main([*words, "--out", "board"]) == 0
    here.clear()
    words[words.index("--seeds") + 1] = "3"
    words.remove("GRU4Rec")
    assert main([*words, "--out", "board"]) == 0
    assert [name.rsplit("-", 1)[0] for name in here] == ["CLIA-made-2022"]


def test_a_failed_run_makes_the_code_one(
    here: list[str],
    words: list[str],
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true_run = recbole_clia.run
    monkeypatch.setattr(recbole_clia, "run", failing(true_run, "GRU4Rec", RuntimeError("a planted fault")))
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "GRU4Rec on made, seed 2020: failed: RuntimeError: a planted fault" in told
    assert "2 of 4 runs failed; they are made again by" in told
    assert "a planted fault" in Path("compare/leaderboard.html").read_text()
    monkeypatch.setattr(recbole_clia, "run", true_run)
    here.clear()
    assert main(words) == 0
    assert [name.split("-")[0] for name in here] == ["GRU4Rec", "GRU4Rec"]


def test_an_interrupt_tells_how_to_continue(
    here: list[str],
    words: list[str],
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_told", interrupt)
    assert main(words) == 130
    told = capsys.readouterr().out
    assert "stopped; 1 of 4 runs are done; continue with\n  recbole-clia compare --models CLIA GRU4Rec" in told
    assert Path("compare/leaderboard.md").is_file()
    assert len(here) == 1
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (["--models", "LightGCN"], "'LightGCN' cannot be compared"),
        (["--datasets", "nowhere"], "dataset 'nowhere' is unknown"),
        (["--seeds", "0"], "--seeds must be a number of seeds"),
        (["--seeds", "two"], "argument --seeds: invalid int value: 'two'"),
        (["--seed_list", "1", "2"], "not both"),
        (["--tune", "0"], "--tune must be at least 1, not 0"),
        (["--tune", "x"], "argument --tune: invalid int value: 'x'"),
        (["--tune", "2", "--tune_seed", "2021"], "the seed 2021 is one of those that are compared"),
        (["--tune", "2", "--tune_seed", "-1"], "--tune_seed must be in [0, 4294967295], not -1"),
        (["--tune_seed", "1"], "there is no --tune"),
        (["--tune", "2", "--epochs=0"], "a trial needs epochs and eval_step of at least 1"),
        (["--user_inter_num_interval=[99,inf)"], "no interaction passes the filters"),
        (["--tune", "2", "--user_inter_num_interval=[99,inf)"], "no interaction passes the filters"),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--config_files", "none.yaml"], "config file none.yaml: No such file"),
        (["--eval_args={}"], "eval_args cannot be set"),
        (["--learning_rate=-1"], "learning_rate must be in (0, inf)"),
        (["stray"], "argument 'stray' must have the form --key=value"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str], changed: list[str], sentence: str
) -> None:
    try:
        code = main([*without(words, {word.partition("=")[0] for word in changed}), *changed])
    except SystemExit as end:
        code = int(str(end.code))
    told = capsys.readouterr().err.strip()
    assert code == 2
    assert sentence in told
    assert "\n" not in told
    assert not Path("compare").exists()


def test_models_that_were_not_kept_are_told(
    here: list[str], words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--keep_models"]) == 0
    assert "--keep_models: 4 of these have kept no model, and only a run that is made now" in capsys.readouterr().out
    assert main([*words, "--keep_models", "--out", "kept"]) == 0
    assert len(list(Path("kept").rglob("model.pth"))) == 4
    capsys.readouterr()
    assert main([*words, "--keep_models", "--out", "kept"]) == 0
    assert "--keep_models" not in capsys.readouterr().out


def test_models_are_tuned_before_they_are_compared(
    here: list[str], words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words[words.index("GRU4Rec")] = "Pop"
    words = [*words, "--tune", "2", "--embedding_size=8", "--hidden_size=8"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "tune: 2 trials, 0 of them done before" in told
    assert "Pop: no search space, or all of it is set, so it runs as it is" in told
    assert "CLIA on made: 2 trials, NDCG@10 " in told
    assert "4 runs, 0 of them done before" in told
    best = read_config_file("compare/studies/CLIA-made.yaml")
    records = [json.loads(path.read_text()) for path in Path("compare/runs").glob("CLIA-*/run.json")]
    assert sorted(record["seed"] for record in records) == [2020, 2021]
    assert best["seed"] == 0
    assert {record["config"]["learning_rate"] for record in records} == {best["learning_rate"]}
    assert "CLIA, best of 2 trials" in Path("compare/leaderboard.md").read_text()
    assert not any(Path(name).exists() for name in ("log", "log_tensorboard", "tune"))
    (study,) = Path("compare/studies").glob("*.sqlite")
    written = _content(study)
    here.clear()
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "tune: 2 trials, 2 of them done before" in told
    assert "4 runs, 4 of them done before" in told
    assert here == []
    assert _content(study) == written


def _content(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def test_a_stopped_search_is_continued(
    here: list[str],
    words: list[str],
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, calls = trial_runs.run, []

    def run(*args: Any, **others: Any) -> Any:
        calls.append(args[0])
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return train(*args, **others)

    monkeypatch.setattr(trial_runs, "run", run)
    words = [*words, "--tune", "2", "--tune_seed", "5", "--embedding_size=8", "--hidden_size=8"]
    assert main(words) == 130
    told = capsys.readouterr().out
    assert here == []
    assert Path.cwd() == workplace
    again = shlex.split(told.split("stopped; 1 of 2 studies are done; continue with")[1])
    assert main(again[1:]) == 0
    assert "tune: 4 trials, 2 of them done before" in capsys.readouterr().out
    assert calls == ["CLIA", "CLIA", "GRU4Rec", "GRU4Rec", "GRU4Rec"]
    assert len(here) == 4


def test_a_model_that_cannot_be_tuned_keeps_no_other_back(
    here: list[str],
    words: list[str],
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = trial_runs.run
    monkeypatch.setattr(trial_runs, "run", failing(train, "CLIA", AttributeError("a planted fault")))
    words = [*words, "--tune", "1", "--embedding_size=8", "--hidden_size=8"]
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "CLIA on made: it was not tuned: AttributeError: a planted fault" in told
    assert "2 of 4 runs failed" in told
    assert [name.split("-")[0] for name in here] == ["GRU4Rec", "GRU4Rec"]
    assert "a planted fault" in Path("compare/leaderboard.html").read_text()
    monkeypatch.setattr(trial_runs, "run", train)
    assert main(words) == 0
    assert [name.split("-")[0] for name in here] == 2 * ["GRU4Rec"] + 2 * ["CLIA"]


def test_processes_of_their_own_are_stopped_and_continued(
    words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to end comes after the first run; only the second one is left for the second time."""
    words[words.index("--seeds") + 1] = "1"
    monkeypatch.setattr(command, "_told", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert main(words) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    assert "1 of 2 runs are done" in capsys.readouterr().out
    (record,) = Path("compare").rglob("run.json")
    written = record.stat().st_mtime_ns
    assert main(words) == 0
    assert "2 runs, 1 of them done before" in capsys.readouterr().out
    assert record.stat().st_mtime_ns == written
    assert len(list(Path("compare").rglob("run.json"))) == 2
    assert {path.name for path in record.parent.iterdir()} == {"log.txt", "rows.npy", "run.json"}
    for log in Path("compare").rglob("log.txt"):  # of RecBole
        assert "epoch 0 training" in log.read_text()
    assert not any(Path(name).exists() for name in ("log", "log_tensorboard", "models"))
