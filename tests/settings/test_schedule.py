"""Laws of schedules: what they take, and their values between, at and beyond their points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_clia.settings.schedule import Schedule

laws = settings(derandomize=True, deadline=None, max_examples=200)
values = st.floats(-100, 100)
points = st.lists(st.tuples(st.integers(0, 200), values), min_size=1, max_size=6, unique_by=lambda p: p[0]).map(sorted)


@pytest.mark.parametrize("number", [0, 3, 0.25, -1.5])
def test_a_number_is_the_same_in_every_epoch(number: float) -> None:
    schedule = Schedule(number)
    assert [schedule.at(epoch) for epoch in (0, 1, 10**6)] == [number] * 3


def test_straight_lines_between_points_and_level_ends() -> None:
    schedule = Schedule([[2, 1.0], [4, 3.0], [8, 0.0]])
    got = [schedule.at(epoch) for epoch in range(11)]
    assert got == [1.0, 1.0, 1.0, 2.0, 3.0, 2.25, 1.5, 0.75, 0.0, 0.0, 0.0]


@laws
@given(points, st.integers(0, 300))
def test_it_is_what_interpolation_gives(case: list[tuple[int, float]], epoch: int) -> None:
    epochs, heights = zip(*case, strict=True)
    for form in (case, [list(point) for point in case], tuple(case)):
        assert Schedule(form).at(epoch) == pytest.approx(np.interp(epoch, epochs, heights), rel=1e-9, abs=1e-9)


@laws
@given(points)
def test_at_its_points_it_is_exact(case: list[tuple[int, float]]) -> None:
    schedule = Schedule(case)
    assert [schedule.at(epoch) for epoch, _ in case] == [height for _, height in case]


def test_epochs_may_lie_between_whole_ones() -> None:
    assert [Schedule([[0.5, 0], [1.5, 1]]).at(epoch) for epoch in range(3)] == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("value", "zero"),
    [(0, True), (0.0, True), (1e-9, False), ([[0, 0], [9, 0.0]], True), ([[0, 0], [9, 1]], False), ([[5, 0]], True)],
)
def test_it_knows_whether_it_is_always_zero(value: Any, zero: bool) -> None:
    assert Schedule(value).is_zero == zero


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "0.1",
        [],
        (),
        {},
        {0: 1},
        [0.1, 0.2],
        [1],
        [[1]],
        [[1, 2, 3]],
        [[0, 1], 5],
        [["0", 1]],
        [[0, "1"]],
        [[0, None]],
        [[True, 1]],
        [[0, False]],
        [[-1, 1]],
        [[math.nan, 1]],
        ["ab"],
    ],
)
def test_what_is_no_schedule_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"a schedule is a number or a list of \[epoch, value\], not ") as caught:
        Schedule(value)
    assert str(caught.value).endswith(repr(value))


@pytest.mark.parametrize("value", [[[3, 1], [2, 5]], [[0, 1], [0, 1]], [[0, 1], [5, 2], [5, 3]]])
def test_epochs_that_do_not_rise_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="the epochs of a schedule must rise, and do not in "):
        Schedule(value)
