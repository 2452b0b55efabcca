"""One trial: a training run, scored on validation.

The test set is not evaluated.  A trial trains without writing its model, reports the score of each epoch, and is given
up where it lags behind the others.
"""

from __future__ import annotations

import logging

import optuna
from optuna.trial import Trial

from ..errors import Diverged, UsageError, first_line
from ..running.quick_start import run
from .lost import owner
from .plan import Checked
from .sampler import place_of

# What RecBole says of settings that do not go together, and torch of a loss or a size: the draw was a poor one.
_POOR = (ValueError, RuntimeError, ArithmeticError, AssertionError, IndexError)


class TooMany(Exception):
    """Two workers have begun the last trial."""


class Objective:
    """Trains once, and returns the best validation score."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.number = -1

    def __call__(self, trial: Trial) -> float:
        self.number = trial.number
        trial.set_user_attr("owner", owner())
        plan = self.checked.plan
        if place_of(trial.study, trial.number) >= plan.trials:
            trial.set_user_attr("too_many", True)
            raise TooMany
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
        except _POOR as error:
            trial.set_user_attr("error", first_line(error))
            if isinstance(error, UsageError) and not isinstance(error, Diverged):
                raise
            raise optuna.TrialPruned(first_line(error)) from error
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
