"""Histories that a user did not have: out of order, only their end, without their end.

They are those of the counterfactual evaluation of Zheng et al. (WWW 2022, arXiv 2202.13090), and one more.  A branch
that follows stable tastes cares for what is in a history, one that follows the moment for its order and its end.

Shapes below: B right-padded histories of L columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor

Ints = NDArray[np.int64]


def random_orders(length: Ints, width: int, seed: int, rows: Ints) -> Tensor:
    """A random permutation of the items of each history; padding stays where it is.

    It depends on the seed and the number of the row alone, not on what else is in the batch.

    Args:
        length: ``[B]`` items of each history.
        width: ``L``.
        seed: of all rows.
        rows: ``[B]`` numbers of the rows, not negative.

    Returns:
        ``[B, L]``, the column that each item is taken from.
    """
    order = np.tile(np.arange(width), (len(length), 1))
    for columns, row, number in zip(order, rows.tolist(), length.tolist(), strict=True):
        columns[:number] = np.random.default_rng((seed, row)).permutation(number)
    return torch.from_numpy(order)


def reordered(batch: Interaction, items: str, order: Tensor) -> Interaction:
    """The rows with the items of their histories in another order; all other columns, times among them, stay.

    Args:
        items: field of the histories' items, ``[B, L]``.
        order: ``[B, L]``, the column that each item is taken from.
    """
    return _with(batch, {items: batch[items].gather(1, order.to(batch[items].device))})


def last_items(batch: Interaction, lists: Sequence[str], length: str, number: int) -> Interaction:
    """The rows as if their histories had begun with their last ``number`` items; shorter ones are left as they are.

    Args:
        lists: fields of the histories, ``[B, L, ...]`` each; other fields stay.
        length: field of the number of their items, ``[B]``.
        number: at least 1.
    """
    kept = batch[length].clamp(max=number)
    return _part(batch, lists, length, batch[length] - kept, kept)


def without_last_items(batch: Interaction, lists: Sequence[str], length: str, number: int) -> Interaction:
    """The rows as if their histories had ended ``number`` items before; each history must be longer.

    Args:
        lists, length: as in :func:`last_items`.
        number: not negative.
    """
    kept = batch[length] - number
    return _part(batch, lists, length, torch.zeros_like(kept), kept)


def _part(batch: Interaction, lists: Sequence[str], length: str, begin: Tensor, kept: Tensor) -> Interaction:
    """The ``kept [B]`` columns of each history from ``begin [B]``, padded with 0 as RecBole pads."""
    changed = {length: kept}
    for field in lists:
        values = batch[field]  # [B, L, ...]
        step = torch.arange(values.shape[1], device=values.device)
        further = (1,) * (values.dim() - 2)
        column = (begin.unsqueeze(1) + step).clamp(max=values.shape[1] - 1)  # [B, L]
        moved = values.gather(1, column.view(*column.shape, *further).expand_as(values))
        is_item = (step < kept.unsqueeze(1)).view(*column.shape, *further)
        changed[field] = moved.where(is_item, torch.zeros((), dtype=values.dtype, device=values.device))
    return _with(batch, changed)


def _with(batch: Interaction, changed: dict[str, Tensor]) -> Interaction:
    return Interaction({**batch.interaction, **changed})
