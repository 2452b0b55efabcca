"""Dropout whose mask is cut from random bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SPARSE_DROPOUT, SPARSE = 0.5, 60.0  # the probability on a sparse log; up to so many training targets an item


def dropout_of(targets_per_item: float) -> float:
    """The dropout of a log: ``0.5 min(1, sqrt(60 / n))`` for ``n`` training targets per item.

    What an embedding has to remember by heart is the less, the more there is to learn it from; where items have
    hundreds of interactions a dropout of 0.5 only slows the learning (docs/decisions.md has what was measured).
    """
    return SPARSE_DROPOUT * (SPARSE / max(targets_per_item, SPARSE)) ** 0.5


class BitDropout(nn.Module):
    """Inverted dropout, with sixteen random bits an element instead of a random number.

    On a CPU torch draws each element of a mask from a generator of its own steps, which takes longer
    than the product it is for.  Here one 64-bit draw decides on four elements; the probability is
    rounded to a multiple of 2^-16.  Elsewhere it is torch's own dropout.

    Args:
        p: probability that an element is dropped, in [0, 1).

    Raises:
        ValueError: if ``p`` is outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability must be in [0, 1), not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of the shape of ``x``; ``x`` itself in evaluation mode."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)  # uniform in [-2^15, 2^15)
        dropped = min(round(self.p * 2**16), 2**16 - 1)  # of 2^16
        return x * (bits >= dropped - 2**15).to(x.dtype).mul_(2**16 / (2**16 - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p}"
