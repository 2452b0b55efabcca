"""Histories that should mean the same: two views of one, or two neighbouring windows of a user."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

OPERATIONS = ("crop", "mask", "reorder")


def _part(ratio: float, length: Tensor) -> Tensor:
    """The whole number of items ``[B]`` in a part of each history."""
    return (ratio * length.double() + 1e-9).long()  # 0.29 of 100 are 29, though the product is a hair less


def crop(items: Tensor, length: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """A run of ``ratio`` of the items, one at least, that begins anywhere; the new length with it."""
    size = _part(ratio, length).clamp(min=1)  # [B]
    begin = (torch.rand(len(items), dtype=torch.float64, device=items.device) * (length - size + 1)).long()
    step = torch.arange(items.shape[1], device=items.device)
    where = (begin.unsqueeze(1) + step).clamp(max=items.shape[1] - 1)  # [B, L]
    kept = items.gather(1, where)
    return kept.where(step < size.unsqueeze(1), torch.zeros_like(kept)), size


def mask(items: Tensor, length: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """The history with ``ratio`` of its items, chosen at random, replaced by 0."""
    is_item = torch.arange(items.shape[1], device=items.device) < length.unsqueeze(1)  # [B, L]
    key = torch.rand(items.shape, device=items.device).masked_fill(~is_item, 2.0)
    rank = key.argsort(1).argsort(1)  # [B, L]
    return items.masked_fill(rank < _part(ratio, length).unsqueeze(1), 0), length


def reorder(items: Tensor, length: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """The history with a run of ``ratio`` of its items, beginning anywhere, in random order."""
    size = _part(ratio, length)  # [B]
    begin = (torch.rand(len(items), dtype=torch.float64, device=items.device) * (length - size + 1)).long()
    begin, size = begin.unsqueeze(1), size.unsqueeze(1)  # [B, 1]
    step = torch.arange(items.shape[1], device=items.device)
    inside = (step >= begin) & (step < begin + size)  # [B, L]
    place = begin + torch.rand(items.shape, dtype=torch.float64, device=items.device) * size
    order = torch.where(inside, place, step.double()).argsort(dim=1, stable=True)
    return items.gather(1, order), length


def augmented(
    items: Tensor, length: Tensor, operations: Sequence[str], ratios: dict[str, float]
) -> tuple[Tensor, Tensor]:
    """One random view of each history, by one of ``operations`` each (Xie et al., "Contrastive Learning for
    Sequential Recommendation", ICDE 2022).

    Args:
        items: ``[B, L]``, right-padded with 0.
        length: ``[B]``, at least 1.
        operations: of ``"crop"``, ``"mask"``, ``"reorder"``.
        ratios: the part of the history that each operation takes.

    Returns:
        ``([B, L], [B])``, the view and its length.
    """
    functions = {"crop": crop, "mask": mask, "reorder": reorder}
    choice = torch.randint(len(operations), (len(items),), device=items.device)  # [B]
    view, size = items, length
    for number, name in enumerate(operations):
        changed, changed_size = functions[name](items, length, ratios[name])
        view = torch.where((choice == number).unsqueeze(1), changed, view)
        size = torch.where(choice == number, changed_size, size)
    return view, size


def halves(items: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The older and the newer half of each history, as two histories.

    Args:
        items: ``[B, L]``, right-padded with 0.
        length: ``[B]``, at least 2.

    Returns:
        ``([B, L], [B], [B, L], [B])``, the older half and its length, the newer half and its length.
    """
    older = length // 2
    newer = length - older
    step = torch.arange(items.shape[1], device=items.device)
    first = items.where(step < older.unsqueeze(1), torch.zeros_like(items))
    second = items.gather(1, (older.unsqueeze(1) + step).clamp(max=items.shape[1] - 1))
    return first, older, second.where(step < newer.unsqueeze(1), torch.zeros_like(items)), newer
