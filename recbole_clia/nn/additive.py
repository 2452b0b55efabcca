"""Additive attention of many positions to what is before each of them, a slab of positions at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CPU_BUDGET, DEVICE_BUDGET = 512 << 10, 512 << 20  # bytes of one slab; on a CPU it should stay in one core's cache


class _AdditiveSum(torch.autograd.Function):
    """The slabs are computed again for the gradient, so that only one is ever held."""

    @staticmethod
    def forward(
        ctx: Any, keys: Tensor, query: Tensor, score: Tensor, values: Tensor, position: Tensor, slab_rows: int
    ) -> Tensor:
        result = query.new_empty((len(query), values.shape[-1]))  # [N, V]
        for slab, row, place in _slabs(position, keys.shape[1], slab_rows):
            _, weight = _weights(keys, query[slab], score, row, place)  # [S, L]
            seen = values.index_select(0, row)  # [S, L, V]
            torch.bmm(weight.unsqueeze(1), seen, out=result[slab].unsqueeze(1))
        ctx.save_for_backward(keys, query, score, values, position)
        ctx.slab_rows = slab_rows
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        keys, query, score, values, position = ctx.saved_tensors
        of_keys, of_values, of_score = torch.zeros_like(keys), torch.zeros_like(values), torch.zeros_like(score)
        of_query = torch.empty_like(query)
        for slab, row, place in _slabs(position, keys.shape[1], ctx.slab_rows):
            active, weight = _weights(keys, query[slab], score, row, place)  # [S, L, H], [S, L]
            seen = values.index_select(0, row)  # [S, L, V]
            of_weight = torch.bmm(seen, grad[slab].unsqueeze(2)).squeeze(2)  # [S, L]
            of_weight.masked_fill_(_later(place, keys.shape[1]), 0)
            of_values.index_add_(0, row, weight.unsqueeze(2) * grad[slab].unsqueeze(1))
            of_score += of_weight.flatten() @ active.flatten(0, 1)
            slope = active.addcmul_(active, active, value=-1).mul_(score).mul_(of_weight.unsqueeze(2))  # [S, L, H]
            of_query[slab] = slope.sum(1)
            of_keys.index_add_(0, row, slope)
        return of_keys, of_query, of_score, of_values, None, None


def _slabs(position: Tensor, length: int, rows: int) -> Any:
    """A slice of the positions, the rows they are in, and their places there."""
    for start in range(0, len(position), rows):
        slab = slice(start, start + rows)
        row = position[slab].div(length, rounding_mode="floor")  # [S]
        yield slab, row, position[slab] - row * length


def _later(place: Tensor, length: int) -> Tensor:
    return torch.arange(length, device=place.device) > place.unsqueeze(1)  # [S, l]


def _weights(keys: Tensor, query: Tensor, score: Tensor, row: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """``sigmoid(keys + query) [S, L, H]``, and the weights ``[S, L]`` from it."""
    active = keys.index_select(0, row).add_(query.unsqueeze(1)).sigmoid_()
    return active, (active @ score).masked_fill_(_later(place, keys.shape[1]), 0)


def additive_prefix_sum(
    keys: Tensor,
    query: Tensor,
    score: Tensor,
    values: Tensor,
    position: Tensor,
    budget_bytes: int | None = None,
) -> Tensor:
    """``sum_{j <= t} <score, sigmoid(k_j + q_t)> v_j`` at chosen positions ``t`` of sequences.

    The attention of NARM (Li et al., "Neural Attentive Session-based Recommendation", CIKM 2017, equations 7 and 8),
    whose weights no softmax makes add up to 1.

    Args:
        keys: ``[B, L, H]``.
        query: ``[N, H]``, one for each position.
        score: ``[H]``.
        values: ``[B, L, V]``.
        position: ``[N]``, counted in the flattened ``[B, L]``.
        budget_bytes: memory for what is held of each position, of one at least; by default 0.5 MiB on a CPU and
            512 elsewhere.

    Returns:
        ``[N, V]``. It can be differentiated once.
    """
    if budget_bytes is None:
        budget_bytes = CPU_BUDGET if keys.device.type == "cpu" else DEVICE_BUDGET
    of_one = keys.shape[1] * keys.shape[2] * keys.element_size()
    rows = max(1, budget_bytes // max(1, of_one))
    with torch.autocast(device_type=keys.device.type, enabled=False):
        given = (tensor.to(score.dtype) for tensor in (keys, query, score, values))
        result: Tensor = _AdditiveSum.apply(*given, position, rows)
    return result
