"""Short-term interest: a recurrent encoder, and attention by the query that it evolves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ShortTermEncoder(nn.Module):
    """Follow a history with a GRU, and look back at it with each of its states as the query.

    ``h_t`` is the state after item ``t``; the interest is read from the state and from the items
    that it attends to (the evolving query of Zheng et al., WWW 2022, equations 4 to 6)::

        c_t = sum_{j<=t} softmax_j(<W_q h_t, W_k x_j> / sqrt(D)) x_j
        short_t = W_o [h_t ; c_t]

    Args:
        dim: size ``D`` of the item embeddings.
        hidden_size: size ``H`` of the states.
    """

    def __init__(self, dim: int, hidden_size: int) -> None:
        super().__init__()
        self.recurrence = nn.GRU(dim, hidden_size, batch_first=True)
        self.query = nn.Linear(hidden_size, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(hidden_size + dim, dim)

    def forward(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            items: ``[B, L, D]`` right-padded histories.

        Returns:
            ``(interest [B, L, D], state [B, L, H])``; position ``t`` never sees past ``t``.
        """
        state, _ = self.recurrence(items)  # [B, L, H]
        recalled = F.scaled_dot_product_attention(self.query(state), self.key(items), items, is_causal=True)  # [B, L, D]
        return self.output(torch.cat([state, recalled], -1)), state  # [B, L, D], [B, L, H]
