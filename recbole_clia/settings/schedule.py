"""Numbers that change from epoch to epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any


class Schedule:
    """A number, or points ``[[epoch, value], ...]`` with straight lines between them and level ends.

    Args:
        value: the number, or the points in order of their epochs.

    Raises:
        ValueError: for anything else.
    """

    def __init__(self, value: float | Sequence[Sequence[float]]) -> None:
        points: Any = [(0, value)] if _is_number(value) else value
        if not (isinstance(points, (list, tuple)) and points and all(map(_is_point, points))):
            raise ValueError(f"a schedule is a number or a list of [epoch, value], not {value!r}")
        self.epochs = [point[0] for point in points]
        try:
            self.values = [float(point[1]) for point in points]
        except OverflowError:
            raise ValueError("a value of a schedule is beyond all floating-point numbers") from None
        if any(a >= b for a, b in zip(self.epochs, self.epochs[1:], strict=False)):
            raise ValueError(f"the epochs of a schedule must rise, and do not in {value!r}")

    def at(self, epoch: int) -> float:
        """The value in this epoch, counted from 0."""
        after = bisect_right(self.epochs, epoch)
        if after == 0 or after == len(self.epochs):
            return self.values[max(0, after - 1)]
        (a, b), (low, high) = self.epochs[after - 1 : after + 1], self.values[after - 1 : after + 1]
        return low + (high - low) * (epoch - a) / (b - a)

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 in every epoch."""
        return not any(self.values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_point(point: object) -> bool:
    return isinstance(point, (list, tuple)) and len(point) == 2 and all(map(_is_number, point)) and point[0] >= 0
