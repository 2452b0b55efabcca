"""Negative items for packed training."""

from __future__ import annotations

import torch
from torch import Tensor


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
        ValueError: if fewer than two items can be drawn at all.
    """

    def __init__(self, item_num: int, sample_num: int, distribution: str, popularity: Tensor, alpha: float) -> None:
        weight = torch.ones(item_num, dtype=torch.float64)
        if distribution == "popularity":
            weight = (popularity.to(torch.float64) ** alpha).where(popularity > 0, torch.zeros_like(weight))
        weight[:1] = 0  # padding
        if (weight > 0).sum() < 2:
            raise ValueError("a negative item needs at least two items that can be drawn")
        self.sample_num = sample_num
        self.weight = weight  # [I]
        self.up_to = weight.cumsum(0)  # [I], mass of an item and those before it
        self.from_end = weight.flip(0).cumsum(0)  # [I], mass of the last items, ever more of them

    def __call__(self, target: Tensor, generator: torch.Generator) -> Tensor:
        """Negatives ``[..., n]`` for targets ``[...]``.

        The first uniform number chooses between the items before and after the target, the second
        one of them, so nothing is rejected; the mass after is summed from the end, so that a heavy target
        cannot swallow a light item.
        """
        last = len(self.weight) - 1
        before = self.up_to[target - 1].where(target > 0, 0.0).unsqueeze(-1)  # [..., 1]
        after = self.from_end[last - 1 - target].where(target < last, 0.0).unsqueeze(-1)  # [..., 1]
        side, place = torch.rand(
            (2, *target.shape, self.sample_num), generator=generator, dtype=torch.float64
        )  # [..., n] each
        lower = self._find(self.up_to, place, before)  # [..., n]
        higher = last - self._find(self.from_end, place, after)  # [..., n]
        return lower.where((side * (before + after) < before) | (after == 0), higher)

    @staticmethod
    def _find(mass: Tensor, place: Tensor, whole: Tensor) -> Tensor:
        """The item on which the part ``place`` of the mass ``whole`` falls."""
        below = torch.minimum(place * whole, torch.nextafter(whole, torch.zeros_like(whole)))
        return torch.searchsorted(mass, below, right=True).clamp(max=len(mass) - 1)
