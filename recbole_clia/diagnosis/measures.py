"""Figures that show whether the interests are apart, or have collapsed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Measures(NamedTuple):
    """One figure for each of B histories; every tensor ``[B]``.

    A long interest that *is* its proxy (cosine 1, entropy 1) has collapsed to the mean of the history, by which the
    contrast can be won without learning anything.
    """

    alpha: Tensor  # weight of the long-term interest
    long_own: Tensor  # cosine of the long-term interest and its proxy
    long_other: Tensor  # ... and the proxy of the short-term one
    short_own: Tensor
    short_other: Tensor
    long_entropy: Tensor  # of the attention, over that of equal weights; NaN for a single item
    short_entropy: Tensor


def measure(
    alpha: Tensor,
    interests: tuple[Tensor, Tensor],
    proxies: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor],
    mask: Tensor,
) -> Measures:
    """
    Args:
        alpha: ``[B]``.
        interests, proxies: the long- and the short-term one, ``[B, D]`` each.
        weights: attention of the long- and the short-term branch, ``[B, L]`` each, not negative.
        mask: boolean ``[B, L]``, true where there is an item.
    """
    (long, short), (long_proxy, short_proxy) = interests, proxies
    return Measures(
        alpha,
        F.cosine_similarity(long, long_proxy, dim=-1),
        F.cosine_similarity(long, short_proxy, dim=-1),
        F.cosine_similarity(short, short_proxy, dim=-1),
        F.cosine_similarity(short, long_proxy, dim=-1),
        *(relative_entropy(weight, mask) for weight in weights),
    )


def relative_entropy(weight: Tensor, mask: Tensor) -> Tensor:
    """Entropy of attention over the largest that there can be, ``ln n``: 1 for equal weights, 0 for one item alone.

    Args:
        weight: ``[B, L]``, not negative; scaled to add up to 1 over the items.
        mask: boolean ``[B, L]``, true where there is an item.

    Returns:
        ``[B]``; NaN where there are fewer than two items.
    """
    share = weight.double() * mask
    share = share / share.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(share, share).sum(-1)
    most = mask.sum(-1).double().log()
    return (entropy / most).where(most > 0, torch.nan).to(weight.dtype)


def summary(measures: Measures) -> dict[str, float]:
    """The mean of each figure over the histories that have it, and the standard deviation of alpha."""
    found = {name: float(values.double().nanmean()) for name, values in measures._asdict().items()}
    found["alpha_std"] = float(measures.alpha.double().std(correction=0))
    return found
