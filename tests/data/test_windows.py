"""Laws of the windows, against brute force over every target of every user."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_clia.data.windows import cut_windows

laws = settings(derandomize=True, deadline=None, max_examples=300)


@st.composite
def logs(draw):
    """Users one after another: ``(user_start, first_target, last_target, size of each log)``."""
    users = []
    for _ in range(draw(st.integers(0, 6))):
        size = draw(st.integers(2, 40))
        first = draw(st.one_of(st.just(1), st.integers(1, size - 1)))
        last = draw(st.one_of(st.just(size - 1), st.integers(first, size - 1)))
        users.append((size, first, last))
    return log_of(users)


def log_of(users):
    """From ``(size, first, last)`` of each user, targets counted from the user's own start."""
    size = np.array([u[0] for u in users], dtype=np.int64)
    start = np.cumsum(size) - size
    first = start + np.array([u[1] for u in users], dtype=np.int64)
    last = start + np.array([u[2] for u in users], dtype=np.int64)
    return start, first, last, size


@st.composite
def max_length_and_stride(draw):
    max_length = draw(st.integers(1, 15))
    return max_length, draw(st.integers(1, max_length))


def rows(windows):
    return list(zip(windows.start.tolist(), windows.end.tolist(), windows.first.tolist(), strict=True))


def user_of(position, user_start, size):
    return next(u for u in range(len(size)) if user_start[u] <= position < user_start[u] + size[u])


FAR = log_of([(30, 20, 29), (5, 1, 4), (40, 1, 39), (2, 1, 1), (40, 39, 39), (40, 11, 38)])


@laws
@given(logs(), max_length_and_stride())
@example(FAR, (10, 5))
@example(FAR, (10, 10))
@example(FAR, (1, 1))
def test_every_target_is_trained_exactly_once_and_nothing_else(log, shape):
    user_start, first_target, last_target, _ = log
    windows = cut_windows(user_start, first_target, last_target, *shape)
    trained = Counter(p for _, end, first in rows(windows) for p in range(first, end + 1))
    wanted = [p for f, last in zip(first_target, last_target, strict=True) for p in range(f, last + 1)]
    assert trained == Counter(wanted)


@laws
@given(logs(), max_length_and_stride())
@example(FAR, (10, 5))
@example(FAR, (10, 10))
def test_windows_are_of_one_user_and_of_allowed_length(log, shape):
    user_start, first_target, last_target, size = log
    for start, end, first in rows(cut_windows(user_start, first_target, last_target, *shape)):
        assert 1 <= end - start <= shape[0]
        assert start < first <= end  # a target, with an input before it
        assert user_of(start, user_start, size) == user_of(end, user_start, size)


@laws
@given(logs(), max_length_and_stride())
@example(FAR, (10, 5))
@example(FAR, (10, 10))
@example(FAR, (10, 1))
def test_every_target_has_its_context(log, shape):
    user_start, first_target, last_target, size = log
    max_length, stride = shape
    for start, end, first in rows(cut_windows(user_start, first_target, last_target, *shape)):
        for position in range(first, end + 1):
            before = position - user_start[user_of(position, user_start, size)]
            assert position - start >= min(before, max_length - stride + 1)


@laws
@given(logs(), st.integers(1, 15))
@example(FAR, 10)
@example(FAR, 1)
def test_stride_one_gives_recboles_rows(log, max_length):
    """RecBole's row of a target: the ``max_length`` items before it, or all there are."""
    user_start, first_target, last_target, size = log
    windows = cut_windows(user_start, first_target, last_target, max_length, 1)
    opened = set()
    for start, end, first in rows(windows):
        user = user_of(end, user_start, size)
        if user in opened:
            assert first == end  # beyond the first window, one target each
        opened.add(user)
        for position in range(first, end + 1):
            assert start == max(user_start[user], position - max_length)


@laws
@given(logs(), max_length_and_stride())
def test_a_window_takes_as_many_targets_as_it_may(log, shape):
    user_start, first_target, last_target, size = log
    max_length, stride = shape
    of_user = {}
    for start, end, first in rows(cut_windows(user_start, first_target, last_target, *shape)):
        of_user.setdefault(user_of(end, user_start, size), []).append((start, end, first))
    assert sorted(of_user) == list(range(len(size)))
    for user, windows in of_user.items():
        first_end = min(last_target[user], max(user_start[user] + max_length, first_target[user] + stride - 1))
        assert windows[0][1] == first_end
        assert windows[0][2] == first_target[user]
        assert all(end + 1 - first == stride for _, end, first in windows[1:-1])
        assert all(1 <= end + 1 - first <= stride for _, end, first in windows[1:])


@laws
@given(logs(), max_length_and_stride())
def test_a_window_reaches_back_as_far_as_it_may(log, shape):
    user_start, first_target, last_target, size = log
    for start, end, _ in rows(cut_windows(user_start, first_target, last_target, *shape)):
        assert start == max(user_start[user_of(end, user_start, size)], end - shape[0])


def test_a_short_history_is_one_window():
    user_start, first_target, last_target, _ = log_of([(8, 1, 7), (11, 1, 10)])
    assert rows(cut_windows(user_start, first_target, last_target, 10, 3)) == [(0, 7, 1), (8, 18, 9)]


def test_a_long_history_by_hand():
    user_start, first_target, last_target, _ = log_of([(9, 1, 8)])
    assert rows(cut_windows(user_start, first_target, last_target, 4, 2)) == [(0, 4, 1), (2, 6, 5), (4, 8, 7)]


@laws
@given(logs(), max_length_and_stride())
def test_length_and_span_count_inputs_and_targets(log, shape):
    windows = cut_windows(*log[:3], *shape)
    assert len(windows) == len(windows.start) == len(windows.end) == len(windows.first)
    assert windows.length.tolist() == [end - start for start, end, _ in rows(windows)]
    assert windows.span.tolist() == [len(range(first, end + 1)) for _, end, first in rows(windows)]
    assert windows.span.sum() == (log[2] + 1 - log[1]).sum()
    assert {a.dtype for a in (windows.start, windows.end, windows.first)} == {np.dtype(np.int64)}


def test_no_users_give_no_windows():
    none = np.zeros(0, dtype=np.int64)
    windows = cut_windows(none, none, none, 10, 5)
    assert len(windows) == 0
    assert windows.length.tolist() == windows.span.tolist() == []


def test_inputs_are_left_alone():
    log = log_of([(30, 3, 29), (5, 1, 4)])
    before = [a.copy() for a in log]
    cut_windows(*log[:3], 6, 2)
    assert all(np.array_equal(a, b) for a, b in zip(log, before, strict=True))


@pytest.mark.parametrize(
    ("max_length", "stride", "key"),
    [(0, 1, "max_length"), (-1, 1, "max_length"), (5, 0, "stride"), (5, -1, "stride"), (5, 6, "stride")],
)
def test_refuses_sizes_out_of_range(max_length, stride, key):
    user_start, first_target, last_target, _ = log_of([(9, 1, 8)])
    with pytest.raises(ValueError, match=key):
        cut_windows(user_start, first_target, last_target, max_length, stride)
