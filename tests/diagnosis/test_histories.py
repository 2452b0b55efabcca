"""Laws of histories that a user did not have."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from scipy.stats import chisquare

from recbole_clia.diagnosis.histories import last_items, random_orders, reordered, without_last_items

WIDTH = 6
LENGTHS = [1, 2, 4, 6, 3, 6]
LISTS = ["item_id_list", "time_list", "words_list"]


def rows(equal: bool = False) -> Interaction:
    """Right-padded histories whose items, times and word pairs all say where they were."""
    length = torch.tensor(LENGTHS)
    place = torch.arange(1, WIDTH + 1).repeat(len(LENGTHS), 1)
    place = place.where(place <= length.unsqueeze(1), torch.tensor(0))  # [B, L]
    items = (place > 0).long() * 7 if equal else place
    return Interaction(
        {
            "user_id": torch.arange(len(LENGTHS)),
            "item_id": torch.arange(len(LENGTHS)) + 50,
            "item_length": length,
            "item_id_list": items,
            "time_list": place.double() * 10,
            "words_list": torch.stack([place, place * 100], -1),
        }
    )


def same(one: Interaction, other: Interaction) -> bool:
    return set(one.interaction) == set(other.interaction) and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one.interaction
    )


def order(seed: int = 0, first_row: int = 0) -> torch.Tensor:
    return random_orders(np.array(LENGTHS), WIDTH, seed, np.arange(len(LENGTHS)) + first_row)


@pytest.mark.parametrize("number", range(1, WIDTH + 3))
def test_the_last_items_stand_first_and_the_rest_is_padding(number: int) -> None:
    got = last_items(rows(), LISTS, "item_length", number)
    for row, length in enumerate(LENGTHS):
        kept = list(range(1, length + 1))[-number:]
        padded = kept + [0] * (WIDTH - len(kept))
        assert got["item_id_list"][row].tolist() == padded
        assert got["time_list"][row].tolist() == [10.0 * place for place in padded]
        assert got["words_list"][row].tolist() == [[place, 100 * place] for place in padded]
        assert got["item_length"][row] == len(kept)
    assert torch.equal(got["item_id"], rows()["item_id"])


@pytest.mark.parametrize("number", [WIDTH, WIDTH + 1, 1000])
def test_to_keep_as_many_as_the_longest_changes_nothing(number: int) -> None:
    assert same(last_items(rows(), LISTS, "item_length", number), rows())


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_what_is_left_without_the_last_items(number: int) -> None:
    longer = [row for row, length in enumerate(LENGTHS) if length > number]
    got = without_last_items(rows()[longer], LISTS, "item_length", number)
    for place, row in enumerate(longer):
        kept = list(range(1, LENGTHS[row] + 1))[: LENGTHS[row] - number]
        assert got["item_id_list"][place].tolist() == kept + [0] * (WIDTH - len(kept))
        assert got["words_list"][place, :, 1].tolist() == [100 * item for item in kept] + [0] * (WIDTH - len(kept))
        assert got["item_length"][place] == len(kept)
    assert number or same(got, rows())


def test_a_shuffle_moves_items_and_nothing_else() -> None:
    got = reordered(rows(), "item_id_list", order())
    for row, length in enumerate(LENGTHS):
        items = got["item_id_list"][row].tolist()
        assert sorted(items[:length]) == list(range(1, length + 1))
        assert items[length:] == [0] * (WIDTH - length)
    assert not torch.equal(got["item_id_list"], rows()["item_id_list"])
    others = [name for name in rows().interaction if name != "item_id_list"]
    assert all(torch.equal(got[name], rows()[name]) for name in others)


def test_a_shuffle_of_equal_items_changes_nothing() -> None:
    assert same(reordered(rows(equal=True), "item_id_list", order()), rows(equal=True))


def test_a_shuffle_depends_on_the_seed_and_the_row_alone() -> None:
    assert torch.equal(order(), order())
    assert not torch.equal(order(seed=0), order(seed=1))
    assert not torch.equal(order(first_row=0), order(first_row=6))
    alone = random_orders(np.array(LENGTHS[3:4]), WIDTH, 0, np.array([3]))
    assert torch.equal(alone[0], order()[3])


def test_all_orders_are_alike_probable() -> None:
    many = 6_000
    drawn = random_orders(np.full(many, 3), 4, 5, np.arange(many))
    assert (drawn[:, 3] == 3).all()
    number = Counter(map(tuple, drawn[:, :3].tolist()))
    assert chisquare([number[each] for each in itertools.permutations(range(3))]).pvalue > 1e-3
