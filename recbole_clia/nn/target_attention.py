"""CLSR's attention of queries over a history, in the form that many targets on one history can afford."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .mlp import BatchNormMLP, linear


class TargetAttention(nn.Module):
    """Weights of a history's values under a query, by a perceptron on their combination.

    With ``A = V W``, the score of each value is ``MLP([A ; q ; A - q ; A * q])``, a softmax over the history
    makes the weights, and the output is the weighted sum of ``V``, not of ``A`` (Zheng et al., WWW 2022,
    equations 2 to 5, and the published code).

    A query is ``[own ; target]``: the user's part, and that of a candidate.  The perceptron's first layer is
    linear in its input, so it is computed as ``A (W1 + W3) + q (W2 - W3) + (A * q) W4``, each part once for
    what it depends on.

    Args:
        values: size of a value.
        own, target: sizes of the two parts of a query; either may be 0.
        hidden: layers of the perceptron.

    Shapes:
        values: ``[B, L, values]``; mask: boolean ``[B, L]``, true where there is an item; each history needs one.
        own: ``[B, own]``; target: ``[B, G, target]``, or ``[G, target]`` for the same candidates in each row.
        returns: the outputs ``[B, G, values]`` and the weights ``[B, G, L]``, with ``G = 1`` without a target.
    """

    def __init__(self, values: int, own: int, target: int = 0, hidden: tuple[int, int] = (80, 40)) -> None:
        super().__init__()
        self.own, self.hidden = own, hidden[0]
        self.projection = linear(values, own + target, None)
        self.mlp = BatchNormMLP(4 * (own + target), hidden)

    def forward(self, values: Tensor, own: Tensor, target: Tensor | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        projected = self.projection(values)  # [B, L, Q]
        first: nn.Linear = self.mlp.linears[0]  # type: ignore[assignment]
        w_value, w_query, w_gap, w_product = first.weight.chunk(4, dim=1)  # [H, Q] each
        w_query = w_query - w_gap
        n = self.own
        row = projected @ (w_value + w_gap).T + first.bias  # [B, L, H]
        if n:
            row = row + (own @ w_query[:, :n].T).unsqueeze(1)
            row = row + (projected[..., :n] * own.unsqueeze(1)) @ w_product[:, :n].T
        hidden = row.unsqueeze(1)  # [B, 1, L, H]
        if target is not None:
            pair = self._pairs(projected[..., n:], target, w_product[:, n:])  # [B, G, L, H]
            hidden = hidden + pair + (target @ w_query[:, n:].T).unsqueeze(-2)
        score = self.mlp.after_first(hidden)  # [B, G, L]
        weight = score.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(-1)  # [B, G, L]
        return weight @ values, weight

    @staticmethod
    def _pairs(projected: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """``(A * e) W`` of every value and candidate, ``[B, G, L, H]``."""
        if target.dim() == 3:
            return (projected.unsqueeze(1) * target.unsqueeze(2)) @ weight.T
        # One product for all candidates, [B, L H, E] x [E, G], without the pairs' own inputs.
        rows, length, _ = projected.shape
        of_value = (projected.unsqueeze(2) * weight).view(rows, -1, weight.shape[1])  # [B, L H, E]
        return (target @ of_value.transpose(1, 2)).view(rows, len(target), length, -1)
