"""Laws of places and of what they are worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_clia.diagnosis.ranking import CUT, gains, place


def slowly(scores: np.ndarray, item: int) -> tuple[float, float]:
    """NDCG@10 and Hit@10 of one row, as the mean over every place that the item can have among its equals."""
    own = scores[item]
    above = sum(scores[other] > own for other in range(1, len(scores)))
    tied = sum(scores[other] == own for other in range(1, len(scores)))
    ranks = [above + 1 + further for further in range(tied)]
    ndcg = [1 / np.log2(rank + 1) if rank <= CUT else 0.0 for rank in ranks]
    return float(np.mean(ndcg)), float(np.mean([rank <= CUT for rank in ranks]))


@pytest.mark.parametrize("values", [3, 8, 10_000])
def test_gains_equal_a_loop_with_ties_broken_at_random(values: int) -> None:
    """Scores of few values tie often, at the cut as well."""
    rng = np.random.default_rng(values)
    scores = rng.integers(values, size=(200, 31)).astype(np.float64)
    scores[:, 0] = 10**9  # padding is no item, whatever its score
    item = rng.integers(1, 31, size=200)
    got = gains(*place(torch.from_numpy(scores), torch.from_numpy(item)))
    want = np.array([slowly(row, own) for row, own in zip(scores, item, strict=True)])
    np.testing.assert_allclose(got.ndcg, want[:, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.hit, want[:, 1], rtol=0, atol=1e-12)
    assert len(set(got.hit.tolist()) - {0.0, 1.0}) > 0 or values > 100


def test_places_without_ties_have_the_gains_of_their_ranks() -> None:
    scores = torch.arange(41.0).repeat(40, 1)
    got = gains(*place(scores, torch.arange(40, 0, -1)))
    rank = np.arange(1, 41)
    np.testing.assert_allclose(got.ndcg, np.where(rank <= CUT, 1 / np.log2(rank + 1), 0), atol=1e-12)
    assert got.hit.tolist() == [1.0] * CUT + [0.0] * (40 - CUT)


def test_equal_scores_are_worth_a_random_order() -> None:
    items = 25
    got = gains(*place(torch.zeros(3, items + 1), torch.tensor([1, 7, items])))
    np.testing.assert_allclose(got.hit, CUT / items)
    np.testing.assert_allclose(got.ndcg, sum(1 / np.log2(rank + 1) for rank in range(1, CUT + 1)) / items)


def test_fewer_items_than_the_cut_all_hit() -> None:
    got = gains(*place(torch.zeros(1, 5), torch.tensor([2])))
    assert got.hit.tolist() == [1.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_have_no_place(bad: float) -> None:
    scores = torch.zeros(2, 4)
    scores[1, 3] = bad
    with pytest.raises(FloatingPointError, match="infinite or not a number"):
        place(scores, torch.tensor([1, 1]))
    scores[1, 3], scores[:, 0] = 0, bad  # the padding's score does not matter
    place(scores, torch.tensor([1, 1]))
