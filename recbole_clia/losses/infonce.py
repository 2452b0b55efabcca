"""Contrast between vectors of histories that should mean the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(one: Tensor, other: Tensor, group: Tensor, temperature: float) -> Tensor:
    """Each row's two vectors against the vectors of other rows, in both directions.

    Softmax cross-entropy of the cosine over ``temperature`` (Oord et al., arXiv 1807.03748; Chen et al., ICML 2020),
    where a row's positive is its vector on the other side, and its negatives are those of rows of another group.

    Args:
        one, other: ``[B, D]``.
        group: ``[B]``; rows of one group, such as windows of one user, are no negatives of each other.
        temperature: above 0.

    Returns:
        A scalar, the mean over rows and directions; exactly 0, with a live graph, when ``B`` is 0.
    """
    if not len(one):
        return one.sum() + other.sum()
    one, other = F.normalize(one, dim=-1), F.normalize(other, dim=-1)
    logits = one @ other.T / temperature  # [B, B]
    same = group.unsqueeze(0) == group.unsqueeze(1)  # [B, B]
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    target = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def same_class(vector: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Rows of one class against all others (supervised contrast: Khosla et al., NeurIPS 2020, equation 2).

    ``mean_i mean_{p: same class} -log(exp(c_ip) / sum_{a != i} exp(c_ia))`` with ``c`` the cosine over ``temperature``,
    over the rows that share their class with another one.

    Args:
        vector: ``[N, D]``.
        label: ``[N]``, the class, such as the item that a history leads to.
        temperature: above 0.

    Returns:
        A scalar; exactly 0, with a live graph, when no two rows share a class.
    """
    same = label.unsqueeze(0) == label.unsqueeze(1)  # [N, N]
    same.fill_diagonal_(False)
    positives = same.sum(1)  # [N]
    if not positives.any():
        return 0 * vector.sum()
    vector = F.normalize(vector, dim=-1)
    logits = (vector @ vector.T / temperature).fill_diagonal_(-torch.inf)  # [N, N]
    log_share = F.log_softmax(logits, -1).masked_fill(~same, 0.0)
    return -(log_share.sum(1) / positives.clamp(min=1))[positives > 0].mean()
