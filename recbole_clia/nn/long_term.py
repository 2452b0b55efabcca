"""Long-term interest: attention over the history by the user's own query."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Logits are bounded so that the weights of all prefixes can share one scale: e^(2 * 5) is far
# from overflow, and leaves any item 22,000 times the weight of any other.
LOGIT_BOUND = 5.0
ATTENTION = ("learnt", "mean")


class LongTermEncoder(nn.Module):
    """Attend to every prefix of a history by a query that does not move with time.

    The logit of an item depends on the item and the user only, ``a_j = <q_u, tanh(W x_j)>``, so
    the softmax over the prefix ``1..t`` is a ratio of two cumulative sums::

        long_t = sum_{j<=t} exp(a_j) x_j / sum_{j<=t} exp(a_j)

    and all prefixes cost as much as the longest one (the long-term attention of Zheng et al.,
    WWW 2022, equation 3, with its target-aware perceptron left out).  The query is one that all
    users share plus the user's own, which starts at zero: a user never seen has the shared one.

    Args:
        dim: size ``D`` of the item embeddings.
        n_users: rows of the table of user queries, row 0 being the unknown user; 0 for none.
        attention: ``"mean"`` gives every item the same weight, and leaves the queries out.

    Raises:
        ValueError: for another ``attention``.
    """

    def __init__(self, dim: int, n_users: int, attention: str = "learnt") -> None:
        super().__init__()
        if attention not in ATTENTION:
            raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, not {attention!r}")
        self.learnt = attention == "learnt"
        if not self.learnt:
            return
        self.key = nn.Linear(dim, dim)
        self.shared_query = nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.shared_query, std=dim**-0.5)
        self.user_query = nn.Embedding(n_users, dim, padding_idx=0) if n_users else None
        if self.user_query is not None:
            nn.init.zeros_(self.user_query.weight)

    def forward(self, items: Tensor, user: Tensor) -> Tensor:
        """
        Args:
            items: ``[B, L, D]`` right-padded histories.
            user: ``[B]`` integers below ``n_users``.

        Returns:
            ``[B, L, D]``; position ``t`` is the long-term interest of the prefix that ends there.
        """
        weight = self.weights(items, user).unsqueeze(-1)  # [B, L, 1]
        return (weight * items).cumsum(1) / weight.cumsum(1)  # [B, L, D]

    def weights(self, items: Tensor, user: Tensor) -> Tensor:
        """``exp(a_j)`` of each item, ``[B, L]``, whichever prefix it is in."""
        if not self.learnt:
            return items.new_ones(items.shape[:2])
        query = self.shared_query.expand(user.shape[0], -1)  # [B, D]
        if self.user_query is not None:
            query = query + self.user_query(user)  # [B, D]
        logit = torch.einsum("bld,bd->bl", torch.tanh(self.key(items)), query)  # [B, L]
        return (LOGIT_BOUND * torch.tanh(logit / LOGIT_BOUND)).exp()
