"""RecBole's splits into training, validation and test, for all users at once.

Rows come grouped: user after user, each user's in order of time.  ``size`` gives the rows of each
group.  Every function returns, for each part, which of the grouped rows belong to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def _places(size: Ints) -> Ints:
    """Of each row: its place within its group, from 0."""
    return np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)


def leave_one_out(size: Ints, held_out: int) -> list[Mask]:
    """The last ``held_out`` rows of each group, one to each part after the first; a group keeps at least one row.

    A group that is too small for all parts serves the last ones first.
    """
    end = np.cumsum(size)
    rows = int(end[-1]) if len(end) else 0
    parts = [np.zeros(rows, dtype=bool) for _ in range(held_out + 1)]
    for last, part in zip(reversed(range(held_out)), parts[1:], strict=True):
        part[end[size > last + 1] - 1 - last] = True
    parts[0] = ~np.logical_or.reduce(parts)
    return parts


def by_ratio(
    size: Ints, ratios: Sequence[float], split_points: Callable[[int, Sequence[float]], list[Any]]
) -> list[Mask]:
    """Each group cut into parts of these ratios, where RecBole's ``_calcu_split_ids`` cuts a group of that size."""
    total = sum(ratios)
    ratios = [ratio / total for ratio in ratios]
    distinct, kind = np.unique(size, return_inverse=True)
    cuts = np.array([split_points(int(n), ratios) for n in distinct], dtype=np.int64).reshape(
        len(distinct), len(ratios) - 1
    )
    place = _places(size)
    part = (place[:, None] >= np.repeat(cuts[kind], size, axis=0)).sum(1)
    return [part == number for number in range(len(ratios))]


def by_time(size: Ints, time: NDArray[Any], ratios: Sequence[float]) -> list[Mask]:
    """What is later than the last ratio's quantile of all times is tested on; the rest of each group is cut in two."""
    total = sum(ratios)
    first, _, last = (ratio / total for ratio in ratios)
    if not len(time):
        return [np.zeros(0, dtype=bool)] * 3
    early = time <= np.percentile(time, 100 * (1 - last))
    group = np.repeat(np.arange(len(size)), size)
    early_size = np.bincount(group, weights=early, minlength=len(size)).astype(np.int64)
    cut = (early_size * (first / (1 - last))).astype(np.int64)
    place = _places(size)
    trained = early & (place < cut[group])
    return [trained, early & ~trained, ~early]
