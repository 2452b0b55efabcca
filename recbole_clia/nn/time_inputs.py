"""CLSR's two time inputs of an item: since the first interaction, and until now."""

from __future__ import annotations

import torch
from torch import Tensor


def time_inputs(times: Tensor, mask: Tensor, origin: Tensor, now: Tensor, unit: float) -> tuple[Tensor, Tensor]:
    """Logarithms of the times of items, in units of at least a half (the published code's preparation of its data).

    ``to_now_i = ln max((now - t_i) / unit, 0.5)``;
    ``from_first_i = ln max((t_{i + 1} - origin) / unit, 0.5)``, with ``now`` for the time after the last item.

    Args:
        times: ``[B, L]``, exact (float64), right-padded.
        mask: boolean ``[B, L]``, true where there is an item.
        origin: ``[B]`` time of the user's first interaction, also where that was cut off.
        now: ``[B]`` time of the target.
        unit: one unit of the result, in units of the times.

    Returns:
        ``from_first`` and ``to_now``, ``[B, L]`` float32, 0 where there is no item.
    """
    length = mask.sum(1, keepdim=True)  # [B, 1]
    following = torch.cat([times[:, 1:], now.unsqueeze(1)], 1)  # [B, L]
    is_last = torch.arange(1, times.shape[1] + 1, device=times.device) == length  # [B, L]
    following = torch.where(is_last, now.unsqueeze(1), following)
    from_first = ((following - origin.unsqueeze(1)) / unit).clamp(min=0.5).log()
    to_now = ((now.unsqueeze(1) - times) / unit).clamp(min=0.5).log()
    return tuple(values.masked_fill(~mask, 0).float() for values in (from_first, to_now))  # type: ignore[return-value]
