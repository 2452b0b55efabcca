"""Items drawn in proportion to a weight: all alike, or by their popularity."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightedItems(nn.Module):
    """Items drawn independently for each target, never the target itself and never padding.

    Args:
        weight: ``[I]``, not negative; that of item 0, the padding, is taken as 0.

    Raises:
        ValueError: if fewer than two items have a weight.

    Attributes:
        weight: ``[I]`` in float64.
    """

    weight: Tensor
    up_to: Tensor
    from_end: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        weight = weight.to(torch.float64, copy=True)
        weight[:1] = 0
        if (weight > 0).sum() < 2:
            raise ValueError("a negative item needs at least two items that can be drawn")
        self.register_buffer("weight", weight, persistent=False)  # [I]
        # Mass of an item and those before it, and of the last items, ever more of them.
        self.register_buffer("up_to", weight.cumsum(0), persistent=False)  # [I]
        self.register_buffer("from_end", weight.flip(0).cumsum(0), persistent=False)  # [I]

    @classmethod
    def uniform(cls, item_num: int) -> WeightedItems:
        """All ``item_num - 1`` items alike."""
        return cls(torch.ones(item_num))

    @classmethod
    def popular(cls, popularity: Tensor, exponent: float = 1.0) -> WeightedItems:
        """In proportion to ``popularity ** exponent``; what nobody chose is never drawn."""
        popularity = popularity.to(torch.float64)
        return cls((popularity**exponent).where(popularity > 0, torch.zeros_like(popularity)))

    def forward(self, target: Tensor, number: int) -> Tensor:
        """Negatives ``[..., number]`` for targets ``[...]``.

        The first uniform number chooses between the items before and after the target, the second
        one of them, so nothing is rejected; the mass after is summed from the end, so that a heavy target
        cannot swallow a light item.
        """
        last = len(self.weight) - 1
        before, after = (mass.unsqueeze(-1) for mass in self._around(target))  # [..., 1] each
        side, place = torch.rand((2, *target.shape, number), dtype=torch.float64, device=target.device)  # [..., n]
        lower = self._find(self.up_to, place, before)  # [..., n]
        higher = last - self._find(self.from_end, place, after)  # [..., n]
        return lower.where((side * (before + after) < before) | (after == 0), higher)

    def _around(self, target: Tensor) -> tuple[Tensor, Tensor]:
        last = len(self.weight) - 1
        before = self.up_to[target - 1].where(target > 0, 0.0)
        return before, self.from_end[last - 1 - target].where(target < last, 0.0)

    def mass_of_others(self, target: Tensor) -> Tensor:
        """Sum of the weights of all items but the target, ``[...]``, by no difference that could cancel."""
        before, after = self._around(target)
        return before + after

    def any(self, number: int) -> Tensor:
        """``[number]`` items, whatever the target."""
        whole = self.up_to[-1:]
        return self._find(self.up_to, torch.rand(number, dtype=torch.float64, device=whole.device), whole)

    @staticmethod
    def _find(mass: Tensor, place: Tensor, whole: Tensor) -> Tensor:
        """The item on which the part ``place`` of the mass ``whole`` falls."""
        below = torch.minimum(place * whole, torch.nextafter(whole, torch.zeros_like(whole)))
        return torch.searchsorted(mass, below, right=True).clamp(max=len(mass) - 1)
