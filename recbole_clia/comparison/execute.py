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
from .claims import Claims
from .plan import Run
from .record import LOG, MODEL, OUTPUT, RECORD, ROWS, read_record, wall_seconds, write_record, write_text
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
    elsewhere: Callable[[Run], None] = lambda run: None,
) -> list[Outcome]:
    """Make what is not done, and return the outcome of all runs in their order.

    A run whose record says that it failed is made again.  What is interrupted leaves no record.  Commands that have
    the same folder share the runs: each makes those that no other one is making, and waits for the rest.

    Args:
        folder: where each run has a folder.
        jobs: processes at a time.
        keep_models: whether the best model of each run is kept as ``model.pth``.
        ended: told each run that was made, at its end, and the seconds that are left, as far as that can be told.
        waiting: told these seconds again and again.
        elsewhere: told each run that is waited for, since another command is making it and nothing else is left.
    """
    work = _Work(runs, folder, jobs, keep_models, ended)
    with ends_with_an_interrupt():
        try:
            while work.waiting or work.processes:
                work.start()
                if not work.processes:
                    for run in work.new_elsewhere():
                        elsewhere(run)
                work.collect()
                waiting(work.seconds_left())
                if work.waiting or work.processes:
                    sleep(_WAIT)
        finally:
            work.stop()
    return [work.done[run] for run in runs]


class _Work:
    """The runs that wait, those that a process makes, and those that are done."""

    def __init__(
        self,
        runs: Sequence[Run],
        folder: Path,
        jobs: int,
        keep_models: bool,
        ended: Callable[[Outcome, float | None], None],
    ) -> None:
        self.folder, self.jobs, self.keep_models, self.ended = folder, jobs, keep_models, ended
        self.done = {outcome.run: outcome for outcome in finished(runs, folder)}
        self.waiting = [run for run in runs if run not in self.done]
        self._before = {run: read_record(folder / run.folder, run.key) for run in self.waiting}
        self.processes: dict[Run, subprocess.Popen[bytes]] = {}
        self._claims, self._told = Claims(folder), set[Run]()
        self._began: dict[Run, float] = {}
        self._seconds: dict[tuple[str, str], list[float]] = {}
        for run, outcome in self.done.items():
            self._took(run, wall_seconds(outcome.record))

    def start(self) -> None:
        """Have as many processes as there may be, each for a run that no other command is making."""
        while len(self.processes) < self.jobs and (run := self._claims.first(self.waiting)) is not None:
            self.waiting.remove(run)
            record = read_record(self.folder / run.folder, run.key)
            if record is not None and record != self._before[run]:  # another command has made it meanwhile
                self._end(Outcome(run, record, False))
                continue
            self._began[run] = perf_counter()
            self.processes[run] = _start(run, self.folder / run.folder, self.jobs, self.keep_models)

    def collect(self) -> None:
        """Take up what processes that have ended left."""
        for run, process in list(self.processes.items()):
            if process.poll() is None:
                continue
            del self.processes[run]
            _let_go(process)
            record = _record_of(run, self.folder / run.folder, process.returncode)
            if record["state"] == "done":
                self._took(run, perf_counter() - self._began[run])
            self._end(Outcome(run, record, True))

    def new_elsewhere(self) -> list[Run]:
        """The runs that wait for another command, each once."""
        new = [run for run in self.waiting if run in self._claims.contested and run not in self._told]
        self._told.update(new)
        return new

    def seconds_left(self) -> float | None:
        """As :func:`seconds_left`."""
        running = {run: perf_counter() - self._began[run] for run in self.processes}
        return seconds_left(self._seconds, self.waiting, running, self.jobs)

    def stop(self) -> None:
        """End the processes, and leave nothing of what they had not done."""
        _stop(self.processes, self.folder)
        self._claims.release_all()

    def _took(self, run: Run, seconds: float) -> None:
        self._seconds.setdefault((run.model, run.dataset), []).append(seconds)

    def _end(self, outcome: Outcome) -> None:
        self.done[outcome.run] = outcome
        self._claims.release(outcome.run, outcome.record["state"] == "done")
        self.ended(outcome, self.seconds_left())


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
    for name in (RECORD, ROWS, LOG, OUTPUT, MODEL):
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
