"""Laws of ``sampled_softmax``, against its equation written as loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.losses.sampled import sampled_softmax

DOUBLE = torch.float64


def by_loops(positive: Any, negative: Any, log_count: Any = None, usable: Any = None) -> float:
    """The equation, one scalar at a time, in float64."""
    losses = []
    for row in range(len(positive)):
        mass = math.exp(positive[row])
        for j in range(len(negative[row])):
            if usable is not None and not usable[row][j]:
                continue
            count = 0.0 if log_count is None else log_count[row if len(log_count) > 1 else 0][j]
            mass += math.exp(negative[row][j] - count)
        losses.append(math.log(mass) - positive[row])
    return sum(losses) / len(losses)


def scores(rows: int, number: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    positive, negative = (torch.randn(s, generator=generator, dtype=DOUBLE) for s in ((rows,), (rows, number)))
    return (2 * positive).to(dtype).requires_grad_(), (2 * negative).to(dtype).requires_grad_()


def random_like(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (5, 9)])
@pytest.mark.parametrize("counts", [None, "each", "shared"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(DOUBLE, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_equation_and_keeps_the_dtype(
    shape: tuple[int, int], counts: str | None, masked: bool, dtype: torch.dtype, rtol: float
) -> None:
    positive, negative = scores(*shape, dtype=dtype)
    log_count = None if counts is None else random_like(shape if counts == "each" else (1, shape[1]))
    usable = random_like(shape, 2) > -0.5 if masked else None
    loss = sampled_softmax(positive, negative, log_count, usable)
    assert loss.shape == ()
    assert loss.dtype == dtype
    want = by_loops(*(None if v is None else v.tolist() for v in (positive, negative, log_count, usable)))
    assert loss.item() == pytest.approx(want, rel=rtol)
    loss.backward()
    assert positive.grad is not None
    assert negative.grad is not None
    assert positive.grad.dtype == negative.grad.dtype == dtype


def full_cross_entropy(logits: np.ndarray, target: list[int]) -> float:
    losses = [math.log(sum(map(math.exp, row))) - row[t] for row, t in zip(logits.tolist(), target, strict=True)]
    return sum(losses) / len(losses)


def test_with_every_other_item_once_it_is_the_full_cross_entropy() -> None:
    logits, target = 3 * random_like((7, 12)), [0, 3, 11, 5, 5, 1, 8]
    others = torch.tensor([[i for i in range(12) if i != t] for t in target])
    positive = logits[range(7), target]
    loss = sampled_softmax(positive, logits.gather(1, others))
    assert loss.item() == pytest.approx(full_cross_entropy(logits.numpy(), target), rel=1e-12)
    everything = torch.arange(12).expand(7, -1)
    usable = everything != torch.tensor(target).unsqueeze(1)
    again = sampled_softmax(positive, logits, usable=usable)
    assert again.item() == pytest.approx(loss.item(), rel=1e-12)


def test_corrected_it_tends_to_the_full_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    logits, target = random_like((4, 15)), [2, 9, 0, 14]
    chance = np.arange(1.0, 16.0)
    want = full_cross_entropy(logits.numpy(), target)
    errors = {}
    for number in (5, 500, 50_000):
        each = []
        for _ in range(20 if number < 50_000 else 4):
            drawn = np.stack([rng.choice(15, size=number, p=_without(chance, t)) for t in target])
            counts = np.log(np.stack([number * _without(chance, t)[row] for t, row in zip(target, drawn, strict=True)]))
            items = torch.from_numpy(drawn)
            loss = sampled_softmax(logits[range(4), target], logits.gather(1, items), torch.from_numpy(counts))
            each.append(abs(loss.item() - want))
        errors[number] = np.mean(each)
    assert errors[50_000] < 0.02
    assert errors[50_000] < errors[500] < errors[5]


def _without(chance: np.ndarray, target: int) -> np.ndarray:
    left = chance.copy()
    left[target] = 0
    return left / left.sum()


@pytest.mark.parametrize("junk", [0.0, -1e4, 1e4, 1e30, math.inf])
def test_what_is_not_usable_changes_nothing(junk: float) -> None:
    positive, negative = scores(5, 6)
    usable = random_like((5, 6), 2) > 0
    loss = sampled_softmax(positive, negative, usable=usable)
    want = torch.autograd.grad(loss, (positive, negative))
    spoilt = negative.detach().masked_fill(~usable, junk).requires_grad_()
    other = sampled_softmax(positive, spoilt, usable=usable)
    assert other.item() == loss.item()
    got = torch.autograd.grad(other, (positive, spoilt))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    assert (got[1][~usable] == 0).all()


@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32])
@pytest.mark.parametrize("score", [0.0, 1e4, -1e4])
def test_a_row_without_a_usable_negative_costs_nothing(dtype: torch.dtype, score: float) -> None:
    positive, negative = scores(3, 4, dtype=dtype)
    with torch.no_grad():
        positive[1] = score
    usable = torch.ones(3, 4, dtype=torch.bool)
    usable[1] = False
    loss = sampled_softmax(positive, negative, usable=usable)
    two = by_loops(positive[[0, 2]].tolist(), negative[[0, 2]].tolist())
    assert loss.item() == pytest.approx(two * 2 / 3, rel=1e-5)
    loss.backward()
    assert positive.grad is not None
    assert negative.grad is not None
    assert positive.grad[1] == 0
    assert (negative.grad[1] == 0).all()
    assert (positive.grad[[0, 2]] < 0).all()
    none = sampled_softmax(positive, negative, usable=torch.zeros(3, 4, dtype=torch.bool))
    assert none.item() == 0
    assert all((g == 0).all() for g in torch.autograd.grad(none, (positive, negative)))


def test_an_empty_batch_is_exactly_zero_with_a_live_graph() -> None:
    source = torch.ones(3, requires_grad=True)
    for log_count, usable in [(None, None), (torch.zeros(1, 3), torch.ones(0, 3, dtype=torch.bool))]:
        loss = sampled_softmax(source[:0], source.expand(0, 3), log_count, usable)
        assert loss.item() == 0
        loss.backward()
    assert source.grad is not None
    assert torch.equal(source.grad, torch.zeros(3))


@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32])
@pytest.mark.parametrize(("own", "other", "want"), [(-1e4, 1e4, 2e4), (1e4, -1e4, 0.0), (1e4, 1e4, math.log(3))])
def test_extreme_scores_neither_overflow_nor_lose_the_gradient(
    dtype: torch.dtype, own: float, other: float, want: float
) -> None:
    positive = torch.full((2,), own, dtype=dtype, requires_grad=True)
    negative = torch.full((2, 2), other, dtype=dtype, requires_grad=True)
    loss = sampled_softmax(positive, negative)
    assert loss.item() == pytest.approx(want, rel=1e-3)
    slopes = torch.autograd.grad(loss, (positive, negative))
    share = math.exp(-want)  # of the positive in the softmax
    assert slopes[0].tolist() == pytest.approx([(share - 1) / 2] * 2, abs=1e-3)
    assert slopes[1].flatten().tolist() == pytest.approx([(1 - share) / 4] * 4, abs=1e-3)


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked: bool) -> None:
    usable = random_like((3, 4), 2) > 0 if masked else None
    counts = random_like((1, 4))
    assert torch.autograd.gradcheck(lambda p, n: sampled_softmax(p, n, counts, usable), scores(3, 4))


def test_order_of_rows_and_of_negatives_changes_nothing() -> None:
    positive, negative = scores(6, 5)
    log_count, usable = random_like((6, 5)), random_like((6, 5), 2) > 0
    loss = sampled_softmax(positive, negative, log_count, usable)
    rows, columns = torch.randperm(6), torch.randperm(5)
    other = sampled_softmax(
        positive[rows],
        *(v[rows][:, columns] for v in (negative, log_count, usable)),
    )
    assert other.item() == pytest.approx(loss.item(), rel=1e-13)


def test_more_negatives_cost_more() -> None:
    positive, negative = scores(4, 6)
    values = [sampled_softmax(positive, negative[:, :n]).item() for n in range(1, 7)]
    assert values == sorted(values)
    assert values[0] < values[-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_masks_too(dtype: torch.dtype) -> None:
    positive, negative = scores(4, 6, dtype=dtype)
    usable = torch.ones(4, 6, dtype=torch.bool)
    usable[:, 3:] = False
    usable[0] = False
    found = sampled_softmax(positive, negative, None, usable)
    found.backward()
    assert found.item() == pytest.approx(by_loops(positive.tolist(), negative.tolist(), None, usable), rel=0.02)
    assert negative.grad is not None
    assert (negative.grad[~usable] == 0).all()
    assert torch.isfinite(negative.grad).all()
