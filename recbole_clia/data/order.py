"""The one order of a log: by user, then by time, then as in the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

ROWS_AT_ONCE = 1 << 17
ROWS_SORTED_AT_ONCE = 1 << 18


def order_by_user_and_time(user: NDArray[Any], time: NDArray[Any], users: int) -> NDArray[Any]:
    """Positions that sort a log by user and time; rows that tie keep their order.

    Rows are grouped by user by counting, and sorted by time a block of users at a time, so that little
    memory is needed beside the result.

    Args:
        user: ``[N]`` ids in ``0 .. users - 1``.
        time: ``[N]`` numbers, none of them NaN.
        users: number of ids.

    Returns:
        ``[N]``, int32 where that suffices.
    """
    count = len(user)
    small = np.int32 if count < 2**31 else np.int64
    if not count:
        return np.zeros(0, dtype=small)
    # The conversion to compressed rows is a stable counting sort in C.
    rows = coo_matrix(
        (np.broadcast_to(np.int8(1), count), (user, np.arange(count, dtype=small))), (users, count)
    ).tocsr()
    order, start = rows.indices, rows.indptr
    cuts = np.unique(np.searchsorted(start, np.arange(ROWS_SORTED_AT_ONCE, count, ROWS_SORTED_AT_ONCE)))
    for low, high in zip(np.r_[0, cuts], np.r_[cuts, users], strict=True):
        begin, end = int(start[low]), int(start[high])
        block = order[begin:end]
        when = time[block]
        who = user[block]
        if ((when[1:] >= when[:-1]) | (who[1:] != who[:-1])).all():
            continue
        by_time = torch.from_numpy(when).argsort(stable=True)
        by_user = torch.from_numpy(np.ascontiguousarray(who))[by_time].argsort(stable=True)
        order[begin:end] = block[by_time[by_user].numpy()]
    return order


def is_ordered(user: NDArray[Any], time: NDArray[Any]) -> bool:
    """Whether rows already come by user and time."""
    for begin in range(0, len(user) - 1, ROWS_AT_ONCE):
        who, when = (a[begin : begin + ROWS_AT_ONCE + 1] for a in (user, time))
        if not ((who[1:] > who[:-1]) | ((who[1:] == who[:-1]) & (when[1:] >= when[:-1]))).all():
            return False
    return True


def count_ids(ids: NDArray[Any], number: int) -> NDArray[np.int64]:
    """How often each of ``0 .. number - 1`` occurs; -1 is no id."""
    found = np.zeros(number + 1, dtype=np.int64)
    for begin in range(0, len(ids), ROWS_AT_ONCE):
        found += np.bincount(ids[begin : begin + ROWS_AT_ONCE].astype(np.int64) + 1, minlength=number + 1)
    return found[1:]


def repeated_rows(columns: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Positions of rows that equal another one in each of ``columns``, which are sorted by the first two."""
    user, time = columns[:2]
    count = len(user)
    tied = np.zeros(count, dtype=bool)
    same = user[1:] == user[:-1]
    same &= time[1:] == time[:-1]
    tied[1:] |= same
    tied[:-1] |= same
    where = np.flatnonzero(tied)
    if not len(where):
        return where
    chosen = [column[where] for column in columns]
    order = np.lexsort(chosen[::-1])
    equal = np.ones(len(where) - 1, dtype=bool)
    for column in chosen:
        equal &= column[order[1:]] == column[order[:-1]]
    twice = np.zeros(len(where), dtype=bool)
    twice[1:] |= equal
    twice[:-1] |= equal
    return where[np.sort(order[twice])]


def by_first_appearance(codes: NDArray[Any], number: int, rows_at_once: int = ROWS_AT_ONCE) -> NDArray[Any]:
    """The codes in ``0 .. number - 1`` that occur, in the order of their first occurrence; -1 is no code."""
    seen = np.zeros(number + 1, dtype=bool)
    seen[-1] = True
    found = []
    for begin in range(0, len(codes), rows_at_once):
        block = codes[begin : begin + rows_at_once]
        fresh, first = np.unique(block[~seen[block]], return_index=True)
        fresh = fresh[first.argsort()]
        seen[fresh] = True
        found.append(fresh)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
