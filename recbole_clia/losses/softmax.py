"""Cross-entropy over the whole catalogue, under a memory budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PADDING_ITEM = 0
CPU_BUDGET, DEVICE_BUDGET = 4 << 20, 512 << 20


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of row losses and its gradient, a slab of rows at a time.

    The logits of a slab are turned into their own gradient in place before the next slab is
    computed, so that one slab is all that is ever held, and it stays in the cache.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, items: Tensor, target: Tensor, slab_rows: int) -> Tensor:
        needs_query, needs_items = ctx.needs_input_grad[:2]
        grad_query = torch.empty_like(query) if needs_query else None
        grad_items = torch.zeros_like(items) if needs_items else None
        total = query.new_zeros(())
        for start in range(0, query.shape[0], slab_rows):
            q = query[start : start + slab_rows]  # [S, D]
            t = target[start : start + slab_rows, None]  # [S, 1]
            logits = q @ items.T  # [S, I]
            logits[:, PADDING_ITEM] = -torch.inf
            positive = logits.gather(1, t)  # [S, 1]
            top = logits.amax(1, keepdim=True)  # [S, 1]
            logits.sub_(top).exp_()
            mass = logits.sum(1, keepdim=True)  # [S, 1]
            total += (mass.log() + (top - positive)).sum()  # in this order no digit is lost to a large top
            if needs_query or needs_items:
                logits.div_(mass)
                logits.scatter_add_(1, t, logits.new_full(t.shape, -1.0))
            if grad_query is not None:
                torch.mm(logits, items, out=grad_query[start : start + slab_rows])
            if grad_items is not None:
                grad_items.addmm_(logits.T, q)
            del logits  # before the next slab is made
        ctx.save_for_backward(grad_query, grad_items)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        grad_query, grad_items = ctx.saved_tensors
        return (
            None if grad_query is None else grad_query * grad,
            None if grad_items is None else grad_items * grad,
            None,
            None,
        )


def linear_cross_entropy(query: Tensor, items: Tensor, target: Tensor, budget_bytes: int | None = None) -> Tensor:
    """Mean cross-entropy of ``query @ items.T`` against ``target``, without ever holding all logits.

    Item 0 is RecBole's padding and never competes.

    Args:
        query: ``[N, D]``.
        items: ``[I, D]``, the table of item embeddings.
        target: ``[N]`` integers in ``1 .. I-1``.
        budget_bytes: memory for logits held at once; at least one row of ``I`` logits is held.
            By default 4 MiB on a CPU, which stay in its cache, and 512 MiB elsewhere.

    Returns:
        A scalar; exactly 0, with a live graph, when ``N`` is 0. It can be differentiated once.
    """
    if query.shape[0] == 0:
        return query.sum() + 0 * items.sum()
    if budget_bytes is None:
        budget_bytes = CPU_BUDGET if query.device.type == "cpu" else DEVICE_BUDGET
    slab_rows = max(1, budget_bytes // (items.shape[0] * items.element_size()))
    # Matrix products in reduced precision would be summed over the whole catalogue.
    with torch.autocast(device_type=query.device.type, enabled=False):
        total = _LinearCrossEntropy.apply(query.to(items.dtype), items, target, slab_rows)
    return total / query.shape[0]
