"""Spans of time, in steps of powers of two."""

from __future__ import annotations

from torch import Tensor, nn

GAP_STEPS = 32  # the last one is 68 years and more


def gap_step(seconds: Tensor) -> Tensor:
    """``floor(log2(1 + seconds))``, below :data:`GAP_STEPS`; a negative span counts as none."""
    return (seconds.clamp(min=0) + 1).log2().long().clamp(max=GAP_STEPS - 1)


class GapEmbedding(nn.Module):
    """A vector for each step of a span of time.

    Intervals as learnt vectors of clipped steps (Li et al., "Time Interval Aware Self-Attention for Sequential
    Recommendation", WSDM 2020); powers of two serve sessions of minutes and absences of years alike.

    Args:
        dim: size ``D`` of the vectors.
        std: standard deviation of the normal distribution that they start from.
    """

    def __init__(self, dim: int, std: float) -> None:
        super().__init__()
        self.vector = nn.Embedding(GAP_STEPS, dim)
        nn.init.normal_(self.vector.weight, std=std)

    def forward(self, seconds: Tensor) -> Tensor:
        """``[...]`` seconds ``-> [..., D]``."""
        embedded: Tensor = self.vector(gap_step(seconds))
        return embedded
