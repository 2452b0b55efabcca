"""Laws of ``BPRLoss``: mean over rows of softplus(<anchor, neg> - <anchor, pos>)."""

import itertools
import math

import numpy as np
import pytest
import torch

from recbole_clia.losses.bpr import BPRLoss

SHAPES = [(1, 1), (7, 4), (3, 5, 8), (2, 3, 4, 5), (6,)]


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def by_loops(anchor, pos, neg):
    """The equation, one scalar at a time, in float64."""
    anchor, pos, neg = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (anchor, pos, neg)))
    losses = []
    for row in itertools.product(*(range(n) for n in anchor.shape[:-1])):
        pos_score = sum(anchor[row][d] * pos[row][d] for d in range(anchor.shape[-1]))
        neg_score = sum(anchor[row][d] * neg[row][d] for d in range(anchor.shape[-1]))
        losses.append(softplus(neg_score - pos_score))
    return sum(losses) / len(losses)


def vectors(*shapes, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_equation_and_keeps_the_dtype(shape, dtype, rtol):
    views = vectors(shape, shape, shape, dtype=dtype)
    loss = BPRLoss()(*views)
    assert loss.shape == ()
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(by_loops(*(v.detach().numpy() for v in views)), rel=rtol)
    loss.backward()
    assert all(v.grad.dtype == dtype for v in views)


def test_several_negatives_of_a_row_broadcast():
    views = vectors((4, 1, 3), (4, 1, 3), (4, 5, 3))
    assert BPRLoss()(*views).item() == pytest.approx(by_loops(*(v.detach().numpy() for v in views)), rel=1e-12)


@pytest.mark.parametrize("shapes", [[(3, 4)] * 3, [(2, 1, 3), (2, 1, 3), (2, 2, 3)]])
def test_gradcheck(shapes):
    assert torch.autograd.gradcheck(BPRLoss(), vectors(*shapes))


@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_row_is_exactly_zero_with_a_live_graph(shape, dtype):
    source = torch.ones(4, dtype=dtype, requires_grad=True)
    empty = source.expand(*shape)
    loss = BPRLoss()(empty, empty, empty)
    assert loss.item() == 0
    assert loss.dtype == dtype
    loss.backward()
    assert torch.equal(source.grad, torch.zeros_like(source))


def test_row_permutation_changes_nothing():
    views = vectors((9, 4), (9, 4), (9, 4))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    loss, permuted = BPRLoss()(*views), BPRLoss()(*(v[order] for v in views))
    assert permuted.item() == pytest.approx(loss.item(), rel=1e-14)


def test_equal_items_cost_log_two():
    anchor, pos = vectors((5, 3), (5, 3))
    assert BPRLoss()(anchor, pos, pos).item() == pytest.approx(math.log(2), rel=1e-14)


def test_both_orders_of_a_pair_differ_by_the_score_gap():
    anchor, pos, neg = vectors((1, 6), (1, 6), (1, 6))
    gap = ((anchor * neg) - (anchor * pos)).sum().item()
    loss = BPRLoss()
    assert loss(anchor, pos, neg).item() - loss(anchor, neg, pos).item() == pytest.approx(gap, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_scores_neither_overflow_nor_lose_the_gradient(dtype, sign):
    anchor = torch.tensor([[1e4]], dtype=dtype, requires_grad=True)
    pos, neg = torch.tensor([[-sign]], dtype=dtype), torch.tensor([[sign]], dtype=dtype)
    loss = BPRLoss()(anchor, pos, neg)
    assert loss.item() == (2e4 if sign > 0 else 0.0)
    loss.backward()
    assert anchor.grad.item() == (2.0 if sign > 0 else 0.0)


# ----- of scores


def scores(*shapes, seed=0):
    return [3 * v.detach() for v in vectors(*shapes, seed=seed)]


def of_scores_by_loops(positive, negative, usable=None):
    pairs = [
        (p, n, usable is None or usable[row][j])
        for row, (p, row_of_negatives) in enumerate(zip(positive, negative, strict=True))
        for j, n in enumerate(row_of_negatives)
    ]
    losses = [softplus(n - p) for p, n, counts in pairs if counts]
    return sum(losses) / max(1, len(losses))


def test_of_scores_equals_the_loss_of_vectors():
    anchor, pos, neg = vectors((4, 1, 3), (4, 1, 3), (4, 5, 3))
    got = BPRLoss.of_scores((anchor * pos).sum(-1), (anchor * neg).sum(-1))
    assert got.item() == BPRLoss()(anchor, pos, neg).item()


@pytest.mark.parametrize("seed", range(3))
def test_of_scores_is_the_mean_over_the_usable_pairs(seed):
    positive, negative = scores((5,), (5, 7), seed=seed)
    usable = torch.rand(5, 7, generator=torch.Generator().manual_seed(seed)) < 0.4
    usable[2] = False  # a row without any
    for mask in (None, usable, torch.ones_like(usable)):
        got = BPRLoss.of_scores(positive.unsqueeze(1), negative, mask).item()
        want = of_scores_by_loops(positive.tolist(), negative.tolist(), None if mask is None else mask.tolist())
        assert got == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("junk", [0.0, -1e4, 1e4, 1e30, math.inf])
def test_pairs_that_are_not_usable_do_not_matter(junk):
    positive, negative = scores((4, 1), (4, 6))
    usable = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    positive.requires_grad_()
    spoilt = negative.masked_fill(~usable, junk).requires_grad_()
    negative.requires_grad_()
    value, other = (BPRLoss.of_scores(positive, n, usable) for n in (negative, spoilt))
    assert other.item() == value.item()
    want = torch.autograd.grad(value, (positive, negative))
    got = torch.autograd.grad(other, (positive, spoilt))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    assert (got[1][~usable] == 0).all()


@pytest.mark.parametrize("shape", [(0, 3), (4, 3)])
def test_no_usable_pair_is_exactly_zero_with_a_live_graph(shape):
    source = torch.ones(3, requires_grad=True)
    scores_of_all = source.expand(*shape)
    loss = BPRLoss.of_scores(scores_of_all[:, :1], scores_of_all, torch.zeros(shape, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(source.grad, torch.zeros(3))


def test_gradcheck_of_scores():
    usable = torch.tensor([[True, False, True], [False, False, False]])
    views = [v.requires_grad_() for v in scores((2, 1), (2, 3))]
    assert torch.autograd.gradcheck(lambda p, n: BPRLoss.of_scores(p, n, usable), views)
