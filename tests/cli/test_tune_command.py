"""``recbole-clia tune`` as a person types it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

import recbole_clia.tuning.trial as trial_runs
from recbole_clia.cli.main import main
from recbole_clia.cli.train import files_of
from recbole_clia.settings.config import read_config_file
from recbole_clia.tuning.lost import recover

FAST = ["--epochs=2", "--embedding_size=8", "--hidden_size=8", "--MAX_ITEM_LIST_LENGTH=8", "--use_gpu=False"]


@pytest.fixture
def command(made: dict[str, Any]) -> list[str]:
    return ["tune", "--dataset=made", f"--data_path={made['data_path']}", f"--load_col={made['load_col']}", *FAST]


def states(file: str = "tune/CLIA-made.sqlite") -> list[str]:
    [name] = optuna.get_all_study_names(f"sqlite:///{file}")
    return [trial.state.name for trial in optuna.load_study(study_name=name, storage=f"sqlite:///{file}").trials]


def test_a_search_ends_with_a_table_a_file_and_a_page(
    command: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--trials", "2"]) == 0
    printed = capsys.readouterr().out
    for word in ("2 of 2 trials", "the test set was not evaluated", "MRR@10", "best epoch", "dropout_prob", "Next:"):
        assert word in printed
    assert "hidden_size" not in printed.split("Next:")[0]  # it is fixed
    assert states() == ["COMPLETE", "COMPLETE"]
    best = read_config_file("tune/CLIA-made/best.yaml")
    assert best["epochs"] == 2
    assert best["seed"] == 0
    assert best["dropout_prob"] in (None, *(n / 10 for n in range(1, 9)))
    assert Path("tune/CLIA-made/study.html").stat().st_size > 1_000_000  # it holds the library that draws

    score = re.search(r"MRR@10\s+([\d.]+)", printed)[1]
    train = next(line for line in printed.splitlines() if " train " in line).split("    ")[0]
    words = shlex.split(train)
    assert main([*words[words.index("train") :], "--state=ERROR", "--show_progress=False"]) == 0
    assert re.search(rf"mrr@10\s+{score}", capsys.readouterr().out)

    more = next(line for line in printed.splitlines() if "more trials" in line).split("    ")[0]
    words = shlex.split(more)
    assert "--trials=4" in words
    assert main([word.replace("--trials=4", "--trials=3") for word in words[words.index("tune") :]]) == 0
    assert states() == 3 * ["COMPLETE"]


def test_a_stopped_search_names_the_command_that_continues(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, calls = trial_runs.run, []

    def run(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    monkeypatch.setattr(trial_runs, "run", run)
    words = [*command, "--trials=2", "--study=my studies/s.sqlite", "--out=found", "--seed=3", "--prune-after=1"]
    assert main(words) == 130
    again = shlex.split(re.search(r"stopped; continue with (.*)", capsys.readouterr().err)[1])
    assert states("my studies/s.sqlite") == ["COMPLETE", "FAIL", "WAITING"]
    assert main(again[again.index("tune") :]) == 0
    assert states("my studies/s.sqlite") == ["COMPLETE", "FAIL", "COMPLETE"]
    assert read_config_file("found/best.yaml")["seed"] == 3


def test_a_trial_that_was_killed_is_repeated(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    endless = [word.replace("--epochs=2", "--epochs=100000") for word in command] + ["--stopping_step=100000"]
    with open("stderr", "w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "recbole_clia", *endless], env=environment, stderr=stderr)
    file = Path("tune/CLIA-made.sqlite")
    try:
        while process.poll() is None and not _has_reported(file):
            time.sleep(0.2)
        assert process.poll() is None, Path("stderr").read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    study = optuna.load_study(study_name="CLIA-made", storage=f"sqlite:///{file}")
    assert recover(study) == 1
    assert states() == ["FAIL", "WAITING"]


def test_what_is_found_can_be_used_as_it_is_told(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--trials=1", "--out=my out", "--study=a?b/my study.sqlite"]) == 0
    told = capsys.readouterr().out
    assert Path("a?b/my study.sqlite").is_file()
    words = shlex.split(next(line for line in told.splitlines() if " train " in line).split(" train ")[1])
    files = words[words.index("--config_files") + 1]
    assert files_of(files) == ["my out/best.yaml"]
    assert files_of("one.yaml two.yaml") == ["one.yaml", "two.yaml"]
    assert files_of(f"CLIA={files}") == [f"CLIA={files}"]


def test_asked_to_end_the_processes_end_at_once(command: list[str]) -> None:
    """They put their trials back, which a process that is killed cannot."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    endless = [word.replace("--epochs=2", "--epochs=100000") for word in command] + ["--stopping_step=100000"]
    words = [sys.executable, "-m", "recbole_clia", *endless, "--n-jobs=2"]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    file = Path("tune/CLIA-made.sqlite")
    try:
        while process.poll() is None and not _has_reported(file):
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=15)[1]
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert "stopped; continue with" in told
    assert sorted(states())[:1] == ["FAIL"]
    assert "WAITING" in states()
    assert "RUNNING" not in states()


def test_two_processes_share_a_study(command: list[str]) -> None:
    assert main([*command, "--trials=3", "--n-jobs=2"]) == 0
    assert [state for state in states() if state != "FAIL"] == 3 * ["COMPLETE"]
    study = optuna.load_study(study_name="CLIA-made", storage="sqlite:///tune/CLIA-made.sqlite")
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert os.getpid() not in {trial.user_attrs["owner"]["pid"] for trial in complete}
    logs = {trial.user_attrs["log_file"] for trial in complete}
    assert len(logs) == 3
    assert all(Path(log).is_file() for log in logs)


def _has_reported(file: Path) -> bool:
    """It looks without Optuna, which would make the tables that the other process is making."""
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()[0] > 0
    except sqlite3.Error:  # there is none yet, or it is being made
        return False


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--trials=0"], "--trials must be at least 1, not 0"),
        (["--trials=x"], "invalid int value: 'x'"),
        (["--n-jobs=0"], "--n-jobs must be at least 1, not 0"),
        (["--prune-after=-1"], "--prune-after must be at least 0, not -1"),
        (["--seed=-1"], "--seed must be at least 0, not -1"),
        (["--seed=4294967296"], "--seed must be at most 4294967295"),
        (["--timeout=0"], "--timeout must be above 0"),
        (["--timeout=nan"], "--timeout must be above 0"),
        (["--study=a", "--storage=b"], "--study and --storage: give one of them"),
        (["--model=CLAI"], "model 'CLAI' is unknown; did you mean CLIA?"),
        (["--model=Pop", "--space=no.yaml"], "search space no.yaml: No such file"),
        (["--dropout_prb=0.1"], "the key 'dropout_prb' is read by nothing"),
        (["--dropout_prob=2"], "dropout_prob must be in [0, 1), not 2"),
        (["--out=file"], "file is a file; it must be a folder"),
        (["--study=file/s.sqlite"], "file is a file; it must be a folder"),
        (["--study=file"], "study file: it cannot be opened: (sqlite3.DatabaseError) file is not a database"),
        (["--storage=no"], "study no: it cannot be opened"),
        (["--nproc=2"], "--nproc belongs to a single run"),
        (["stray"], "'stray' must have the form --key=value"),
    ],
)
def test_bad_input_ends_with_2_and_one_sentence(
    command: list[str], workplace: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    (workplace / "file").write_text("no database, and longer than the head of one: " + 200 * "x")
    if words[0].startswith("--model"):
        command = [word for word in command if "hidden_size" not in word and "MAX_ITEM" not in word]
    try:
        code = main([*command, *words])
    except SystemExit as end:  # argparse's own
        code = end.code
    assert code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("recbole-clia: ")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not list(Path("tune").glob("*.sqlite")) if Path("tune").exists() else True
