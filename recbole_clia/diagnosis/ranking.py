"""Where an item stands among all items, and what that is worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CUT = 10  # ranks that count in NDCG@10 and Hit@10

Floats = NDArray[np.float64]


class Gains(NamedTuple):
    """NDCG@10 and Hit@10 of each of N rows with one relevant item, ``[N]`` each."""

    ndcg: Floats
    hit: Floats


def place(scores: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    """How many items stand above the row's own one, and how many others have its very score.

    Args:
        scores: ``[B, I]``; column 0 is the padding and counts nowhere.
        item: ``[B]`` the row's own item, from 1.

    Returns:
        ``(above [B], equal [B])``.

    Raises:
        FloatingPointError: if a score is infinite or not a number; no place can be told then.
    """
    scores = scores[:, 1:]
    if not torch.isfinite(scores).all():
        raise FloatingPointError("a score is infinite or not a number")
    own = scores.gather(1, item.unsqueeze(1) - 1)  # [B, 1]
    return (scores > own).sum(1), (scores == own).sum(1) - 1


def gains(above: Tensor, equal: Tensor) -> Gains:
    """NDCG@10 and Hit@10 of each row, with ties broken at random: the mean over all orders of the items of one score.

    So a model that gives all items the same score gets what a random order gets.

    Args:
        above, equal: ``[B]`` each, of :func:`place`.
    """
    first = above.cpu().numpy()  # ranks above the tie
    last = first + equal.cpu().numpy() + 1  # ranks down to the end of the tie
    discount = 1 / np.log2(np.arange(2, CUT + 2))

    def mean_of_tie(gain: Floats) -> Floats:
        total = np.concatenate([[0.0], np.cumsum(gain)])
        mean: Floats = (total[np.minimum(last, CUT)] - total[np.minimum(first, CUT)]) / (last - first)
        return mean

    return Gains(mean_of_tie(discount), mean_of_tie(np.ones(CUT)))
