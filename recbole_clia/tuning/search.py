"""The search: processes that make trials until the study has them all."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from ..errors import UsageError
from ..running.ending import Asked, end_with, ends_with_an_interrupt
from .lost import recover, repeat
from .plan import Checked, Plan, check_plan
from .study import finished, open_study, running, storage_of
from .trial import Objective, TooMany


def tune(plan: Plan, jobs: int = 1, told: Callable[[optuna.Study], None] | None = None) -> tuple[optuna.Study, Checked]:
    """Search until the study has ``plan.trials`` finished trials; a study that is there goes on.

    Args:
        plan: what to do.
        jobs: processes of this machine.
        told: called with the study now and then, and after each trial if there is one process.

    Raises:
        UsageError: for bad input, if the storage fails, or if a worker did.
        KeyboardInterrupt: if the user stops it; the same call goes on.
    """
    checked = check_plan(plan)
    study = open_study(checked)
    with storage_of(plan):
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
    patience = 20.0  # seconds that the workers are given to put their trials back
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) and failures.empty():
            multiprocessing.connection.wait([worker.sentinel for worker in workers if worker.is_alive()], 0.5)
            if told is not None:
                told(study)
    except Asked:
        patience = 5.0  # whoever asks may kill soon
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()  # an interrupt to it
        raise
    finally:  # after a failure or an interrupt: of the keyboard, the workers have got it too
        stop_at = time.monotonic() + (patience if failures.empty() else 0)
        for worker in workers:
            if worker.pid is not None:
                worker.join(max(0.0, stop_at - time.monotonic()))
                if worker.is_alive():
                    worker.kill()
                    worker.join()
        recover(study)
    if not failures.empty():
        raise UsageError(failures.get())
    ended = [worker.exitcode for worker in workers if worker.exitcode]
    if ended:
        raise UsageError(f"tune: a worker ended with exit code {ended[0]}; the same command repeats its trial")


def _worker(plan: Plan, threads: int, failures: Any) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_with(parent.join)
    torch.set_num_threads(threads)
    try:
        with ends_with_an_interrupt(), storage_of(plan):
            work(plan)
    except UsageError as error:
        failures.put(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


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
    objective = Objective(checked)
    while finished(study) + running(study) < plan.trials:
        if plan.seconds is not None and time.monotonic() - began >= plan.seconds:
            return
        others = _numbers_running(study)
        try:
            study.optimize(objective, n_trials=1, catch=(TooMany,))
        except KeyboardInterrupt:
            _let_go(study, objective.number, others)
            raise
        if told is not None:
            told(study)


def _numbers_running(study: optuna.Study) -> set[int]:
    return {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}


def _let_go(study: optuna.Study, number: int, others: set[int]) -> None:
    """Have what an interrupt has ended repeated.

    Args:
        number: the last trial that the objective has seen, or -1.
        others: the trials that were running before; none of them is this process's.
    """
    for trial in study.get_trials():
        if trial.number == number and trial.state == TrialState.FAIL and "too_many" not in trial.user_attrs:
            repeat(study, trial)
        # It was about to begin, and nobody would know for a while that it did not.
        elif trial.state == TrialState.RUNNING and trial.number not in others and "owner" not in trial.user_attrs:
            study.tell(trial.number, state=TrialState.FAIL)
            repeat(study, trial)
