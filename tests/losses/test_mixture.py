"""Laws of the mixture of softmaxes, and of the mixture of pairwise rankings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.losses import BPRLoss, linear_cross_entropy, log_partition, mixture_cross_entropy

PARTS, ROWS, ITEMS, DIM = 3, 7, 11, 4


def made(parts: int = PARTS, rows: int = ROWS, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn((parts, rows, DIM), generator=generator, dtype=torch.float64)
    items = torch.randn((ITEMS, DIM), generator=generator, dtype=torch.float64)
    log_weight = torch.randn((rows, parts), generator=generator, dtype=torch.float64).log_softmax(1)
    target = torch.randint(1, ITEMS, (rows,), generator=generator)
    return queries, log_weight, items, target


def reference(queries: Tensor, log_weight: Tensor, items: Tensor, target: Tensor) -> float:
    """Plain loops: the padding has no probability."""
    losses = []
    for n in range(queries.shape[1]):
        probability = 0.0
        for k in range(len(queries)):
            scores = [float(np.dot(queries[k, n].numpy(), items[i].numpy())) for i in range(1, len(items))]
            share = np.exp(scores[int(target[n]) - 1]) / np.sum(np.exp(scores))
            probability += np.exp(float(log_weight[n, k])) * share
        losses.append(-np.log(probability))
    return float(np.mean(losses))


def autograd(queries: Tensor, log_weight: Tensor, items: Tensor, target: Tensor) -> Tensor:
    logits = queries @ items[1:].T  # [K, N, I - 1]
    of_target = logits.log_softmax(-1)[:, torch.arange(len(target)), target - 1]  # [K, N]
    return -(of_target.T + log_weight).logsumexp(1).mean()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_equals_plain_loops(parts: int) -> None:
    case = made(parts)
    assert mixture_cross_entropy(*case).item() == pytest.approx(reference(*case), abs=1e-12)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 100])
def test_gradients_are_those_of_autograd_in_slabs_of_any_size(parts: int, rows_at_once: int) -> None:
    gradients = []
    for loss in (autograd, mixture_cross_entropy):
        queries, log_weight, items, target = made(parts)
        leaves = [t.requires_grad_() for t in (queries, log_weight, items)]
        budget = (rows_at_once * parts * ITEMS * 8,) if loss is mixture_cross_entropy else ()
        value = loss(queries, log_weight, items, target, *budget)
        gradients.append([value.detach(), *torch.autograd.grad(3 * value, leaves)])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_equal_parts_are_one() -> None:
    queries, _, items, target = made(1)
    several = mixture_cross_entropy(queries.expand(3, -1, -1), made(3)[1], items, target)
    assert several.item() == pytest.approx(linear_cross_entropy(queries[0], items, target).item(), abs=1e-12)


def test_a_part_without_weight_counts_for_nothing_and_has_no_gradient() -> None:
    queries, _, items, target = made(2)
    queries.requires_grad_()
    log_weight = torch.tensor([[0.0, -torch.inf]], dtype=torch.float64).expand(ROWS, 2)
    loss = mixture_cross_entropy(queries, log_weight, items, target)
    assert loss.item() == pytest.approx(linear_cross_entropy(queries[0], items, target).item(), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, queries)
    assert (gradient[1] == 0).all()
    assert gradient[0].abs().max() > 0


def test_a_part_that_gives_the_target_no_probability_does_no_harm() -> None:
    queries, _, items, target = made(2)
    items[1:, 0], items[target, 0] = 1.0, 0.0
    queries[1] = torch.tensor([2000.0, 0, 0, 0], dtype=torch.float64)  # e^-2000 is 0
    log_weight = torch.full((ROWS, 2), np.log(0.5), dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (queries, log_weight, items)]
    loss = mixture_cross_entropy(queries, log_weight, items, target)
    assert loss.item() == pytest.approx(linear_cross_entropy(queries[0], items, target).item() + np.log(2), abs=1e-9)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, leaves))


def test_no_row_is_exactly_nothing_with_a_graph() -> None:
    queries, log_weight, items, target = made(2, rows=0)
    queries.requires_grad_()
    loss = mixture_cross_entropy(queries, log_weight, items, target)
    assert loss.item() == 0
    loss.backward()


@pytest.mark.parametrize("rows_at_once", [1, 2, 100])
def test_log_partition_is_that_of_all_items_but_the_padding(rows_at_once: int) -> None:
    queries, _, items, _ = made(1)
    found = log_partition(queries[0], items, rows_at_once * ITEMS * 8)
    want = [np.log(sum(np.exp(float(np.dot(q.numpy(), i.numpy()))) for i in items[1:])) for q in queries[0]]
    np.testing.assert_allclose(found.numpy(), want, rtol=0, atol=1e-12)


def test_mixed_pairwise_ranking_equals_plain_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    positive = torch.randn((2, 5, 1), generator=generator, dtype=torch.float64)
    negative = torch.randn((2, 5, 4), generator=generator, dtype=torch.float64)
    log_weight = torch.randn((5, 2), generator=generator, dtype=torch.float64).log_softmax(1)
    usable = torch.rand((5, 4), generator=generator) < 0.6
    losses = np.zeros((5, 4))
    for n in range(5):
        for j in range(4):
            chances = [
                np.exp(float(log_weight[n, k])) / (1 + np.exp(-float(positive[k, n, 0] - negative[k, n, j])))
                for k in range(2)
            ]
            losses[n, j] = -np.log(sum(chances))
    assert BPRLoss.of_mixture(positive, negative, log_weight).item() == pytest.approx(losses.mean(), abs=1e-12)
    want = losses[usable.numpy()].mean()
    assert BPRLoss.of_mixture(positive, negative, log_weight, usable).item() == pytest.approx(want, abs=1e-12)
    alone = BPRLoss.of_mixture(positive[:1], negative[:1], torch.zeros((5, 1), dtype=torch.float64))
    assert alone.item() == pytest.approx(BPRLoss.of_scores(positive[0], negative[0]).item(), abs=1e-12)
