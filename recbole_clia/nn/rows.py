"""Take some rows of a tensor, and give their gradient back, at the cost of a copy; rows of similar length together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ENCODED_AT_ONCE = 256  # rows, in the order of their lengths


class _Rows(torch.autograd.Function):
    """Indexing adds up gradients, one row after another, since a row may be taken twice; here none is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = x.shape
        return x.reshape(-1, x.shape[-1]).index_select(0, index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        spread = grad.new_zeros((ctx.shape[:-1].numel(), ctx.shape[-1]))
        spread[index] = grad
        return spread.view(ctx.shape), None


def chosen(mask: Tensor) -> Tensor:
    """Positions ``[N]`` of the true elements of a mask, counted in its flattened form."""
    return mask.flatten().nonzero().squeeze(1)


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """The rows ``x[..., :]`` at distinct positions; ``take_rows(x, chosen(mask))`` is ``x[mask]``.

    Args:
        x: ``[..., D]``.
        index: ``[N]`` positions in the flattened leading dimensions, none of them twice.

    Returns:
        ``[N, D]``. It can be differentiated once.
    """
    result: Tensor = _Rows.apply(x, index)
    return result


class _LookUp(torch.autograd.Function):
    """Indexing goes through its gradient in an order of its own, which takes ten times longer than adding it up."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = len(table)
        return table.index_select(0, index.flatten()).view(index.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size).scatter_add(0, index.flatten(), grad.flatten()), None


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` of a small table of numbers ``[T]`` and many integers of any shape."""
    found: Tensor = _LookUp.apply(table, index)
    return found


def similar_lengths(length: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Rows in groups of similar length, which are encoded with little padding.

    Args:
        length: ``[B]`` of each row.

    Returns:
        The rows of each group, ``[256]`` or fewer, one group at least; and the order ``[B]`` that puts what is computed
        of them, one group after the other, back in place.
    """
    order = length.argsort()
    return order.split(ENCODED_AT_ONCE), order.argsort()
