"""Laws of the views of a history, and of its halves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from recbole_clia.sampling.positives import OPERATIONS, augmented, crop, halves, mask, reorder

laws = settings(derandomize=True, deadline=None, max_examples=150)
RATIOS = [0.0, 0.1, 0.29, 0.3, 0.5, 0.57, 0.6, 0.7, 1.0]
Operation = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def padded(rows: list[list[int]], width: int) -> tuple[Tensor, Tensor]:
    items = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return items, torch.tensor([len(row) for row in rows])


def part(ratio: float, length: int) -> int:
    """The whole number of items in a part, of the ratio as it is written."""
    return math.floor(Fraction(str(ratio)) * length)


@st.composite
def histories(draw: Any, shortest: int = 1) -> tuple[list[list[int]], int]:
    rows = draw(st.lists(st.lists(st.integers(1, 30), min_size=shortest, max_size=12), min_size=1, max_size=6))
    return rows, max(map(len, rows)) + draw(st.integers(0, 3))


@laws
@given(histories(), st.sampled_from(RATIOS[1:]), st.integers(0, 2**31))
def test_crop_keeps_a_run(case: tuple[list[list[int]], int], ratio: float, seed: int) -> None:
    rows, width = case
    torch.manual_seed(seed)
    view, length = crop(*padded(rows, width), ratio)
    assert view.shape == (len(rows), width)
    for row, got, size in zip(rows, view.tolist(), length.tolist(), strict=True):
        assert size == max(1, part(ratio, len(row)))
        assert got[size:] == [0] * (width - size)
        assert got[:size] in [row[begin : begin + size] for begin in range(len(row) - size + 1)]


@laws
@given(histories(), st.sampled_from(RATIOS), st.integers(0, 2**31))
def test_mask_hides_a_part(case: tuple[list[list[int]], int], ratio: float, seed: int) -> None:
    rows, width = case
    torch.manual_seed(seed)
    items, lengths = padded(rows, width)
    view, length = mask(items, lengths, ratio)
    assert torch.equal(length, lengths)
    for row, got in zip(rows, view.tolist(), strict=True):
        assert got[len(row) :] == [0] * (width - len(row))
        hidden = [place for place in range(len(row)) if got[place] == 0]
        assert len(hidden) == part(ratio, len(row))
        assert all(got[place] == row[place] for place in range(len(row)) if place not in hidden)


@laws
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.sampled_from(RATIOS), st.integers(0, 2**31))
def test_reorder_moves_the_items_of_a_run_only(lengths: list[int], ratio: float, seed: int) -> None:
    rows = [list(range(1, length + 1)) for length in lengths]
    width = max(lengths) + 1
    torch.manual_seed(seed)
    view, length = reorder(*padded(rows, width), ratio)
    assert length.tolist() == lengths
    for row, got in zip(rows, view.tolist(), strict=True):
        assert got[len(row) :] == [0] * (width - len(row))
        assert sorted(got[: len(row)]) == row
        moved = [place for place in range(len(row)) if got[place] != row[place]]
        if moved:
            assert moved[-1] - moved[0] + 1 <= part(ratio, len(row))


@laws
@given(histories(), st.integers(0, 2**31))
def test_reorder_keeps_repeated_items(case: tuple[list[list[int]], int], seed: int) -> None:
    rows, width = case
    torch.manual_seed(seed)
    view, _ = reorder(*padded(rows, width), 1.0)
    assert [Counter(got[: len(row)]) for row, got in zip(rows, view.tolist(), strict=True)] == [*map(Counter, rows)]


def test_every_begin_of_a_crop_is_as_likely() -> None:
    torch.manual_seed(0)
    items, length = padded([list(range(1, 9))] * 20_000, 10)
    view, _ = crop(items, length, 0.5)
    counts = np.bincount(view[:, 0].numpy(), minlength=6)
    assert counts[1:6].sum() == 20_000  # runs of 4 of 8 begin at one of 5 items
    assert chisquare(counts[1:6]).pvalue > 1e-3


def test_every_choice_of_hidden_items_is_as_likely() -> None:
    torch.manual_seed(0)
    items, length = padded([[1, 2, 3, 4, 5]] * 20_000, 7)
    view, _ = mask(items, length, 0.4)
    counts = Counter(tuple(row) for row in (view[:, :5] == 0).int().tolist())
    assert len(counts) == math.comb(5, 2)
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_every_order_of_a_run_and_every_begin_is_as_likely() -> None:
    torch.manual_seed(0)
    items, length = padded([[1, 2, 3, 4]] * 30_000, 5)
    view, _ = reorder(items, length, 0.75)  # 3 of 4, at one of 2 begins
    counts = Counter(tuple(row[:4]) for row in view.tolist())
    want: Counter[tuple[int, ...]] = Counter()
    for a, b, c in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]:
        want[(1 + a, 1 + b, 1 + c, 4)] += 30_000 / 12  # type: ignore[assignment]
        want[(1, 2 + a, 2 + b, 2 + c)] += 30_000 / 12  # type: ignore[assignment]
    assert set(counts) == set(want)
    assert chisquare([counts[key] for key in want], list(want.values())).pvalue > 1e-3


@pytest.mark.parametrize("operation", [crop, mask, reorder])
def test_rows_are_changed_independently(operation: Operation) -> None:
    torch.manual_seed(0)
    view, _ = operation(*padded([list(range(1, 11))] * 50, 10), 0.5)
    assert len({tuple(row) for row in view.tolist()}) > 5


@pytest.mark.parametrize("ratio", [0.1, 0.6, 1.0])
def test_a_single_item_stays_for_crop_and_reorder(ratio: float) -> None:
    items, length = padded([[7], [3]], 4)
    for operation in (crop, reorder):
        view, size = operation(items, length, ratio)
        assert view.tolist() == items.tolist()
        assert size.tolist() == [1, 1]
    assert mask(items, length, ratio)[0][:, 0].tolist() == ([0, 0] if ratio == 1.0 else [7, 3])


@pytest.mark.parametrize("ratio", [i / 100 for i in range(101)])
def test_a_part_is_counted_as_the_ratio_is_written(ratio: float) -> None:
    lengths = torch.arange(1, 201)
    items = (torch.arange(200) < lengths.unsqueeze(1)).long()
    want = [part(ratio, length) for length in lengths.tolist()]
    assert crop(items, lengths, ratio)[1].tolist() == [max(1, size) for size in want]
    assert (mask(items, lengths, ratio)[0] == 0).sum(1).tolist() == [
        200 - length + size for length, size in zip(lengths.tolist(), want, strict=True)
    ]


@pytest.mark.parametrize("operation", [crop, mask, reorder])
def test_the_history_itself_is_left_alone(operation: Operation) -> None:
    items, length = padded([[1, 2, 3, 4], [5, 6]], 5)
    before = items.clone()
    operation(items, length, 0.5)
    assert torch.equal(items, before)


def classify(view: list[int], size: int) -> str:
    """Which operation made this view of 1, 2 ... 10 with a ratio of 0.4."""
    if size == 4:
        return "crop"
    return "mask" if 0 in view else "reorder"


@pytest.mark.parametrize("operations", [["crop", "mask", "reorder"], ["reorder", "crop"], ["mask"]])
def test_each_operation_is_taken_as_often(operations: list[str]) -> None:
    torch.manual_seed(0)
    items, length = padded([list(range(1, 11))] * 9_000, 10)
    view, size = augmented(items, length, operations, dict.fromkeys(OPERATIONS, 0.4))
    counts = Counter(map(classify, view.tolist(), size.tolist()))
    assert set(counts) == set(operations)
    if len(operations) > 1:
        assert chisquare(list(counts.values())).pvalue > 1e-3


def test_each_operation_has_its_own_ratio() -> None:
    torch.manual_seed(0)
    items, length = padded([list(range(1, 11))] * 300, 12)
    view, size = augmented(items, length, ["crop", "mask", "reorder"], {"crop": 0.5, "mask": 0.2, "reorder": 0.3})
    kinds = set()
    for row, n in zip(view.tolist(), size.tolist(), strict=True):
        if n == 5:
            kinds.add("crop")
            assert row[:5] == list(range(row[0], row[0] + 5))
        elif 0 in row[:10]:
            kinds.add("mask")
            assert row[:10].count(0) == 2
        else:
            kinds.add("reorder")
            moved = [place for place in range(10) if row[place] != place + 1]
            assert not moved or moved[-1] - moved[0] < 3
        assert row[n:] == [0] * (12 - n)
    assert kinds == {"crop", "mask", "reorder"}


def test_two_views_differ_and_are_the_seeds_alone() -> None:
    items, length = padded([list(range(1, 11))] * 40, 10)
    ratios = dict.fromkeys(OPERATIONS, 0.5)
    torch.manual_seed(0)
    first, second = (augmented(items, length, OPERATIONS, ratios)[0] for _ in range(2))
    torch.manual_seed(0)
    assert torch.equal(augmented(items, length, OPERATIONS, ratios)[0], first)
    assert not torch.equal(first, second)


def test_no_history_has_no_view() -> None:
    nothing, length = torch.zeros((0, 6), dtype=torch.long), torch.zeros(0, dtype=torch.long)
    view, size = augmented(nothing, length, OPERATIONS, dict.fromkeys(OPERATIONS, 0.5))
    assert view.shape == (0, 6)
    assert size.shape == (0,)


@laws
@given(histories(shortest=2))
def test_halves_are_the_history_in_two(case: tuple[list[list[int]], int]) -> None:
    rows, width = case
    older, older_length, newer, newer_length = (t.tolist() for t in halves(*padded(rows, width)))
    for i, row in enumerate(rows):
        half = len(row) // 2
        assert older_length[i] == half
        assert newer_length[i] == len(row) - half
        assert older[i] == row[:half] + [0] * (width - half)
        assert newer[i] == row[half:] + [0] * (width - len(row) + half)
