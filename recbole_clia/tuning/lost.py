"""Trials whose process is gone: they are found and repeated."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

psutil: Any = import_module("psutil")  # it has no types

SILENCE = 180  # seconds; a trial elsewhere that is silent for longer is lost


def owner() -> dict[str, Any]:
    """This process, as a trial names whoever is at it."""
    return {"host": platform.node(), "pid": os.getpid(), "since": psutil.Process().create_time()}


def _is_gone(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial of this machine has ended."""
    by = trial.user_attrs.get("owner")
    if by is None:  # it is set at once
        began = trial.datetime_start
        return began is not None and datetime.now() - began > timedelta(seconds=SILENCE)
    if by["host"] != platform.node():
        return False  # its heartbeat tells, if it has one
    try:
        return abs(psutil.Process(by["pid"]).create_time() - by["since"]) > 1.0
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def repeat(study: optuna.Study, trial: FrozenTrial) -> None:
    """Have another trial with the same parameters made."""
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
        repeat(study, trial)
        lost += 1
    return lost
