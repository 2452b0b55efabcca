"""Cross-entropy over the whole catalogue, of one vector or of a mixture of several, under a memory budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .logits import PADDING_ITEM, Background, Offsets

# On a CPU a slab should stay in the cache, but products of fewer rows than these cost more than what the cache saves.
CPU_BUDGET, CPU_ROWS, CPU_MOST = 2 << 20, 64, 64 << 20
DEVICE_BUDGET = 512 << 20


class _MixtureCrossEntropy(torch.autograd.Function):
    """Sum of row losses and its gradient, a slab of rows at a time.

    The logits of a slab are turned into their own gradient in place before the next slab is
    computed, so that one slab is all that is ever held, and it stays in the cache.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        log_weight: Tensor,
        items: Tensor,
        target: Tensor,
        offset_item: Tensor | None,
        offset_value: Tensor | None,
        features: Tensor | None,
        group: Tensor | None,
        feature_weight: Tensor | None,
        slab_rows: int,
        dtype: torch.dtype,
    ) -> Tensor:
        parts = len(queries)
        coarse_items = items.to(dtype)
        background = None
        if features is not None and group is not None and feature_weight is not None:
            background = Background(features.to(dtype), group, feature_weight)
        grad_queries, grad_weight = torch.empty_like(queries), torch.empty_like(log_weight)
        grad_items = torch.zeros_like(items)
        grad_offset = None if offset_value is None else torch.empty_like(offset_value)
        grad_feature = None if feature_weight is None else torch.empty_like(feature_weight)
        total = queries.new_zeros(())
        for start in range(0, queries.shape[1], slab_rows):
            slab = slice(start, start + slab_rows)
            t = target[slab]  # [S]
            query = queries[:, slab].flatten(0, 1)  # [K S, D], part after part
            logits = (query.to(dtype) @ coarse_items.T).view(parts, len(t), -1)  # [K, S, I]
            # The target's own logit does not suffer from a coarse dtype.
            positive = (queries[:, slab] * items[t]).sum(-1)  # [K, S]
            if offset_item is not None and offset_value is not None:
                index, value = offset_item[slab], offset_value[slab]  # [S, M] each
                logits.scatter_add_(2, index.expand(parts, -1, -1), value.to(dtype).expand(parts, -1, -1))
                positive = positive + (value * (index == t.unsqueeze(1))).sum(1)
            if background is not None:
                added = background.rows(slab).of_all()  # [S, I]
                logits += added
                positive = positive + added.gather(1, t.unsqueeze(1)).squeeze(1).to(positive.dtype)
                del added
            logits[..., PADDING_ITEM] = -torch.inf
            top = logits.amax(2, keepdim=True)  # [K, S, 1]
            logits.sub_(top).exp_()
            mass = logits.sum(2, keepdim=True, dtype=queries.dtype)  # [K, S, 1]
            # In this order no digit is lost to a large top.
            loss = mass.log().squeeze(2) + (top.squeeze(2).to(queries.dtype) - positive)  # [K, S]
            joint = log_weight[slab] - loss.T  # [S, K]
            total -= joint.logsumexp(1).sum()
            share = joint.softmax(1)  # [S, K], how much of the target's probability each part explains
            grad_weight[slab] = -share
            own = share.T.unsqueeze(2)  # [K, S, 1]
            logits.mul_((own / mass).to(dtype))
            logits.scatter_add_(2, t.expand(parts, -1).unsqueeze(2), -own.to(dtype))
            flat = logits.flatten(0, 1)  # [K S, I]
            grad_queries[:, slab] = (flat @ coarse_items).view_as(queries[:, slab])
            if dtype == items.dtype:
                grad_items.addmm_(flat.T, query)
            else:
                grad_items += flat.T @ query.to(dtype)
            whole = logits.sum(0) if parts > 1 and (grad_offset is not None or background is not None) else logits[0]
            if grad_offset is not None and offset_item is not None:
                grad_offset[slab] = whole.gather(1, offset_item[slab]).to(grad_offset.dtype)
            if background is not None and grad_feature is not None:
                for f, feature in enumerate(background.features):
                    grad_feature[slab, f] = (whole * feature.index_select(0, background.group[slab])).sum(
                        1, dtype=grad_feature.dtype
                    )
            del logits, flat, whole  # before the next slab is made
        ctx.save_for_backward(grad_queries, grad_weight, grad_items, grad_offset, grad_feature)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        queries, weight, items, offset, feature = (
            None if saved is None else saved * grad for saved in ctx.saved_tensors
        )
        return queries, weight, items, None, None, offset, None, None, feature, None, None


def _slab_rows(items: Tensor, parts: int, budget_bytes: int | None, dtype: torch.dtype) -> int:
    of_row = parts * items.shape[0] * dtype.itemsize
    if budget_bytes is None:
        if items.device.type == "cpu":
            budget_bytes = min(max(CPU_BUDGET, CPU_ROWS * of_row), CPU_MOST)
        else:
            budget_bytes = DEVICE_BUDGET
    return max(1, budget_bytes // of_row)


def mixture_cross_entropy(
    queries: Tensor,
    log_weight: Tensor,
    items: Tensor,
    target: Tensor,
    budget_bytes: int | None = None,
    offsets: Offsets | None = None,
    background: Background | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Mean of ``-log sum_k w_k softmax(q_k @ items.T + added)[target]``, without ever holding all logits.

    A mixture of softmaxes (Yang et al., "Breaking the Softmax Bottleneck", ICLR 2018).  What is added to a row's logits
    is the same in all parts.  Item 0 is RecBole's padding and never competes.

    Args:
        queries: ``[K, N, D]``.
        log_weight: ``[N, K]``, logs of weights that add up to 1 over the parts.
        items: ``[I, D]``, the table of item embeddings.
        target: ``[N]`` integers in ``1 .. I-1``.
        budget_bytes: memory for logits held at once; at least one row of ``K I`` logits is held.
            By default that of 64 rows on a CPU, between 2 and 64 MiB, and 512 MiB elsewhere.
        offsets: added to the logits of a few items of each row.
        background: added to all logits.
        dtype: in which logits and their products are computed; that of ``items`` by default.  Sums over the items, and
            the target's own logit but for the background, are in that of ``items``.

    Returns:
        A scalar; exactly 0, with a live graph, when ``N`` is 0. It can be differentiated once.
    """
    if queries.shape[1] == 0:
        empty = [queries, log_weight]
        empty += [] if offsets is None else [offsets.value]
        empty += [] if background is None else [background.weight]
        return 0 * items.sum() + sum(tensor.sum() for tensor in empty)
    dtype = dtype or items.dtype
    slab_rows = _slab_rows(items, len(queries), budget_bytes, dtype)
    # Matrix products in reduced precision would be summed over the whole catalogue.
    with torch.autocast(device_type=queries.device.type, enabled=False):
        total = _MixtureCrossEntropy.apply(
            queries.to(items.dtype),
            log_weight.to(items.dtype),
            items,
            target,
            *((None, None) if offsets is None else (offsets.item, offsets.value.to(items.dtype))),
            *((None,) * 3 if background is None else (*background[:2], background.weight.to(items.dtype))),
            slab_rows,
            dtype,
        )
    return total / queries.shape[1]


def linear_cross_entropy(
    query: Tensor,
    items: Tensor,
    target: Tensor,
    budget_bytes: int | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Mean cross-entropy of ``query @ items.T`` against ``target``: :func:`mixture_cross_entropy` of one part.

    Args:
        query: ``[N, D]``.
        items, target, budget_bytes, dtype: as there.
    """
    alone = query.new_zeros((len(query), 1))
    return mixture_cross_entropy(query.unsqueeze(0), alone, items, target, budget_bytes, dtype=dtype)
