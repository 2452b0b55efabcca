"""Studies before a comparison: the same number of trials for each model on each dataset, on validation only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from filelock import FileLock

from ..errors import UsageError
from ..tuning.plan import Plan, check_plan, sqlite
from ..tuning.report import best_text, best_trials
from ..tuning.search import tune
from ..tuning.space import NothingToSearch, shipped_spaces
from ..tuning.study import finished, open_study
from .plan import IDLE, Run, Tuned, key_of
from .record import write_text

if TYPE_CHECKING:
    import optuna

SEED = 0  # of the search and of the training in each trial
# Settings that change no figure, and that a trial needs as a run does.
_NEEDED = {"data_path", "data_cache", "gpu_id", "use_gpu"}
_WAIT = 1.0  # seconds until a trial that another process is at is looked at again


@dataclass(frozen=True, eq=False)  # a plan holds settings, which have no hash
class Study:
    """The study of a model on a dataset.

    Attributes:
        plan: what :mod:`recbole_clia.tuning` carries out.
        file: the database.
        best: the property file of what it finds.
        done: trials that were finished when the study was planned.
    """

    plan: Plan
    file: Path
    best: Path
    done: int

    def __str__(self) -> str:
        return f"{self.plan.model} on {self.plan.dataset}"


def seed_of(seed: int | None, compared: Sequence[int]) -> int:
    """The seed of the studies.

    Raises:
        UsageError: if it is out of range, or one of the compared seeds: their runs must be new to what is found.
    """
    chosen = SEED if seed is None else seed
    if not 0 <= chosen < 2**32:
        raise UsageError(f"--tune_seed must be in [0, {2**32 - 1}], not {chosen}")
    if chosen in compared:
        raise UsageError(
            f"--tune_seed: the seed {chosen} is one of those that are compared; give another one with --tune_seed"
        )
    return chosen


def without_space(models: Sequence[str]) -> list[str]:
    """Those of the models for which there is nothing to search."""
    return [model for model in models if model not in shipped_spaces()]


def make_studies(runs: Sequence[Run], trials: int, seed: int, folder: Path) -> list[Study]:
    """A study for each model and dataset of the runs, if the model has a search space that is not all set.

    It has the settings of the runs, so what is set is not searched.  Its file's name has a hash of these, of the space
    and of the dataset's files: another study begins where one of them has changed.  Nothing is written.

    Args:
        runs: of :func:`~recbole_clia.comparison.plan.make_plan`, with nothing tuned.
        trials: finished trials of each study.
        seed: of the search and of the training in each trial.
        folder: where the studies are.

    Raises:
        UsageError: if a study cannot be made or continued, or has more trials already.
    """
    if trials < 1:
        raise UsageError(f"--tune must be at least 1, not {trials}")
    first = {(run.model, run.dataset): run for run in reversed(runs)}
    without = without_space([run.model for run in runs])
    pairs = dict.fromkeys((run.model, run.dataset) for run in runs if run.model not in without)
    studies = []
    for pair in pairs:
        with contextlib.suppress(NothingToSearch):
            studies.append(_study(first[pair], trials, seed, folder.absolute()))
    return [replace(study, done=_done(study)) for study in studies]


def _study(run: Run, trials: int, seed: int, folder: Path) -> Study:
    settings = {key: value for key, value in run.settings.items() if key not in IDLE - _NEEDED and key != "seed"}
    settings |= {"checkpoint_dir": str(folder / "saved")}
    plan = Plan(run.model, run.dataset, "", trials, settings=settings, seed=seed)
    # The configuration does not tell what is fixed; the identity knows neither defaults nor the data.
    what = [key_of({**run.config, "seed": seed}, run.files), check_plan(plan).identity]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    file = folder / f"{plan.name}-{key}.sqlite"
    plan = replace(plan, storage=sqlite(file))
    return Study(plan, file, folder / f"{plan.name}.yaml", 0)


def _done(study: Study) -> int:
    if not study.file.is_file():
        return 0
    done = finished(open_study(check_plan(study.plan)))
    if done > study.plan.trials:
        raise UsageError(
            f"--tune: the study {study.file.name} has {done} trials already, and all models get the same number; give "
            f"--tune {done} or more, or another --out"
        )
    return done


def search(study: Study, jobs: int = 1, told: Callable[[int], None] = lambda done: None) -> Tuned:
    """Carry out what is left of a study, write its property file, and return what it found.

    RecBole's logs of the trials are written beside the study.

    Args:
        jobs: trials at a time; with more than one, each is a process of its own.
        told: told the number of finished trials now and then.

    Raises:
        UsageError: if the study cannot go on, or no trial has a score.
        KeyboardInterrupt: if the user stops it; the same call goes on.
    """
    study.file.parent.mkdir(parents=True, exist_ok=True)
    _begin(study)
    with _working_in(study.file.parent):
        while True:
            made, checked = tune(study.plan, jobs, lambda at: told(finished(at)))
            if finished(made) >= study.plan.trials:
                break
            sleep(_WAIT)
    ended = [trial for trial in made.get_trials(deepcopy=False) if trial.state.is_finished()]
    faults = [trial.user_attrs["error"] for trial in ended if trial.state.name == "PRUNED" and _failed(trial)]
    best = best_trials(made, 1)
    if not best:
        raise UsageError(f"none of {study.plan.trials} trials could be trained; the first: {faults[0]}")
    write_text(study.best, best_text(made, checked))
    return Tuned(
        trials=finished(made),
        given_up=sum(trial.state.name == "PRUNED" for trial in ended) - len(faults),
        untrainable=len(faults),
        seed=study.plan.seed,
        score=float(best[0].value or 0.0),
        settings=checked.space.restored(best[0].params),
        file=os.path.relpath(study.best),
    )


def _failed(trial: optuna.trial.FrozenTrial) -> bool:
    return "error" in trial.user_attrs


def _begin(study: Study) -> None:
    """Make the database under another name first: an interrupt would leave a study that nobody can tell what it is."""
    lock = study.file.with_name(f".{study.file.name}.lock")
    with FileLock(lock):  # another command may begin it too
        if not study.file.is_file():
            folder = study.file.with_name(f".{study.file.name}")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            begun, whole = folder / "begun.sqlite", folder / "whole.sqlite"
            open_study(check_plan(replace(study.plan, storage=sqlite(begun))))
            with contextlib.closing(sqlite3.connect(begun)) as connection:  # a copy, since Optuna keeps the other open
                connection.execute("VACUUM INTO ?", (str(whole),))
            os.replace(whole, study.file)
            shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)  # whoever waits for it finds the study


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """RecBole writes its logs and boards into the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        with contextlib.suppress(OSError):  # something is in it
            (folder / "saved").rmdir()
