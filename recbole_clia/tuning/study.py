"""A study, in a storage that outlives the process: whoever has the storage can work on it, here or elsewhere."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import warnings
from collections.abc import Iterator
from inspect import signature
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..errors import UsageError, first_line
from .lost import SILENCE, repeat
from .plan import Checked, Plan
from .sampler import SeededTPE

ATTRIBUTE = "recbole_clia"  # under which a study keeps what it is of
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT = 60  # seconds


def open_study(checked: Checked) -> optuna.Study:
    """The study of a plan, made where there is none yet.

    A new study begins with the properties that the model has without a search, as far as the space holds them.

    Raises:
        UsageError: if the storage cannot be used, or holds a study of something else.
    """
    plan, identity = checked.plan, checked.identity
    storage = _open_storage(plan)
    with storage_of(plan):
        names = optuna.get_all_study_names(storage)
        others = [name for name in names if name != plan.name]
        if plan.alone and others:
            raise UsageError(f"{plan.where}: it holds the study {others[0]!r}, not {plan.name!r}; give another --study")
        bigger = bool(checked.config["valid_metric_bigger"])
        sampler, pruner = SeededTPE(plan.seed), _pruner(plan)
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=plan.name,
                direction="maximize" if bigger else "minimize",
                sampler=sampler,
                pruner=pruner,
            )
            _enqueue_defaults(study, checked)
            study.set_user_attr(ATTRIBUTE, identity)
            return study
        except DuplicatedStudyError:
            study = optuna.load_study(study_name=plan.name, storage=storage, sampler=sampler, pruner=pruner)
    for _ in range(20):  # whoever made it may still be about to say what it is of
        if ATTRIBUTE in study.user_attrs:
            break
        time.sleep(0.25)
    _compare(plan, study.user_attrs.get(ATTRIBUTE), identity)
    return study


@contextlib.contextmanager
def storage_of(plan: Plan) -> Iterator[None]:
    """What ails the storage meanwhile, for instance a full disk, is a :class:`~recbole_clia.errors.UsageError`."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        why = error.__cause__ if isinstance(error, StorageInternalError) else None
        raise UsageError(f"{plan.where}: {first_line(why or error)}") from error


class _File(sqlite3.Connection):
    """A study's file, which can be read while somebody writes, and written without waiting for the disk.

    As SQLite comes, readers wait for writers: whoever watches workers with short epochs may do so for a minute, deaf to
    requests to end, and then fail.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with contextlib.suppress(sqlite3.OperationalError):  # it may be read only, or in use in the other mode
            self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")


def _open_storage(plan: Plan) -> optuna.storages.BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would tell of each trial, and of each that is repeated
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # optuna 4 warns of heartbeats in each trial
    try:
        if plan.storage.startswith("journal:"):
            from optuna.storages.journal import JournalFileBackend

            return optuna.storages.JournalStorage(JournalFileBackend(plan.storage.removeprefix("journal:")))
        # Renamed in optuna 5.
        known = signature(optuna.storages.RDBStorage.__init__).parameters
        lost = "heartbeat_stale_trial_callback"
        callback: dict[str, Any] = {lost if lost in known else "failed_trial_callback": repeat}
        waiting = {"connect_args": {"timeout": 60, "factory": _File}} if plan.storage.startswith("sqlite") else {}
        for attempt in range(5):
            try:
                return optuna.storages.RDBStorage(
                    plan.storage, engine_kwargs=waiting, heartbeat_interval=HEARTBEAT, grace_period=SILENCE, **callback
                )
            except SQLAlchemyError as error:
                # Two that begin at the same time both make the tables, and one of them comes too late.
                too_late = any(words in str(error) for words in ("already exists", "duplicate", "UNIQUE"))
                if not too_late or attempt == 4:
                    raise
                time.sleep(0.5)
        raise AssertionError("unreachable")
    except (SQLAlchemyError, ImportError, OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{plan.where}: it cannot be opened: {first_line(error)}") from error


def _compare(plan: Plan, there: Any, here: dict[str, Any]) -> None:
    if not isinstance(there, dict):
        raise UsageError(f"{plan.where}: {plan.name!r} was not made by this command; give another --study")
    for key in ("model", "dataset", "metric", "seed"):
        if there.get(key) != here[key]:
            raise UsageError(
                f"{plan.where}: it was made with {key} {there.get(key)}, not {here[key]}; give another --study"
            )
    old, new = there.get("settings", {}), here["settings"]
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            was, now = old.get(key, "not set"), new.get(key, "not set")
            raise UsageError(f"{plan.where}: it was made with {key} {was}, not {now}; give another --study")
    if there.get("space") != here["space"]:
        raise UsageError(f"{plan.where}: it was made with another search space; give another --study")


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """A trial is given up when its best score so far is below the median of the others at that epoch.

    Successive halving and Hyperband share out a number of epochs that is fixed beforehand; here early stopping decides
    on it, so the epochs of two trials need not match.
    """
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=plan.prune_after)


def _enqueue_defaults(study: optuna.Study, checked: Checked) -> None:
    settings = checked.config.final_config_dict
    found = {k: p.stored(settings[k]) for k, p in checked.space.parameters.items() if p.admits(settings.get(k))}
    if found:
        study.enqueue_trial(found)


def finished(study: optuna.Study) -> int:
    """Trials that have a score, or were given up for a reason."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def running(study: optuna.Study) -> int:
    """Trials that somebody is at."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
