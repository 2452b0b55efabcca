"""Items as directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_clia.nn import ItemDirection


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_equals_a_loop(embedding: torch.Tensor) -> None:
    direction = ItemDirection().double()
    with torch.no_grad():
        direction.scale.fill_(2.5)
    want = [[2.5 * x / np.sqrt(sum(y * y for y in row)) for x in row] for row in embedding.numpy()]
    np.testing.assert_allclose(direction(embedding).detach().numpy(), want, rtol=1e-14)
    assert torch.equal(direction(embedding.view(7, 1, 5)), direction(embedding).view(7, 1, 5))


def test_it_starts_with_unit_vectors_and_lengths_do_not_matter(embedding: torch.Tensor) -> None:
    direction = ItemDirection().double()
    torch.testing.assert_close(direction(embedding).norm(dim=1), torch.ones(7, dtype=torch.float64))
    longer = embedding * torch.logspace(-3, 3, 7, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(direction(longer), direction(embedding), rtol=1e-12, atol=0)


def test_the_gradient_turns_an_embedding_and_does_not_stretch_it(embedding: torch.Tensor) -> None:
    direction = ItemDirection().double()
    embedding.requires_grad_()
    (direction(embedding) * torch.randn(7, 5, dtype=torch.float64)).sum().backward()
    assert embedding.grad is not None
    assert direction.scale.grad is not None
    assert (embedding.grad != 0).all()
    assert (embedding.grad * embedding.detach()).sum(1).abs().max() < 1e-12
    assert torch.autograd.gradcheck(direction, (embedding,))


def test_the_padding_stays_zero(embedding: torch.Tensor) -> None:
    direction = ItemDirection().double()
    with torch.no_grad():
        embedding[0] = 0
    embedding.requires_grad_()
    found = direction(embedding)
    assert (found[0] == 0).all()
    found[1:].sum().backward()
    assert embedding.grad is not None
    assert (embedding.grad[0] == 0).all()
    assert embedding.grad.isfinite().all()
