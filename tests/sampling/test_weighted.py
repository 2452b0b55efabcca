"""Laws of ``WeightedItems``: what it draws, and how often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from recbole_clia.sampling.weighted import WeightedItems

laws = settings(derandomize=True, deadline=None, max_examples=150)
POPULARITY = torch.tensor([0, 40, 7, 0, 90, 1, 13, 0, 22, 5])
DRAWS = 40_000


def popular(popularity: Any, exponent: float = 1.0) -> WeightedItems:
    return WeightedItems.popular(torch.as_tensor(popularity), exponent)


def check_frequencies(drawn: Tensor, weight: Any, without: int = 0) -> None:
    """A chi-square test of many draws against weights, those of padding and of one item left out."""
    expected = np.array(weight, dtype=np.float64)
    expected[[0, without]] = 0
    counts = np.bincount(drawn.flatten().numpy(), minlength=len(expected))
    assert len(counts) == len(expected)
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    expected = expected[possible] / expected.sum() * counts.sum()
    assert expected.min() > 5
    assert chisquare(counts[possible], expected).pvalue > 1e-3


@pytest.mark.parametrize("target", [1, 2, 5, 9])
@pytest.mark.parametrize("number", [1, 4])
def test_uniform_is_uniform_over_the_other_items(target: int, number: int) -> None:
    torch.manual_seed(target)
    drawn = WeightedItems.uniform(10)(torch.full((DRAWS // number,), target), number)
    check_frequencies(drawn, np.ones(10), target)


@pytest.mark.parametrize("target", range(10))
@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.75, 1.5])
def test_popularity_is_proportional_to_its_power_over_the_other_items(target: int, exponent: float) -> None:
    torch.manual_seed(target)
    drawn = popular(POPULARITY, exponent)(torch.full((DRAWS,), target), 1)
    check_frequencies(drawn, POPULARITY.numpy().astype(np.float64) ** exponent, target)


@pytest.mark.parametrize("exponent", [1.0, 0.5, 1.5])
def test_any_is_proportional_to_the_weights_of_all_items(exponent: float) -> None:
    torch.manual_seed(3)
    drawn = popular(POPULARITY, exponent).any(DRAWS)
    assert drawn.shape == (DRAWS,)
    assert drawn.dtype == torch.int64
    check_frequencies(drawn, POPULARITY.numpy().astype(np.float64) ** exponent)
    check_frequencies(WeightedItems.uniform(7).any(DRAWS), np.ones(7))


def test_weights_may_be_any_numbers() -> None:
    torch.manual_seed(0)
    weight = torch.tensor([9.0, 0.25, 0.0, 1.5, 0.75])
    items = WeightedItems(weight)
    assert items.weight.tolist() == [0.0, 0.25, 0.0, 1.5, 0.75]
    check_frequencies(items(torch.full((DRAWS,), 4), 1), weight.numpy(), 4)
    check_frequencies(items.any(DRAWS), weight.numpy())


def test_an_exponent_of_zero_is_uniform_over_what_somebody_chose() -> None:
    torch.manual_seed(0)
    drawn = popular([0, 9, 5, 0, 1, 70], 0.0)(torch.full((DRAWS,), 2), 1)
    check_frequencies(drawn, [0, 1, 1, 0, 1, 1], 2)


def test_several_negatives_of_a_target_are_independent() -> None:
    torch.manual_seed(0)
    drawn = WeightedItems.uniform(4)(torch.full((DRAWS,), 3), 2)
    counts = np.bincount((drawn[:, 0] * 2 + drawn[:, 1] - 3).numpy(), minlength=4)  # (1, 1) (1, 2) (2, 1) (2, 2)
    assert chisquare(counts).pvalue > 1e-3


def test_draws_of_any_are_independent() -> None:
    torch.manual_seed(0)
    drawn = WeightedItems.uniform(3).any(DRAWS).view(-1, 2)
    counts = np.bincount((drawn[:, 0] * 2 + drawn[:, 1] - 3).numpy(), minlength=4)
    assert chisquare(counts).pvalue > 1e-3


@st.composite
def cases(draw: Any) -> WeightedItems:
    item_num = draw(st.integers(3, 12))
    if draw(st.booleans()):
        return WeightedItems.uniform(item_num)
    counts = draw(st.lists(st.integers(0, 10**6), min_size=item_num, max_size=item_num))
    if sum(c > 0 for c in counts[1:]) < 2:
        counts[1] = counts[item_num - 1] = 3
    return popular(counts, draw(st.sampled_from([0.5, 0.75, 1.0, 1.7])))


@laws
@given(cases(), st.integers(0, 2**31))
def test_neither_the_target_nor_padding_nor_an_item_of_no_weight(items: WeightedItems, seed: int) -> None:
    torch.manual_seed(seed)
    item_num = len(items.weight)
    target = torch.arange(1, item_num)
    drawn = items(target, 20)
    assert (drawn != target.unsqueeze(-1)).all()
    for some in (drawn, items.any(50)):
        assert ((some >= 1) & (some < item_num)).all()
        assert (items.weight[some] > 0).all()


def test_items_nobody_chose_are_never_drawn() -> None:
    torch.manual_seed(0)
    chosen = set(POPULARITY.nonzero().flatten().tolist())
    items = popular(POPULARITY)
    assert set(items(torch.arange(10).repeat(50), 200).unique().tolist()) == chosen
    assert set(items.any(100_000).unique().tolist()) == chosen


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("number", [1, 3])
def test_shape(shape: tuple[int, ...], number: int) -> None:
    target = torch.randint(1, 10, shape)
    for items in (WeightedItems.uniform(10), popular(POPULARITY)):
        drawn = items(target, number)
        assert drawn.shape == (*shape, number)
        assert drawn.dtype == torch.int64


@pytest.mark.parametrize("place", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("side", [0.0, 0.5, 1 - 2**-53])
def test_the_ends_of_the_uniform_numbers_are_items_too(
    monkeypatch: pytest.MonkeyPatch, place: float, side: float
) -> None:
    def fixed(*size: Any, dtype: torch.dtype, device: Any) -> Tensor:
        shape = size[0] if isinstance(size[0], tuple) else size
        whole = torch.full(shape, place, dtype=dtype)
        if len(shape) > 1:
            whole[0] = side
        return whole

    monkeypatch.setattr(torch, "rand", fixed)
    target = torch.arange(10)
    for items in (WeightedItems.uniform(10), popular(POPULARITY), popular(POPULARITY, 3.0), popular(POPULARITY, 0.3)):
        drawn = items(target, 1).squeeze(1)
        assert (items.weight[drawn] > 0).all()
        assert (drawn != target).all()
        assert (items.weight[items.any(3)] > 0).all()


def test_a_padded_target_gets_an_item_as_well() -> None:
    torch.manual_seed(0)
    drawn = WeightedItems.uniform(5)(torch.zeros(20, dtype=torch.int64), 100)
    assert set(drawn.unique().tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize("counts", [[1, 1, 1], [0, 1, 1000], [7, 1000, 1]])
def test_of_two_items_the_other_one_is_drawn(counts: list[int]) -> None:
    drawn = popular(counts)(torch.tensor([1, 2] * 100), 8)
    assert torch.equal(drawn, torch.tensor([2, 1] * 100).unsqueeze(-1).expand(200, 8))


def test_the_draw_is_the_seeds_alone() -> None:
    target = torch.arange(1, 10).repeat(30)
    for items in (WeightedItems.uniform(10), popular(POPULARITY)):
        for draw in (lambda items=items: items(target, 5), lambda items=items: items.any(200)):
            torch.manual_seed(3)
            first, second = draw(), draw()
            assert not torch.equal(first, second)
            torch.manual_seed(3)
            assert torch.equal(draw(), first)
            torch.manual_seed(4)
            assert not torch.equal(draw(), first)


def test_the_counts_are_left_alone() -> None:
    counts = torch.tensor([5.0, 3.0, 2.0], dtype=torch.float64)
    WeightedItems(counts)(torch.tensor([1]), 1)
    WeightedItems.popular(counts)(torch.tensor([1]), 1)
    assert counts.tolist() == [5.0, 3.0, 2.0]


@pytest.mark.parametrize("item_num", [0, 1, 2])
def test_refuses_fewer_than_two_items(item_num: int) -> None:
    with pytest.raises(ValueError, match="two items"):
        WeightedItems.uniform(item_num)
    with pytest.raises(ValueError, match="two items"):
        popular(torch.ones(item_num, dtype=torch.int64))


@pytest.mark.parametrize("popularity", [[0, 0, 5], [0, 5, 0, 0], [9, 0, 0, 0, 2], [3, 0, 0]])
@pytest.mark.parametrize("exponent", [1.0, 0.0])
def test_refuses_fewer_than_two_items_that_can_be_drawn(popularity: list[int], exponent: float) -> None:
    with pytest.raises(ValueError, match="two items"):
        popular(popularity, exponent)


@pytest.mark.parametrize("popularity", [[0, 1, 1, 10**5], [0, 10**5, 1, 1], [0, 1, 10**5, 1]])
def test_a_steep_power_never_draws_the_target(popularity: list[int]) -> None:
    torch.manual_seed(0)
    target = torch.arange(1, 4).repeat(50)
    drawn = popular(popularity, 4.0)(target, 4)
    assert (drawn != target.unsqueeze(-1)).all()


def test_a_steep_power_keeps_the_chances_of_the_others() -> None:
    torch.manual_seed(1)
    drawn = popular([0, 10**5, 1, 1, 1], 4.0)(torch.full((DRAWS,), 1), 1)
    check_frequencies(drawn, [0.0, 1e20, 1.0, 1.0, 1.0], 1)


def test_it_is_no_part_of_a_models_weights() -> None:
    assert WeightedItems.uniform(5).state_dict() == {}
