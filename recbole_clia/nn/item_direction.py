"""Items as directions: how long an item's embedding is says nothing about who wants it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ItemDirection(nn.Module):
    """The direction of each embedding, times one learnt scale that all items share, which starts at 1::

        i = scale e_i / |e_i|

    With an inner product frequent items grow long embeddings, and win wherever nothing else is known (Gupta et al.,
    "NISER: Normalized Item and Session Representations to Handle Popularity Bias", 2019).  An embedding of zeros, such
    as the padding's, stays zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, embedding: Tensor) -> Tensor:
        """``[..., D] -> [..., D]``."""
        return self.scale * F.normalize(embedding, dim=-1)
