"""RecBole's filters by number of interactions, on codes instead of row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .order import count_ids

Intervals = list[tuple[str, float, float, str]]  # as RecBole parses "[5,inf);..."


def within(numbers: NDArray[Any], intervals: Intervals) -> NDArray[np.bool_]:
    """Whether each number lies in one of the intervals; without any, all do."""
    if not intervals:
        return np.ones(len(numbers), dtype=bool)
    found = np.zeros(len(numbers), dtype=bool)
    for left, low, high, right in intervals:
        above = numbers >= low if left == "[" else numbers > low
        found |= above & (numbers <= high if right == "]" else numbers < high)
    return found


def filter_by_number(
    user: NDArray[Any],
    item: NDArray[Any],
    user_intervals: Intervals | None,
    item_intervals: Intervals | None,
    known: Sequence[NDArray[np.bool_] | None] = (None, None),
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Which interactions are left once each user and item has a number of them within its intervals.

    As RecBole does it: users and items out of their intervals leave at the same time, again and
    again until all fit.  Those with a file of their own need the lower bound of the first interval too.

    Args:
        user, item: ``[N]`` codes from 0.
        user_intervals, item_intervals: allowed numbers of interactions; ``None`` allows all.
        known: boolean, of each user code and of each item code: whether it is in the file of users or items.

    Returns:
        boolean ``[N]``, and the codes of the users and of the items that had to leave.
    """
    keep = np.ones(len(user), dtype=bool)
    banned: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    while True:
        left = np.ones(int(keep.sum()), dtype=bool)
        for codes, intervals, out, in_file in zip(
            (user, item), (user_intervals, item_intervals), banned, known, strict=True
        ):
            if intervals is None:
                continue
            number = count_ids(codes, int(codes.max(initial=-1)) + 1)
            misfit = ~within(number, intervals)
            if in_file is not None and intervals:
                misfit |= in_file[: len(number)] & (number < intervals[0][1])
            if misfit.any():
                left &= ~misfit[codes]
            out.append(np.flatnonzero(misfit & (number > 0)))
        if left.all():
            users, items = (np.unique(np.concatenate([*out, np.zeros(0, np.int64)])) for out in banned)
            return keep, users, items
        keep[keep] = left
        user, item = user[left], item[left]
