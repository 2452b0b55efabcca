"""Cross-entropy over the whole catalogue, of one vector or of a mixture of several, under a memory budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PADDING_ITEM = 0
CPU_BUDGET, DEVICE_BUDGET = 4 << 20, 512 << 20


class _MixtureCrossEntropy(torch.autograd.Function):
    """Sum of row losses and its gradient, a slab of rows at a time.

    The logits of a slab are turned into their own gradient in place before the next slab is
    computed, so that one slab is all that is ever held, and it stays in the cache.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, log_weight: Tensor, items: Tensor, target: Tensor, slab_rows: int) -> Tensor:
        needs_queries, needs_weight, needs_items = ctx.needs_input_grad[:3]
        grad_queries = torch.empty_like(queries) if needs_queries else None
        grad_weight = torch.empty_like(log_weight) if needs_weight else None
        grad_items = torch.zeros_like(items) if needs_items else None
        total = queries.new_zeros(())
        for start in range(0, queries.shape[1], slab_rows):
            slab = slice(start, start + slab_rows)
            query = queries[:, slab].flatten(0, 1)  # [K S, D], part after part
            t = target[slab].repeat(len(queries)).unsqueeze(1)  # [K S, 1]
            logits = query @ items.T  # [K S, I]
            logits[:, PADDING_ITEM] = -torch.inf
            positive = logits.gather(1, t)  # [K S, 1]
            top = logits.amax(1, keepdim=True)  # [K S, 1]
            logits.sub_(top).exp_()
            mass = logits.sum(1, keepdim=True)  # [K S, 1]
            loss = mass.log() + (top - positive)  # [K S, 1]; in this order no digit is lost to a large top
            joint = log_weight[slab] - loss.view(len(queries), -1).T  # [S, K]
            total -= joint.logsumexp(1).sum()
            share = joint.softmax(1)  # [S, K], how much of the target's probability each part explains
            if grad_weight is not None:
                grad_weight[slab] = -share
            if needs_queries or needs_items:
                own = share.T.reshape(-1, 1)  # [K S, 1]
                logits.mul_(own / mass).scatter_add_(1, t, -own)
            if grad_queries is not None:
                grad_queries[:, slab] = (logits @ items).view_as(queries[:, slab])
            if grad_items is not None:
                grad_items.addmm_(logits.T, query)
            del logits  # before the next slab is made
        ctx.save_for_backward(grad_queries, grad_weight, grad_items)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        scaled = (None if saved is None else saved * grad for saved in ctx.saved_tensors)
        return (*scaled, None, None)


def _slab_rows(items: Tensor, parts: int, budget_bytes: int | None) -> int:
    if budget_bytes is None:
        budget_bytes = CPU_BUDGET if items.device.type == "cpu" else DEVICE_BUDGET
    return max(1, budget_bytes // (parts * items.shape[0] * items.element_size()))


def mixture_cross_entropy(
    queries: Tensor, log_weight: Tensor, items: Tensor, target: Tensor, budget_bytes: int | None = None
) -> Tensor:
    """Mean of ``-log sum_k w_k softmax(q_k @ items.T)[target]``, without ever holding all logits.

    A mixture of softmaxes (Yang et al., "Breaking the Softmax Bottleneck", ICLR 2018).  Item 0 is RecBole's padding and
    never competes.

    Args:
        queries: ``[K, N, D]``.
        log_weight: ``[N, K]``, logs of weights that add up to 1 over the parts.
        items: ``[I, D]``, the table of item embeddings.
        target: ``[N]`` integers in ``1 .. I-1``.
        budget_bytes: memory for logits held at once; at least one row of ``K I`` logits is held.
            By default 4 MiB on a CPU, which stay in its cache, and 512 MiB elsewhere.

    Returns:
        A scalar; exactly 0, with a live graph, when ``N`` is 0. It can be differentiated once.
    """
    if queries.shape[1] == 0:
        return queries.sum() + log_weight.sum() + 0 * items.sum()
    slab_rows = _slab_rows(items, len(queries), budget_bytes)
    # Matrix products in reduced precision would be summed over the whole catalogue.
    with torch.autocast(device_type=queries.device.type, enabled=False):
        total = _MixtureCrossEntropy.apply(
            queries.to(items.dtype), log_weight.to(items.dtype), items, target, slab_rows
        )
    return total / queries.shape[1]


def linear_cross_entropy(query: Tensor, items: Tensor, target: Tensor, budget_bytes: int | None = None) -> Tensor:
    """Mean cross-entropy of ``query @ items.T`` against ``target``: :func:`mixture_cross_entropy` of one part.

    Args:
        query: ``[N, D]``.
        items, target, budget_bytes: as there.
    """
    return mixture_cross_entropy(query.unsqueeze(0), query.new_zeros((len(query), 1)), items, target, budget_bytes)


@torch.no_grad()
def log_partition(query: Tensor, items: Tensor, budget_bytes: int | None = None) -> Tensor:
    """``logsumexp(query @ items.T)`` over all items but the padding, ``[N]``, a slab of rows at a time."""
    slabs = query.split(_slab_rows(items, 1, budget_bytes))
    return torch.cat([(slab @ items[1:].T).logsumexp(1) for slab in slabs])
