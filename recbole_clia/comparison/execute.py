"""Make the runs that are not there yet, each in a process of its own, some at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter, sleep
from typing import Any

from ..running.ending import ends_with_an_interrupt
from .plan import Run
from .record import LOG, OUTPUT, RECORD, ROWS, read_record, write_record, write_text
from .worker import TASK, WORK

_PACKAGE = Path(__file__).resolve().parent.parent.parent
_WAIT = 0.1  # seconds between two looks at the processes
_TIME_TO_END = 5.0  # seconds that a stopped process is given


@dataclass(frozen=True)
class Outcome:
    """A run and its record; ``fresh`` if it was made now."""

    run: Run
    record: dict[str, Any]
    fresh: bool


def finished(runs: Sequence[Run], folder: Path) -> list[Outcome]:
    """The runs that are done, from their records in ``folder``."""
    found = ((run, read_record(folder / run.folder, run.key)) for run in runs)
    return [Outcome(run, record, False) for run, record in found if record and record["state"] == "done"]


def execute(
    runs: Sequence[Run],
    folder: Path,
    jobs: int = 1,
    keep_models: bool = False,
    ended: Callable[[Outcome, float | None], None] = lambda outcome, left: None,
    waiting: Callable[[float | None], None] = lambda left: None,
) -> list[Outcome]:
    """Make what is not done, and return the outcome of all runs in their order.

    A run whose record says that it failed is made again.  What is interrupted leaves no record.

    Args:
        folder: where each run has a folder.
        jobs: processes at a time.
        keep_models: whether the best model of each run is kept as ``model.pth``.
        ended: told each run that was made, at its end, and the seconds that are left, as far as that can be told.
        waiting: told these seconds again and again.
    """
    done = {outcome.run: outcome for outcome in finished(runs, folder)}
    waiting_runs = [run for run in runs if run not in done]
    began_of: dict[Run, float] = {}
    processes: dict[Run, subprocess.Popen[bytes]] = {}
    seconds: dict[tuple[str, str], list[float]] = {}
    for outcome in done.values():
        seconds.setdefault((outcome.run.model, outcome.run.dataset), []).append(outcome.record["seconds"])

    def left() -> float | None:
        running = {run: perf_counter() - began_of[run] for run in processes}
        return seconds_left(seconds, waiting_runs, running, jobs)

    with ends_with_an_interrupt():
        try:
            while waiting_runs or processes:
                while waiting_runs and len(processes) < jobs:
                    run = waiting_runs.pop(0)
                    began_of[run] = perf_counter()
                    processes[run] = _start(run, folder / run.folder, jobs, keep_models)
                for run, process in list(processes.items()):
                    if process.poll() is None:
                        continue
                    del processes[run]
                    _let_go(process)
                    took = perf_counter() - began_of[run]
                    done[run] = Outcome(run, _record_of(run, folder / run.folder, process.returncode), True)
                    if done[run].record["state"] == "done":
                        seconds.setdefault((run.model, run.dataset), []).append(took)
                    ended(done[run], left())
                waiting(left())
                if processes:
                    sleep(_WAIT)
        finally:
            _stop(processes, folder)
    return [done[run] for run in runs]


def seconds_left(
    seconds: dict[tuple[str, str], list[float]], waiting: Sequence[Run], running: dict[Run, float], jobs: int
) -> float | None:
    """What the runs still take, by the mean of those of the same model and dataset, or of all; ``None`` before any."""
    every = [one for some in seconds.values() for one in some]
    if not every:
        return None
    of = {key: mean(some) for key, some in seconds.items()}
    usual = mean(every)
    left = sum(of.get((run.model, run.dataset), usual) for run in waiting)
    left += sum(max(0.0, of.get((run.model, run.dataset), usual) - spent) for run, spent in running.items())
    return left / min(jobs, max(1, len(waiting) + len(running)))


def _start(run: Run, folder: Path, jobs: int, keep_models: bool) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    facts = {"key": run.key, "model": run.model, "dataset": run.dataset, "seed": run.seed, "packed": run.packed}
    task = {"facts": facts, "settings": dict(run.settings), "config": dict(run.config), "keep_models": keep_models}
    write_text(folder / TASK, json.dumps(task, indent=1, default=str))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_PACKAGE), os.getenv("PYTHONPATH")]))}
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return _launch(folder / TASK, environment)


def _launch(task: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (task.parent / OUTPUT).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "recbole_clia.comparison.worker", str(task)],
            stdin=subprocess.PIPE,  # nothing is said there; its end says that this process has died
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # an interrupt from the keyboard is for the command alone
        )


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _clear(folder: Path) -> None:
    """Leave nothing of a run that failed or was interrupted."""
    for name in (RECORD, ROWS, LOG, OUTPUT, "model.pth"):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob(f"{WORK}*"):
        shutil.rmtree(path, ignore_errors=True)


def _record_of(run: Run, folder: Path, code: int) -> dict[str, Any]:
    record = read_record(folder, run.key)
    if record is None:
        record = {"key": run.key, "model": run.model, "dataset": run.dataset, "seed": run.seed, "packed": run.packed}
        record.update(config=dict(run.config), state="failed", sentence=_last_words(folder, code))
        write_record(folder, record)
    if record["state"] == "done":
        (folder / OUTPUT).unlink(missing_ok=True)  # the log says the same
        (folder / TASK).unlink(missing_ok=True)
    return record


def _last_words(folder: Path, code: int) -> str:
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}, for instance for want of memory"
    lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"the process ended with code {code}")


def _stop(processes: dict[Run, subprocess.Popen[bytes]], folder: Path) -> None:
    for process in processes.values():
        process.terminate()
    for run, process in processes.items():
        try:
            process.wait(_TIME_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _let_go(process)
        if read_record(folder / run.folder, run.key) is None:
            _clear(folder / run.folder)
