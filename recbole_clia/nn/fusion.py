"""Fusion: how much of each interest makes the user of this moment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InterestFusion(nn.Module):
    """``user = alpha * long + (1 - alpha) * short``, with alpha from what is at hand.

    Alpha is the sigmoid of a perceptron over both interests and the state of the history (Zheng
    et al., WWW 2022, equation 13, without the target).  Towards 1 the long-term interest decides.

    Args:
        dim: size ``D`` of the interests.
        state_size: size ``S`` of the state of the history.
        fixed_alpha: a weight in [0, 1] that takes the place of the perceptron.

    Raises:
        ValueError: if ``fixed_alpha`` is outside [0, 1].
    """

    def __init__(self, dim: int, state_size: int, fixed_alpha: float | None = None) -> None:
        super().__init__()
        if fixed_alpha is not None and not 0 <= fixed_alpha <= 1:
            raise ValueError(f"fixed_alpha must be in [0, 1], not {fixed_alpha}")
        self.fixed_alpha = fixed_alpha
        if fixed_alpha is None:
            self.gate = nn.Sequential(nn.Linear(state_size + 2 * dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, state: Tensor, long_interest: Tensor, short_interest: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            state: ``[..., S]``.
            long_interest, short_interest: ``[..., D]``.

        Returns:
            ``(user [..., D], log_weight [..., 2])``: the fused vector, and the logs of alpha and of 1 - alpha.
        """
        if self.fixed_alpha is not None:
            weight = torch.tensor([self.fixed_alpha, 1 - self.fixed_alpha], dtype=state.dtype, device=state.device)
            log_weight = weight.log().expand(*state.shape[:-1], 2)  # [..., 2]
        else:
            seen = torch.cat([state, long_interest, short_interest], -1)  # [..., S + 2D]
            logit = self.gate(seen)  # [..., 1]
            log_weight = F.logsigmoid(torch.cat([logit, -logit], -1))  # [..., 2]
        weight = log_weight.exp()
        return weight[..., :1] * long_interest + weight[..., 1:] * short_interest, log_weight
