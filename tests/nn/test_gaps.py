"""Spans of time as steps and as vectors."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_clia.nn import GapEmbedding
from recbole_clia.nn.gaps import GAP_STEPS, gap_step


def test_steps_are_powers_of_two() -> None:
    for k in range(GAP_STEPS):
        first, last = 2.0**k - 1, 2.0 ** (k + 1) - 1.001
        assert gap_step(torch.tensor([first, last], dtype=torch.float64)).tolist() == [k, k]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_steps_equal_a_loop(dtype: torch.dtype) -> None:
    seconds = [0, 1, 2, 3, 5, 59, 60, 3600, 86_400, 10**6, 31_536_000, 2**31]
    want = [min(math.floor(math.log2(1 + s)), GAP_STEPS - 1) for s in seconds]
    got = gap_step(torch.tensor(seconds, dtype=dtype))
    assert got.dtype == torch.int64
    assert got.tolist() == want


def test_extreme_spans_stay_within_the_steps() -> None:
    seconds = torch.tensor([-1e18, -1.0, -1e-9, 0.0, 1e-9, 0.99, 2.0**32, 1e18], dtype=torch.float64)
    assert gap_step(seconds).tolist() == [0, 0, 0, 0, 0, 0, GAP_STEPS - 1, GAP_STEPS - 1]


def test_a_step_has_its_vector() -> None:
    torch.manual_seed(0)
    gap = GapEmbedding(5, 0.1)
    assert gap.vector.weight.std().item() == pytest.approx(0.1, rel=0.3)
    seconds = torch.tensor([[0.0, 1.0, 2.0], [1e9, 3.0, -4.0]], dtype=torch.float64)
    got = gap(seconds)
    assert got.shape == (2, 3, 5)
    want = [[gap.vector.weight[math.floor(math.log2(1 + max(s, 0)))] for s in row] for row in seconds.tolist()]
    assert torch.equal(got, torch.stack([torch.stack(row) for row in want]))
    got.sum().backward()
    assert gap.vector.weight.grad is not None
    assert gap.vector.weight.grad[:, 0].nonzero().flatten().tolist() == [0, 1, 2, 29]
