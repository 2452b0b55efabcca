"""Which items each user has had."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeenItems(nn.Module):
    """The pairs of user and item in the training data.

    Args:
        user, item: ``[T]``, pairs in any order, repeats allowed.
        item_num: number of items, padding included.
    """

    pairs: Tensor

    def __init__(self, user: Tensor, item: Tensor, item_num: int) -> None:
        super().__init__()
        self.item_num = item_num
        self.register_buffer("pairs", (user.long() * item_num + item.long()).unique(), persistent=False)

    def contains(self, user: Tensor, items: Tensor) -> Tensor:
        """Whether ``user [N]`` has had ``items [N or 1, n]``, ``[N, n]``."""
        if not len(self.pairs):
            return torch.zeros((len(user), items.shape[1]), dtype=torch.bool, device=user.device)
        wanted = user.unsqueeze(-1) * self.item_num + items  # [N, n]
        place = torch.searchsorted(self.pairs, wanted).clamp(max=len(self.pairs) - 1)
        return self.pairs[place] == wanted

    def mass(self, user: Tensor, weight: Tensor) -> Tensor:
        """Sum of ``weight [I]`` over the items of ``user [N]``, ``[N]``."""
        up_to = torch.nn.functional.pad(weight[self.pairs % self.item_num].cumsum(0), (1, 0))  # [P + 1]
        begin, end = (torch.searchsorted(self.pairs, (user + k) * self.item_num) for k in (0, 1))
        return up_to[end] - up_to[begin]
