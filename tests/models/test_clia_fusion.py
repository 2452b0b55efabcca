"""Laws of both ways to fuse the interests: what is a score, a loss, and each branch alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, exact, prepare
from recbole.data.interaction import Interaction
from torch import Tensor

FUSIONS = ["mixture", "vector"]


def all_rows(prepared: Prepared) -> Interaction:
    rows = prepared.train._dataset
    return rows[np.arange(len(rows))]


def beside(found: Any, item_num: int) -> Tensor:
    """What all items have beside the inner product, ``[N, I]``."""
    every = torch.arange(item_num).expand(len(found.user), -1)
    return found.offsets.of(every) + found.background.of(every)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_full_ranking_equals_predict_item_by_item(made: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**made, "fusion": fusion, "packed": False})
    model, rows = exact(prepared, 0.3), all_rows(prepared)
    full = model.full_sort_predict(rows)
    for item in range(prepared.dataset.item_num):
        one = Interaction({**rows.interaction, "item_id": torch.full((len(rows),), item)})
        torch.testing.assert_close(model.predict(one), full[:, item], rtol=0, atol=1e-11)


def test_scores_of_the_mixture_are_log_probabilities(made: dict[str, Any]) -> None:
    prepared = prepare({**made, "packed": False, "fusion": "mixture"})
    model, rows = exact(prepared), all_rows(prepared)
    probability = model.full_sort_predict(rows).exp().detach().numpy()
    assert (probability[:, 0] == 0).all()
    np.testing.assert_allclose(probability.sum(1), 1.0, rtol=0, atol=1e-12)
    found = model._at_the_rows(rows)
    items, extra = model.scored_items().detach().numpy()[1:], beside(found, prepared.dataset.item_num)
    for row in range(0, len(rows), 7):
        shares = []
        for interest in (found.long_interest, found.short_interest):
            scores = np.exp(items @ interest[row].detach().numpy() + extra[row, 1:].detach().numpy())
            shares.append(scores / scores.sum())
        alpha = found.alpha[row].item()
        np.testing.assert_allclose(probability[row, 1:], alpha * shares[0] + (1 - alpha) * shares[1], rtol=1e-10)


def test_the_loss_is_that_of_the_scores(made: dict[str, Any]) -> None:
    for fusion in FUSIONS:
        prepared = prepare({**made, "fusion": fusion, "packed": False})
        model, rows = exact(prepared, 0.3), all_rows(prepared)
        scores = model.full_sort_predict(rows)
        scores[:, 0] = -torch.inf
        want = -scores.log_softmax(1)[torch.arange(len(rows)), rows["item_id"]].mean()
        torch.testing.assert_close(model.calculate_loss(rows)[0], want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_branch_alone_ranks_by_its_interest(made: dict[str, Any], fusion: str, alpha: float) -> None:
    prepared = prepare({**made, "fusion": fusion, "packed": False})
    model, rows = exact(prepared, 0.3), all_rows(prepared)
    before = model.full_sort_predict(rows)
    found = model._at_the_rows(rows)
    own = (found.long_interest if alpha else found.short_interest) @ model.scored_items().T
    own = own + beside(found, prepared.dataset.item_num)
    with model.fixed_alpha(alpha):
        alone = model.full_sort_predict(rows)
    assert torch.equal(alone[:, 1:].argsort(dim=1, stable=True), own[:, 1:].argsort(dim=1, stable=True))
    torch.testing.assert_close(alone[:, 1:].softmax(1), own[:, 1:].softmax(1), rtol=0, atol=1e-12)
    assert torch.equal(model.full_sort_predict(rows), before)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_alpha_has_a_gradient(made: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**made, "fusion": fusion})
    model = exact(prepared, 0.3)
    model.calculate_loss(next(iter(prepared.train)))[0].backward()
    assert all(p.grad.abs().max() > 0 for p in model.fusion.parameters())
