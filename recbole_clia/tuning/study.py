"""A study: trials of a model's properties, each scored on validation, in a storage that outlives the process.

The test set is not evaluated.  A trial trains without writing its model, reports the score of each epoch, and is given
up where it lags behind the others (:data:`PRUNE_AFTER`).  Whoever has the storage can work on the study: this process,
several on this machine, or others elsewhere.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import optuna
import sqlalchemy
import torch
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..errors import UsageError
from ..running.quick_start import run
from ..settings.check import LAUNCH_KEYS
from ..settings.config import PluginConfig
from .space import Space, read_space

psutil: Any = import_module("psutil")  # it has no types

ATTRIBUTE = "recbole_clia"  # under which a study keeps what it is of
PRUNE_AFTER = 5  # epochs: a slow learner often starts below the others
RANDOM_TRIALS = 10  # before the sampler models what is good
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT, SILENCE = 60, 180  # seconds; a trial elsewhere that is silent for longer is lost

# What may differ between the machines and calls that work on one study.
NOT_OF_A_STUDY = {"data_path", "data_cache", "checkpoint_dir", "show_progress", "state", "device", "gpu_id", "use_gpu"}
NOT_OF_A_STUDY |= {"worker", "log_wandb", "wandb_project", "diagnosis_rows", "seed"}
# What belongs to a single run; whether it is packed is a setting of a trial as of any run.
_OF_A_RUN = LAUNCH_KEYS - {"packed"}


@dataclass(frozen=True)
class Plan:
    """What is searched, and where it is kept.

    Attributes:
        model, dataset: names, as RecBole knows them.
        storage: an SQLAlchemy URL such as ``sqlite:///tune/CLIA.sqlite``, or ``journal:FILE`` for a file that machines
            share.
        trials: finished trials that the study shall have, whoever made them.
        space_file: a user's search space, in place of the model's own.
        config_files, settings: what is fixed in all trials; what is set here is not searched.
        seed: of the sampler and of the training in every trial.
        seconds: no trial starts later than this after the start.
        prune_after: epochs before which no trial is given up.
        alone: whether the storage may hold no other study.
    """

    model: str
    dataset: str
    storage: str
    trials: int
    space_file: str | None = None
    config_files: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    seconds: float | None = None
    prune_after: int = PRUNE_AFTER
    alone: bool = True

    @property
    def name(self) -> str:
        """The study's name in its storage."""
        return f"{self.model}-{self.dataset}"

    @property
    def where(self) -> str:
        """The storage as messages name it, without a password."""
        try:
            name = sqlalchemy.make_url(self.storage).render_as_string(hide_password=True)
        except SQLAlchemyError:
            name = self.storage
        return f"study {name.removeprefix('sqlite:///')}"


@dataclass(frozen=True)
class Checked:
    """A plan that can be carried out."""

    plan: Plan
    space: Space
    config: PluginConfig

    @property
    def identity(self) -> dict[str, Any]:
        """What two calls must have in common to work on one study."""
        fixed = {k: v for k, v in self.config.external_config_dict.items() if k not in NOT_OF_A_STUDY | _OF_A_RUN}
        identity = {
            "model": self.plan.model,
            "dataset": self.plan.dataset,
            "metric": self.config["valid_metric"],
            "seed": self.plan.seed,
            "space": self.space.digest,
            "settings": fixed,
        }
        return dict(json.loads(json.dumps(identity, default=str, sort_keys=True)))


def check_plan(plan: Plan) -> Checked:
    """Everything that can be refused before a study is opened.

    Raises:
        UsageError: for a model, dataset, setting, space or number that is wrong.
    """
    taken = sorted(_OF_A_RUN & set(plan.settings))
    if taken:
        raise UsageError(f"tune: --{taken[0]} belongs to a single run; a trial is one process")
    config = PluginConfig(plan.model, plan.dataset, plan.config_files, {**plan.settings, "seed": plan.seed})
    space = read_space(plan.model, plan.space_file).without(config.external_config_dict)
    if config["epochs"] < 1 or config["eval_step"] < 1:
        raise UsageError("tune: a trial needs epochs and eval_step of at least 1, since it is scored on validation")
    return Checked(plan, space, config)


def open_study(checked: Checked) -> optuna.Study:
    """The study of a plan, made where there is none yet.

    A new study begins with the properties that the model has without a search, as far as the space holds them.

    Raises:
        UsageError: if the storage cannot be used, or holds a study of something else.
    """
    plan, identity = checked.plan, checked.identity
    storage = _open_storage(plan)
    try:
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
    except SQLAlchemyError as error:
        raise UsageError(f"{plan.where}: {_first_line(error)}") from error
    for _ in range(20):  # whoever made it may still be about to say what it is of
        if ATTRIBUTE in study.user_attrs:
            break
        time.sleep(0.25)
    _compare(plan, study.user_attrs.get(ATTRIBUTE), identity)
    return study


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
        callback: dict[str, Any] = {lost if lost in known else "failed_trial_callback": _repeat}
        waiting = {"connect_args": {"timeout": 60}} if plan.storage.startswith("sqlite") else {}
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
        raise UsageError(f"{plan.where}: it cannot be opened: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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


class SeededTPE(optuna.samplers.BaseSampler):
    """A tree-structured Parzen estimator that draws by the seed and by how many trials there were before.

    So a study that was stopped and continued draws what it would have drawn without the stop, and two workers with one
    seed do not draw the same.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._sampler = self._at(0)

    def _at(self, place: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self.seed, place]).generate_state(1)[0])
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=RANDOM_TRIALS,
            multivariate=True,
            constant_liar=True,  # others are being tried at the same time
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler = self._at(place_of(study, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


def place_of(study: optuna.Study, number: int) -> int:
    """How many trials before this one have not failed."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.number < number and trial.state != TrialState.FAIL for trial in trials)


def finished(study: optuna.Study) -> int:
    """Trials that have a score, or were given up for a reason."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def running(study: optuna.Study) -> int:
    """Trials that somebody is at."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


# --- trials that were lost -------------------------------------------------------------------


def _owner() -> dict[str, Any]:
    return {"host": platform.node(), "pid": os.getpid(), "since": psutil.Process().create_time()}


def _is_gone(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial of this machine has ended."""
    owner = trial.user_attrs.get("owner")
    if owner is None:  # it is set at once
        began = trial.datetime_start
        return began is not None and datetime.now() - began > timedelta(seconds=SILENCE)
    if owner["host"] != platform.node():
        return False  # its heartbeat tells, if it has one
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["since"]) > 1.0
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _repeat(study: optuna.Study, trial: FrozenTrial) -> None:
    # What was enqueued is not among the parameters before it is drawn.
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={"repeats": trial.number})


def recover(study: optuna.Study) -> int:
    """Let the trials whose process is gone be repeated.

    Returns:
        How many these are.
    """
    lost = 0
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if not _is_gone(trial):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, RuntimeError):  # another process was faster
            continue
        _repeat(study, trial)
        lost += 1
    return lost


# --- one worker --------------------------------------------------------------------------------


class _TooMany(Exception):
    """Two workers have begun the last trial."""


def work(plan: Plan, told: Callable[[optuna.Study], None] | None = None) -> None:
    """Make trials until the study has them all, or the time is up.

    Args:
        plan: what to do.
        told: called after each trial.

    Raises:
        UsageError: for bad input.
        KeyboardInterrupt: if the user stops it; the trial at hand is repeated when the study goes on.
    """
    checked = check_plan(plan)
    study = open_study(checked)
    began = time.monotonic()
    objective = _Objective(checked)
    while finished(study) + running(study) < plan.trials:
        if plan.seconds is not None and time.monotonic() - began >= plan.seconds:
            return
        others = _running(study)
        try:
            study.optimize(objective, n_trials=1, catch=(_TooMany,))
        except KeyboardInterrupt:
            _let_go(study, objective.number, others)
            raise
        if told is not None:
            told(study)


def _running(study: optuna.Study) -> set[int]:
    return {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}


def _let_go(study: optuna.Study, number: int, others: set[int]) -> None:
    """Have what an interrupt has ended repeated.

    Args:
        number: the last trial that the objective has seen, or -1.
        others: the trials that were running before; none of them is this process's.
    """
    for trial in study.get_trials():
        if trial.number == number and trial.state == TrialState.FAIL and "too_many" not in trial.user_attrs:
            _repeat(study, trial)
        # It was about to begin, and nobody would know for a while that it did not.
        elif trial.state == TrialState.RUNNING and trial.number not in others and "owner" not in trial.user_attrs:
            study.tell(trial.number, state=TrialState.FAIL)
            _repeat(study, trial)


class _Objective:
    """Trains once, and returns the best validation score."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.number = -1

    def __call__(self, trial: Trial) -> float:
        self.number = trial.number
        trial.set_user_attr("owner", _owner())
        plan = self.checked.plan
        if place_of(trial.study, trial.number) >= plan.trials:
            trial.set_user_attr("too_many", True)
            raise _TooMany
        drawn = self.checked.space.suggest(trial)

        def after_epoch(epoch: int, score: float) -> None:
            trial.report(float(score), epoch)
            if trial.should_prune():
                trial.set_user_attr("epochs", epoch + 1)
                raise optuna.TrialPruned(f"below the median of the others after epoch {epoch}")

        _close_logs()
        quiet = {"show_progress": False, "state": "WARNING"}
        settings = {**quiet, **plan.settings, **drawn, "seed": plan.seed}
        try:
            result = run(
                plan.model,
                plan.dataset,
                plan.config_files,
                settings,
                saved=False,
                test=False,
                callback=after_epoch,
            )
        except UsageError as error:
            trial.set_user_attr("error", str(error))
            raise
        except (ValueError, RuntimeError, ArithmeticError) as error:
            # A loss that is not a number, sizes that do not fit each other or the memory: the draw was a poor one.
            trial.set_user_attr("error", _first_line(error))
            raise optuna.TrialPruned(_first_line(error)) from error
        finally:
            _close_logs()
        for key in ("epochs", "best_epoch", "seconds", "log_file"):
            trial.set_user_attr(key, result[key])
        valid = result["best_valid_result"] or {}
        trial.set_user_attr("valid", {name: float(value) for name, value in valid.items()})
        return float(result["best_valid_score"])


def _close_logs() -> None:
    """RecBole sets up logging only where there is none, so that a second run would write to the log of the first."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) in (logging.FileHandler, logging.StreamHandler):
            root.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()


# --- the whole search ----------------------------------------------------------------------------


def tune(plan: Plan, jobs: int = 1, told: Callable[[optuna.Study], None] | None = None) -> tuple[optuna.Study, Checked]:
    """Search until the study has ``plan.trials`` finished trials; a study that is there goes on.

    Args:
        plan: what to do.
        jobs: processes of this machine.
        told: called with the study now and then, and after each trial if there is one process.

    Raises:
        UsageError: for bad input, or if a worker failed.
        KeyboardInterrupt: if the user stops it; the same call goes on.
    """
    checked = check_plan(plan)
    study = open_study(checked)
    recover(study)
    if told is not None:
        told(study)
    jobs = min(jobs, plan.trials - finished(study))
    if jobs == 1:
        work(plan, told)
    elif jobs > 1:
        _work_together(plan, jobs, study, told)
    return study, checked


def _work_together(plan: Plan, jobs: int, study: optuna.Study, told: Callable[[optuna.Study], None] | None) -> None:
    """Processes and not threads: RecBole seeds the global generators of torch, numpy and Python for each run."""
    context = multiprocessing.get_context("spawn")
    failures = context.SimpleQueue()
    threads = max(1, torch.get_num_threads() // jobs)
    plan = replace(plan, settings=dict(plan.settings))
    workers = [context.Process(target=_worker, args=(plan, threads, failures)) for _ in range(jobs)]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) and failures.empty():
            multiprocessing.connection.wait([worker.sentinel for worker in workers if worker.is_alive()], 0.5)
            if told is not None:
                told(study)
    finally:  # after a failure or Ctrl-C, which the workers have got too
        stop_at = time.monotonic() + (20 if failures.empty() else 0)
        for worker in workers:
            if worker.pid is not None:
                worker.join(max(0.0, stop_at - time.monotonic()))
                if worker.is_alive():
                    worker.terminate()
                    worker.join()
        recover(study)
    if not failures.empty():
        raise UsageError(failures.get())
    ended = [worker.exitcode for worker in workers if worker.exitcode]
    if ended:
        raise UsageError(f"tune: a worker ended with exit code {ended[0]}; the same command repeats its trial")


def _worker(plan: Plan, threads: int, failures: Any) -> None:
    torch.set_num_threads(threads)
    try:
        work(plan)
    except UsageError as error:
        failures.put(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
