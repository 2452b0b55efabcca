"""The one order of a log, and counting, against numpy and plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_clia.data import order
from recbole_clia.data.order import by_first_appearance

SEEDS = st.integers(0, 2**32 - 1)
BLOCKS = st.sampled_from([1, 2, 3, 7, 1 << 17])


def small_log(seed: int, rows: int, users: int, times: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, rows).astype(np.int32)
    time = rng.integers(0, times, rows)
    return user, (time * 0.37 if kind.startswith("f") else time).astype(kind)


@settings(max_examples=120, deadline=None)
@given(
    SEEDS,
    st.integers(0, 120),
    st.integers(1, 9),
    st.sampled_from([1, 3, 40, 10_000]),
    st.sampled_from(["int32", "int64", "float32", "float64"]),
    st.sampled_from(["as it is", "sorted", "reversed"]),
    BLOCKS,
    BLOCKS,
)
def test_the_order_is_a_stable_sort_by_user_and_time(
    seed: int, rows: int, users: int, times: int, kind: str, shape: str, block: int, sorted_block: int
) -> None:
    user, time = small_log(seed, rows, users, times, kind)
    if shape != "as it is":
        place = np.lexsort((time, user))
        place = place[::-1] if shape == "reversed" else place
        user, time = user[place], time[place]
    want = np.lexsort((time, user))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "ROWS_AT_ONCE", block)
        patch.setattr(order, "ROWS_SORTED_AT_ONCE", sorted_block)
        got = order.order_by_user_and_time(user, time, users)
        ordered = order.is_ordered(user, time)
    assert got.tolist() == want.tolist()
    assert ordered == (want.tolist() == list(range(rows)))


def test_the_order_of_nanoseconds_is_that_of_whole_numbers() -> None:
    time = 1_700_000_000_000_000_000 + np.array([3, 1, 2, 0, 1])  # all the same float64
    user = np.zeros(5, dtype=np.int32)
    assert order.order_by_user_and_time(user, time, 1).tolist() == [3, 1, 4, 2, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 6), max_size=40), BLOCKS, st.sampled_from(["int8", "int32", "int64"]))
def test_ids_are_counted_and_found_as_by_a_loop(ids: list[int], block: int, kind: str) -> None:
    codes = np.array(ids, dtype=kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "ROWS_AT_ONCE", block)
        assert order.count_ids(codes, 7).tolist() == [ids.count(number) for number in range(7)]
    seen = by_first_appearance(codes, 7, block)
    assert seen.tolist() == list(dict.fromkeys(number for number in ids if number >= 0))


def test_small_codes_of_many_rows_are_counted_without_overflow() -> None:
    codes = np.full(100_000, 127, dtype=np.int8)
    assert order.count_ids(codes, 128)[127] == 100_000


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(0, 30), st.integers(1, 3))
def test_repeated_rows_are_those_that_a_loop_finds(seed: int, rows: int, further: int) -> None:
    rng = np.random.default_rng(seed)
    columns: list[Any] = [rng.integers(0, 3, rows) for _ in range(2 + further)]
    place = np.lexsort((columns[1], columns[0]))
    columns = [
        column[place].astype(kind) for column, kind in zip(columns, ["i4", "f8", "f4", "i4", "i8"], strict=False)
    ]
    lines = list(zip(*(column.tolist() for column in columns), strict=True))
    assert order.repeated_rows(columns).tolist() == [i for i, line in enumerate(lines) if lines.count(line) > 1]
