"""Short-term interest: a recurrence, and attention by the query that it evolves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .long_term import ATTENTION
from .recurrence import GatedLinearRecurrence

KINDS = ("linear", "gru")


class ShortTermEncoder(nn.Module):
    """Follow a history with a recurrence, and look back at it with each state as the query.

    ``h_t`` is the state after item ``t``; beside it stand the items that it attends to (the evolving
    query of Zheng et al., WWW 2022, equations 4 to 6)::

        c_t = sum_{j<=t} softmax_j(<W_q h_t, W_k x_j> / sqrt(D)) x_j
        short_t = [h_t ; c_t]    (given as two tensors)

    Args:
        dim: size ``D`` of the item embeddings.
        hidden_size: size ``H`` of the states.
        kind: ``"linear"`` for a gated linear recurrence, ``"gru"`` for a GRU.
        attention: ``"mean"`` gives every item of a prefix the same weight.

    Raises:
        ValueError: for another ``kind`` or ``attention``.

    Attributes:
        output_size: ``H + D``.
    """

    def __init__(self, dim: int, hidden_size: int, kind: str = "linear", attention: str = "learnt") -> None:
        super().__init__()
        if attention not in ATTENTION:
            raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, not {attention!r}")
        self.learnt = attention == "learnt"
        if kind not in KINDS:
            raise ValueError(f"short-term encoder must be one of {', '.join(KINDS)}, not {kind!r}")
        self.output_size = hidden_size + dim
        self.recurrence: nn.Module = (
            GatedLinearRecurrence(dim, hidden_size) if kind == "linear" else nn.GRU(dim, hidden_size, batch_first=True)
        )
        if self.learnt:
            self.query = nn.Linear(hidden_size, dim, bias=False)
            self.key = nn.Linear(dim, dim, bias=False)

    def forward(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            items: ``[B, L, D]`` right-padded histories.

        Returns:
            ``(h [B, L, H], c [B, L, D])``; position ``t`` never sees past ``t``.
        """
        state = self._state(items)  # [B, L, H]
        if not self.learnt:
            count = torch.arange(1, items.shape[1] + 1, device=items.device).unsqueeze(-1)  # [L, 1]
            return state, items.cumsum(1) / count
        recalled = F.scaled_dot_product_attention(
            self.query(state), self.key(items), items, is_causal=True
        )  # [B, L, D]
        return state, recalled

    def _state(self, items: Tensor) -> Tensor:
        state = self.recurrence(items)  # [B, L, H]
        if isinstance(state, tuple):  # a GRU also gives its last state
            state = state[0]
        return state

    def weights(self, items: Tensor, length: Tensor) -> Tensor:
        """What the last state of histories of ``length [B]`` pays to each item, ``[B, L]``."""
        is_item = torch.arange(items.shape[1], device=items.device) < length.unsqueeze(-1)
        if not self.learnt:
            return is_item.to(items.dtype) / length.unsqueeze(-1)
        index = (length - 1).view(-1, 1, 1)
        state = self._state(items)
        query = self.query(state.gather(1, index.expand(-1, 1, state.shape[-1])))  # [B, 1, D]
        logit = (query * self.key(items)).sum(-1) / items.shape[-1] ** 0.5  # [B, L]
        return logit.masked_fill(~is_item, -torch.inf).softmax(-1)
