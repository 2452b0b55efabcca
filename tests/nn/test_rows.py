"""Taking rows is indexing by a mask, in value and in gradient."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from recbole_clia.nn.rows import chosen, similar_lengths, take_rows


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4), (0,), (3, 0)])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_equals_indexing_by_the_mask(shape: tuple[int, ...], rate: float) -> None:
    torch.manual_seed(0)
    mask = torch.rand(shape) < rate
    one, other = (torch.zeros(*shape, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        one.copy_(torch.randn_like(one))
        other.copy_(one)
    taken, indexed = take_rows(one, chosen(mask)), other[mask]
    assert torch.equal(taken, indexed)
    weight = torch.randn_like(taken)
    (taken * weight).sum().backward()
    (indexed * weight).sum().backward()
    assert torch.equal(one.grad, other.grad)


def test_rows_of_similar_length_are_together_and_are_put_back() -> None:
    length = torch.randint(1, 50, (700,), generator=torch.Generator().manual_seed(0))
    groups, back = similar_lengths(length)
    assert [len(rows) for rows in groups] == [256, 256, 188]
    assert torch.cat(groups).sort().values.tolist() == list(range(700))
    assert torch.equal(torch.cat([length[rows] for rows in groups])[back], length)
    for short, long in pairwise(groups):
        assert length[short].max() <= length[long].min()
    assert [len(rows) for rows in similar_lengths(length[:0])[0]] == [0]


def test_gradient() -> None:
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([11, 0, 5])
    assert torch.autograd.gradcheck(lambda v: take_rows(v, index), (x,))


def test_a_transposed_tensor() -> None:
    x = torch.randn(3, 4, 2).transpose(0, 1).requires_grad_()
    taken = take_rows(x, torch.tensor([2, 7]))
    assert torch.equal(taken, x.reshape(-1, 2)[[2, 7]])
    taken.sum().backward()
