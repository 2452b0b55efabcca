"""The splits take the rows that RecBole's take."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.dataset.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_clia.data import splitting

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=8)
RATIOS = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 1 / 3, 0.8, 8, 1]), min_size=2, max_size=4).filter(any)


def recboles(size: list[int], time: Any = None) -> Dataset:
    """A dataset of its class with nothing but rows, user after user."""
    dataset = object.__new__(Dataset)
    dataset.config, dataset.logger = {"unused_col": None}, getLogger()
    dataset.uid_field, dataset.time_field = "user", "time"
    user = np.repeat(np.arange(len(size)), size)
    time = np.arange(len(user), dtype=np.float32) if time is None else time
    rows = {"user": user, "time": time, "row": np.arange(len(user))}
    dataset.inter_feat = Interaction({name: torch.from_numpy(values) for name, values in rows.items()})
    return dataset


def rows_of(parts: list[Dataset]) -> list[list[int]]:
    return [part.inter_feat["row"].tolist() for part in parts]


def placed(size: Any, parts: list[splitting.Part]) -> list[list[int]]:
    start = np.cumsum(size) - size
    runs = [zip(start + part.before, part.size, strict=True) for part in parts]
    return [[int(first) + k for first, count in run for k in range(count)] for run in runs]


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_leave_one_out_holds_out_what_recbole_holds_out(size: list[int]) -> None:
    theirs = rows_of(recboles(size).leave_one_out("user", "valid_and_test"))
    assert placed(size, splitting.leave_one_out(np.array(size), 2)) == theirs
    theirs = rows_of(recboles(size).leave_one_out("user", "test_only"))
    assert placed(size, splitting.leave_one_out(np.array(size), 1)) == [theirs[0], theirs[2]]


@settings(max_examples=80, deadline=None)
@given(SIZES, RATIOS)
def test_ratios_cut_each_user_where_recbole_does(size: list[int], ratios: list[float]) -> None:
    dataset = recboles(size)
    parts = splitting.by_ratio(np.array(size), ratios, dataset._calcu_split_ids)
    assert placed(size, parts) == rows_of(dataset.split_by_ratio(ratios, "user"))


@settings(max_examples=80, deadline=None)
@given(SIZES, st.tuples(*[st.sampled_from([0.1, 0.2, 0.5, 0.8, 1.0])] * 3), st.integers(0, 2**32 - 1))
def test_times_cut_each_user_where_recbole_does(size: list[int], ratios: tuple[float, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    time = np.concatenate([np.sort(rng.integers(0, 20, n)) for n in size]).astype(np.float32)
    parts = splitting.by_time(np.array(size), time, ratios)
    assert placed(size, parts) == rows_of(recboles(size, time).time_based_split(list(ratios), "user"))


@pytest.mark.parametrize("ratios", [[0.8, 0.1, 0.1], [1.0]])
def test_nothing_is_split_into_nothing(ratios: list[float]) -> None:
    nobody = np.zeros(0, dtype=np.int64)
    assert placed(nobody, splitting.leave_one_out(nobody, 2)) == [[], [], []]
    assert placed(nobody, splitting.by_ratio(nobody, ratios, recboles([1])._calcu_split_ids)) == [[]] * len(ratios)
    assert placed(nobody, splitting.by_time(nobody, np.zeros(0), [0.8, 0.1, 0.1])) == [[], [], []]
