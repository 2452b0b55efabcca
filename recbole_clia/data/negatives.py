"""Negative items for packed training."""

from __future__ import annotations

import torch
from torch import Tensor

PADDING_ITEM = 0


class NegativeSampler:
    """Items drawn independently for each target, never the target itself and never padding.

    Args:
        item_num: number of items, padding included.
        sample_num: negatives of each target.
        distribution: ``"uniform"``, or ``"popularity"`` for a chance proportional to
            ``popularity ** alpha``.
        popularity: ``[item_num]`` counts.
        alpha: exponent of the popularity.

    Raises:
        ValueError: if there are fewer than two items to choose from.
    """

    def __init__(self, item_num: int, sample_num: int, distribution: str, popularity: Tensor, alpha: float) -> None:
        if item_num < 3:
            raise ValueError("a negative item needs at least two items in the data")
        weight = torch.ones(item_num, dtype=torch.float64)
        if distribution == "popularity":
            weight = popularity.to(torch.float64) ** alpha
        weight[PADDING_ITEM] = 0
        self.sample_num = sample_num
        self.below = weight.cumsum(0) - weight  # [I], mass of the items before each
        self.weight = weight

    def __call__(self, target: Tensor, generator: torch.Generator) -> Tensor:
        """Negatives ``[..., n]`` for targets ``[...]``; the draw leaves the target's own mass out.

        One uniform number falls on the mass of all items but the target, so nothing is rejected.
        """
        own = self.weight[target].unsqueeze(-1)  # [..., 1]
        total = self.weight.sum() - own
        shape = (*target.shape, self.sample_num)
        mass = torch.rand(shape, generator=generator, dtype=torch.float64) * total  # [..., n]
        mass += own * (mass >= self.below[target].unsqueeze(-1))
        drawn = torch.searchsorted(self.below, mass, right=True) - 1
        return drawn.clamp(min=1)
