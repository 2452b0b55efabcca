"""Interest proxies: what a history says of an interest without any learnt weight.

The long-term proxy is the mean of the whole history, the short-term proxy the mean of its last
``recent_k`` items (Zheng et al., WWW 2022, equations 7 and 8).  Gradients flow into both.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _masked_mean(item_emb: Tensor, mask: Tensor) -> Tensor:
    total = item_emb.masked_fill(~mask.unsqueeze(-1), 0).sum(1)  # [B, D]
    return total / mask.sum(1, keepdim=True).clamp(min=1)  # [B, D]


def _check_recent_k(recent_k: int) -> None:
    if recent_k < 1:
        raise ValueError(f"recent_k must be at least 1, not {recent_k}")


def long_term_proxy(item_emb: Tensor, mask: Tensor) -> Tensor:
    """Mean of the embeddings of the whole history.

    Args:
        item_emb: ``[B, L, D]``.
        mask: boolean ``[B, L]``, true where there is an item.

    Returns:
        ``[B, D]``; zeros for an empty history.
    """
    return _masked_mean(item_emb, mask)


def short_term_proxy(item_emb: Tensor, mask: Tensor, recent_k: int) -> Tensor:
    """Mean of the embeddings of the last ``recent_k`` items; of all, where there are fewer.

    Args:
        item_emb: ``[B, L, D]``.
        mask: boolean ``[B, L]``, true where there is an item.
        recent_k: size of the recent window, at least 1.

    Returns:
        ``[B, D]``; zeros for an empty history.

    Raises:
        ValueError: if ``recent_k`` is below 1.
    """
    _check_recent_k(recent_k)
    from_the_end = mask.flip(1).cumsum(1).flip(1)  # [B, L], 1 at the last item
    return _masked_mean(item_emb, mask & (from_the_end <= recent_k))


def causal_proxies(item_emb: Tensor, recent_k: int) -> tuple[Tensor, Tensor]:
    """Both proxies of every prefix ``item_emb[:, :t + 1]`` of right-padded histories.

    Args:
        item_emb: ``[B, L, D]``.
        recent_k: size of the recent window, at least 1.

    Returns:
        ``(long_proxy, short_proxy)``, each ``[B, L, D]``; position ``t`` never sees past ``t``.

    Raises:
        ValueError: if ``recent_k`` is below 1.
    """
    _check_recent_k(recent_k)
    length = item_emb.shape[1]
    count = torch.arange(1, length + 1, device=item_emb.device, dtype=item_emb.dtype).unsqueeze(-1)  # [L, 1]
    total = item_emb.cumsum(1)  # [B, L, D]
    recent = total.clone()
    recent[:, recent_k:] -= total[:, :-recent_k]
    return total / count, recent / count.clamp(max=recent_k)
