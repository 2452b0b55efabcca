"""Laws of negatives that are targets of other rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recbole_clia.sampling.in_batch import others_of_batch

laws = settings(derandomize=True, deadline=None, max_examples=150)
BATCH = [3, 1, 3, 7, 7, 7, 2]


def check_uniform_over_other_rows(drawn: torch.Tensor, own: int) -> None:
    others = [item for item in BATCH if item != own]
    weight = np.array([others.count(item) for item in range(10)])
    counts = np.bincount(drawn.flatten().numpy(), minlength=10)
    assert counts[weight == 0].sum() == 0
    possible = weight > 0
    expected = weight[possible] / len(others) * counts.sum()
    assert chisquare(counts[possible], expected).pvalue > 1e-3


def test_they_are_drawn_uniformly_from_the_rows_with_another_item() -> None:
    torch.manual_seed(0)
    drawn = others_of_batch(torch.tensor(BATCH), 16_000, 10)
    assert drawn.shape == (len(BATCH), 16_000)
    for row, own in enumerate(BATCH):
        check_uniform_over_other_rows(drawn[row], own)


@pytest.mark.parametrize("rows", [[0], [6, 2, 3], [5, 5, 1]])
def test_some_rows_draw_from_the_whole_batch(rows: list[int]) -> None:
    torch.manual_seed(1)
    drawn = others_of_batch(torch.tensor(BATCH), 8_000, 10, torch.tensor(rows))
    assert drawn.shape == (len(rows), 8_000)
    for place, row in enumerate(rows):
        check_uniform_over_other_rows(drawn[place], BATCH[row])


def test_two_draws_of_a_row_are_independent() -> None:
    torch.manual_seed(2)
    drawn = others_of_batch(torch.tensor([1, 2, 3]), 40_000, 5, torch.tensor([2])).view(-1, 2)
    counts = np.bincount((drawn[:, 0] * 2 + drawn[:, 1] - 3).numpy(), minlength=4)
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("own", [1, 4, 7])
def test_a_batch_of_one_item_draws_any_other_item(own: int) -> None:
    torch.manual_seed(0)
    drawn = others_of_batch(torch.full((50,), own), 400, 8)
    counts = np.bincount(drawn.flatten().numpy(), minlength=8)
    assert counts[[0, own]].sum() == 0
    assert chisquare(np.delete(counts, [0, own])).pvalue > 1e-3
    one = others_of_batch(torch.full((50,), own), 6, 8, torch.tensor([3, 4]))
    assert one.shape == (2, 6)
    assert ((one != own) & (one >= 1) & (one < 8)).all()


def test_of_two_items_the_other_one_is_drawn() -> None:
    target = torch.tensor([1, 2, 2, 1])
    assert torch.equal(others_of_batch(target, 5, 3), (3 - target).unsqueeze(1).expand(4, 5))
    assert others_of_batch(torch.tensor([2, 2]), 3, 3).tolist() == [[1, 1, 1]] * 2


@laws
@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.data(), st.integers(0, 2**31))
def test_never_the_own_item_nor_padding_nor_one_that_no_row_has(
    batch: list[int], data: st.DataObject, seed: int
) -> None:
    torch.manual_seed(seed)
    target = torch.tensor(batch)
    rows = data.draw(st.lists(st.integers(0, len(batch) - 1), min_size=0, max_size=5))
    drawn = others_of_batch(target, 12, 7, torch.tensor(rows, dtype=torch.long))
    assert drawn.shape == (len(rows), 12)
    for row, items in zip(rows, drawn.tolist(), strict=True):
        others = set(batch) - {batch[row]} or set(range(1, 7)) - {batch[row]}
        assert set(items) <= others


def test_the_draw_is_the_seeds_alone() -> None:
    target = torch.arange(1, 40)
    torch.manual_seed(1)
    first, second = (others_of_batch(target, 6, 50) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(others_of_batch(target, 6, 50), first)
    assert not torch.equal(first, second)
