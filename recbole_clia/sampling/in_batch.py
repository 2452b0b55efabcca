"""Negatives that are the targets of other rows of the batch."""

from __future__ import annotations

import torch
from torch import Tensor


def others_of_batch(target: Tensor, number: int, n_items: int, rows: Tensor | None = None) -> Tensor:
    """For each row, items of other rows, drawn uniformly from those rows whose item is another.

    Args:
        target: ``[N]`` items of the batch.
        number: how many to draw for each row.
        n_items: items in all with the padding; they are drawn from where a batch has one item alone.
        rows: ``[R]`` the rows to draw for; all, if not given.

    Returns:
        ``[R, number]``, never the row's own item.
    """
    own = target if rows is None else target[rows]  # [R]
    ordered = target.sort().values
    low = torch.searchsorted(ordered, own)  # rows of the own item are neighbours here
    high = torch.searchsorted(ordered, own, right=True)
    others = len(target) - (high - low)  # [R]
    drawn = (torch.rand(len(own), number, device=target.device) * others.unsqueeze(1)).long()
    drawn = drawn.minimum((others - 1).clamp(min=0).unsqueeze(1))
    drawn = drawn + (drawn >= low.unsqueeze(1)) * (high - low).unsqueeze(1)
    found = ordered[drawn.clamp(max=len(target) - 1)]  # [R, number]
    if (others == 0).any():
        anything = torch.randint(1, max(2, n_items - 1), found.shape, device=target.device)
        anything = anything + (anything >= own.unsqueeze(1))
        found = torch.where(others.unsqueeze(1) == 0, anything, found)
    return found
