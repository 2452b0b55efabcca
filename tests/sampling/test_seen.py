"""Laws of ``SeenItems``, against sets of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_clia.sampling.seen import SeenItems

laws = settings(derandomize=True, deadline=None, max_examples=100)
USERS, ITEMS = 5, 8
pairs = st.lists(st.tuples(st.integers(1, USERS - 1), st.integers(1, ITEMS - 1)), max_size=25)


def seen_of(had: list[tuple[int, int]]) -> SeenItems:
    columns = np.array(had, dtype=np.int32).reshape(-1, 2)
    return SeenItems(torch.from_numpy(columns[:, 0].copy()), torch.from_numpy(columns[:, 1].copy()), ITEMS)


@laws
@given(pairs)
def test_it_contains_the_pairs_and_no_others(had: list[tuple[int, int]]) -> None:
    seen = seen_of(had)
    user = torch.arange(USERS)
    every = torch.arange(ITEMS)
    want = [[(u, i) in set(had) for i in range(ITEMS)] for u in range(USERS)]
    assert seen.contains(user, every.unsqueeze(0)).tolist() == want  # one row of items for all
    assert seen.contains(user, every.expand(USERS, -1)).tolist() == want  # a row for each
    backwards = seen.contains(user.flip(0), every.flip(0).unsqueeze(0)).tolist()
    assert backwards == [row[::-1] for row in want[::-1]]


@laws
@given(pairs, st.lists(st.integers(0, 50), min_size=ITEMS, max_size=ITEMS))
def test_the_mass_of_a_user_counts_each_item_once(had: list[tuple[int, int]], weight: list[int]) -> None:
    want = [float(sum(weight[i] for u, i in set(had) if u == user)) for user in range(USERS)]
    got = seen_of(had).mass(torch.arange(USERS), torch.tensor(weight, dtype=torch.float64))
    assert got.tolist() == want


def test_repeats_and_order_change_nothing() -> None:
    had: list[Any] = [(3, 2), (1, 7), (3, 2), (2, 1)]
    one, other = seen_of(had), seen_of(sorted(set(had)))
    assert torch.equal(one.pairs, other.pairs)


def test_it_is_no_part_of_a_models_weights() -> None:
    assert seen_of([(1, 2)]).state_dict() == {}
