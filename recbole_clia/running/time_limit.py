"""Training that stops after a number of seconds, for any of RecBole's trainers."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any


class _TimeIsUp(Exception):
    """RecBole's loop can be left no other way."""


class TimeLimited:
    """Stands before a trainer of RecBole's, and ends its training by the setting ``train_seconds``.

    The last epoch is a whole one, and is validated.

    Attributes:
        epoch_seconds: what the last epoch took, evaluation not counted.
        trained_seconds: what all epochs so far took.
    """

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)  # type: ignore[call-arg]
        self.epoch_seconds = self.trained_seconds = 0.0

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> Any:
        this: Any = self

        def after_epoch(epoch: int, valid_score: float) -> None:
            if callback_fn is not None:
                callback_fn(epoch, valid_score)
            if self._time_is_up:
                raise _TimeIsUp

        try:
            return super().fit(  # type: ignore[misc]
                train_data, valid_data, verbose, saved, show_progress, after_epoch
            )
        except _TimeIsUp:
            this.logger.info(f"Training stops after {this.config['train_seconds']} seconds (train_seconds)")
            return this.best_valid_score, this.best_valid_result

    def _train_epoch(self, *args: Any, **kwargs: Any) -> Any:
        if self._time_is_up and self.trained_seconds:  # nothing was validated after the epoch before
            raise _TimeIsUp
        began = perf_counter()
        losses = super()._train_epoch(*args, **kwargs)  # type: ignore[misc]
        self.epoch_seconds = perf_counter() - began
        self.trained_seconds += self.epoch_seconds
        if self._time_is_up:
            self.eval_step = 1
        return losses

    @property
    def _time_is_up(self) -> bool:
        this: Any = self
        most: float | None = this.config["train_seconds"]
        return most is not None and self.trained_seconds >= most


def limited(trainer: type, seconds: float | None) -> type:
    """``trainer``, or where there is a limit a trainer of that name that keeps it."""
    if seconds is None or issubclass(trainer, TimeLimited):
        return trainer
    return type(trainer.__name__, (TimeLimited, trainer), {"__doc__": trainer.__doc__})
