"""RecBole's splits into training, validation and test, for all users at once.

Rows come grouped: user after user, each user's in order of time.  ``size`` gives the rows of each
group.  Every function returns a :class:`Part` for each part: within a group, its rows are neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .times import SECONDS

Ints = NDArray[np.int64]

# How a user asks for the split by periods, as the ``split`` of RecBole's ``eval_args``, and where each part lies.
BY_PERIOD = {"TS": ["period"]}
PERIODS = {
    "training": "before the last two periods",
    "validation": "in the period before the last one",
    "test": "in the last period",
}


class Part(NamedTuple):
    """Of each group: how many of its rows lie before the part, and how many in it."""

    before: Ints
    size: Ints


def leave_one_out(size: Ints, held_out: int) -> list[Part]:
    """The last ``held_out`` rows of each group, one to each part after the first; a group keeps at least one row.

    A group that is too small for all parts serves the last ones first.
    """
    held = np.minimum(held_out, size - 1)
    parts = [Part(np.zeros_like(size), size - held)]
    parts += [Part(size - 1 - last, (held > last).astype(size.dtype)) for last in reversed(range(held_out))]
    return parts


def by_ratio(
    size: Ints, ratios: Sequence[float], split_points: Callable[[int, Sequence[float]], list[Any]]
) -> list[Part]:
    """Each group cut into parts of these ratios, where RecBole's ``_calcu_split_ids`` cuts a group of that size."""
    total = sum(ratios)
    ratios = [ratio / total for ratio in ratios]
    distinct, kind = np.unique(size, return_inverse=True)
    cuts = np.array([[0, *split_points(int(n), ratios), n] for n in distinct], dtype=np.int64)
    cuts = cuts.reshape(len(distinct), len(ratios) + 1)[kind]
    return [Part(cuts[:, k], np.maximum(cuts[:, k + 1] - cuts[:, k], 0)) for k in range(len(ratios))]


def by_time(size: Ints, time: NDArray[Any], ratios: Sequence[float]) -> list[Part]:
    """What is later than the last ratio's quantile of all times is tested on; the rest of each group is cut in two.

    Args:
        time: of each row.
    """
    total = sum(ratios)
    first, _, last = (ratio / total for ratio in ratios)
    group = np.repeat(np.arange(len(size)), size)
    early = time <= np.percentile(time, 100 * (1 - last)) if len(time) else np.zeros(0)
    before_test = np.bincount(group, weights=early, minlength=len(size)).astype(np.int64)
    trained = (before_test * (first / (1 - last))).astype(np.int64) if last < 1 else np.zeros_like(size)
    trained = np.minimum(trained, before_test)
    return [
        Part(np.zeros_like(size), trained),
        Part(trained, before_test - trained),
        Part(before_test, size - before_test),
    ]


def by_period(size: Ints, time: NDArray[Any], end: float, period: float) -> list[Part]:
    """What lies in the last period of the log is tested on, the period before validates, all earlier trains.

    A period is open at its beginning and closed at its end, so that one of a day holds one date in a log of dates.

    Args:
        time: of each row, in order within a group.
        end: time of the last interaction of the log.
        period: length of a period, in the unit of the times.
    """
    group = np.repeat(np.arange(len(size)), size)
    trained, before_test = (
        np.bincount(group[time <= end - count * period], minlength=len(size)).astype(np.int64) for count in (2, 1)
    )
    return [
        Part(np.zeros_like(size), trained),
        Part(trained, before_test - trained),
        Part(before_test, size - before_test),
    ]


def in_unit(seconds: float, unit: str) -> float:
    """Seconds in a unit of :data:`~recbole_clia.data.times.SECONDS`, rounded once."""
    return float(Fraction(str(seconds)) / Fraction(str(SECONDS[unit])))
