"""Additive attention to what is before a position, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.nn import additive_prefix_sum

B, L, H, V = 3, 5, 4, 2
POSITION = torch.tensor([0, 2, 4, 6, 7, 14])  # of all three rows, first and last places among them


def parts(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((B, L, H), (len(POSITION), H), (H,), (B, L, V))
    keys, query, score, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return keys, query, score, values


def by_loops(keys: Tensor, query: Tensor, score: Tensor, values: Tensor) -> np.ndarray:
    k, q, s, v = (tensor.detach().numpy() for tensor in (keys, query, score, values))
    found = np.zeros((len(POSITION), V))
    for n, position in enumerate(POSITION.tolist()):
        b, t = divmod(position, L)
        for j in range(t + 1):
            weight = sum(s[h] / (1 + np.exp(-(k[b, j, h] + q[n, h]))) for h in range(H))
            found[n] += weight * v[b, j]
    return found


@pytest.mark.parametrize("budget", [None, 1, 2 * L * H * 8, 4 * L * H * 8])
def test_it_is_the_loop_for_any_slab(budget: int | None) -> None:
    given = parts()
    found = additive_prefix_sum(*given, POSITION, budget)
    np.testing.assert_allclose(found.numpy(), by_loops(*given), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("budget", [None, 1, 2 * L * H * 8])
def test_its_gradient_is_that_of_finite_differences(budget: int | None) -> None:
    given = [tensor.requires_grad_() for tensor in parts(1)]
    assert torch.autograd.gradcheck(lambda *tensors: additive_prefix_sum(*tensors, POSITION, budget), given)


def test_what_is_later_has_no_part() -> None:
    keys, query, score, values = parts()
    before = additive_prefix_sum(keys, query, score, values, POSITION)
    later = torch.ones(B * L, dtype=torch.bool)
    for position in POSITION.tolist():
        later[position - position % L : position + 1] = False
    keys.view(-1, H)[later], values.view(-1, V)[later] = 100, -100
    assert torch.equal(additive_prefix_sum(keys, query, score, values, POSITION), before)


def test_no_position_has_nothing() -> None:
    keys, query, score, values = (tensor.requires_grad_() for tensor in parts())
    found = additive_prefix_sum(keys, query[:0], score, values, POSITION[:0])
    assert found.shape == (0, V)
    found.sum().backward()
    assert keys.grad is not None
    assert not keys.grad.any()


def test_reduced_precision_around_it_reaches_its_inputs_only() -> None:
    keys, query, score, values = (tensor.float() for tensor in parts())
    coarse = keys.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = additive_prefix_sum(coarse, query, score, values, POSITION)
    assert torch.equal(found, additive_prefix_sum(coarse.float(), query, score, values, POSITION))
