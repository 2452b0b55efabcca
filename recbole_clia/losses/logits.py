"""The logit of an item: an inner product, and what stands beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

PADDING_ITEM = 0
ROWS_AT_ONCE = 64  # whose logits stay in a processor's cache while they are made


class Offsets(NamedTuple):
    """What is added to the logits of a few items of each of N rows; what is there several times is added up."""

    item: Tensor  # [N, M] integers, 0 for none
    value: Tensor  # [N, M]

    def of(self, candidates: Tensor) -> Tensor:
        """What is added to the logits of ``candidates [N or 1, n]``, ``[N, n]``."""
        item, order = self.item.sort(dim=1)  # [N, M] each
        candidates = candidates.expand(len(item), -1).contiguous()
        # In double precision, so that a difference of sums is as good as the values.
        upto = F.pad(self.value.gather(1, order).double().cumsum(1), (1, 0))  # [N, M + 1]
        begin, end = (torch.searchsorted(item, candidates, right=right) for right in (False, True))  # [N, n] each
        value = upto.gather(1, end) - upto.gather(1, begin)
        return value.to(self.value.dtype) * (candidates != PADDING_ITEM)


class Background(NamedTuple):
    """Features of all items at some moments, and their weights in each of N rows: what is added to all logits."""

    features: Tensor  # [F, G, I], constant
    group: Tensor  # [N] integers below G, the moment of each row
    weight: Tensor  # [N, F]

    def of(self, candidates: Tensor) -> Tensor:
        """What is added to the logits of ``candidates [N or 1, n]``, ``[N, n]``."""
        found = self.features[:, self.group.unsqueeze(1), candidates]  # [F, N, n]
        return (found * self.weight.T.unsqueeze(-1)).sum(0)

    def of_all(self) -> Tensor:
        """What is added to the logits of all items, ``[N, I]``."""
        weight = self.weight.to(self.features.dtype).T.unsqueeze(-1)  # [F, N, 1]
        total = self.features[0].index_select(0, self.group).mul_(weight[0])
        for f in range(1, len(self.features)):
            total.addcmul_(self.features[f].index_select(0, self.group), weight[f])
        return total

    def rows(self, which: slice) -> Background:
        """The same for some of the rows."""
        return Background(self.features, self.group[which], self.weight[which])


@torch.no_grad()
def all_logits(
    queries: Tensor, items: Tensor, offsets: Offsets | None = None, background: Background | None = None
) -> Tensor:
    """``q_k @ items.T + added``, ``[K, N, I]``, with ``-inf`` for the padding; without gradient.

    Args:
        queries: ``[K, N, D]``.
        items: ``[I, D]``.
        offsets, background: what is added, in all K parts alike.
    """
    parts, number, _ = queries.shape
    logits = queries.new_empty((parts, number, len(items)))
    for start in range(0, number, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        slab = logits[:, rows]  # [K, S, I]
        slab.copy_(queries[:, rows] @ items.T)
        if offsets is not None:
            item, value = (tensor[rows].expand(parts, -1, -1) for tensor in offsets)
            slab.scatter_add_(2, item, value.to(slab.dtype))
        if background is not None:
            slab += background.rows(rows).of_all()
        slab[..., PADDING_ITEM] = -torch.inf
    return logits
