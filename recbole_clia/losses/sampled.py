"""Softmax cross-entropy against sampled negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Far below any score, and finite, so that a row without a single usable negative has a gradient of 0.
NEVER = -1e30


def sampled_log_probability(
    positive: Tensor, negative: Tensor, log_count: Tensor | None = None, usable: Tensor | None = None
) -> Tensor:
    """``log(exp(p) / (exp(p) + sum_j exp(n_j - log_count_j)))`` of each row, ``[N]``.

    With ``log_count``, the log of the expected number of times that item ``j`` is among the negatives, the sum is an
    unbiased estimate of that over all other items, and the result tends to the log-probability of the full softmax
    (Bengio and Senécal, IEEE Transactions on Neural Networks 2008; Yi et al., RecSys 2019, for negatives of the batch).

    Args:
        positive: ``[N]`` scores of the targets.
        negative: ``[N, n]`` scores of their negatives.
        log_count: ``[N or 1, n]``; without it negatives count as they are.
        usable: boolean ``[N, n]``, the negatives that count; all, if not given.
    """
    if log_count is not None:
        negative = negative - log_count.to(negative.dtype)
    if usable is not None:
        negative = negative.masked_fill(~usable, max(NEVER, torch.finfo(negative.dtype).min))
    return -F.softplus(negative.logsumexp(-1) - positive)


def sampled_softmax(
    positive: Tensor, negative: Tensor, log_count: Tensor | None = None, usable: Tensor | None = None
) -> Tensor:
    """Mean of minus :func:`sampled_log_probability`; exactly 0, with a live graph, when there is no row."""
    if not positive.numel():
        return positive.sum() + negative.sum()
    return -sampled_log_probability(positive, negative, log_count, usable).mean()
