"""Bayesian personalised ranking, on vectors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BPRLoss(nn.Module):
    """Pairwise ranking loss: the positive should score above the negative.

    ``mean over rows of softplus(<anchor, neg> - <anchor, pos>)``, which is
    ``-log sigmoid(<anchor, pos> - <anchor, neg>)`` (Rendle et al., UAI 2009), written so
    that it neither overflows nor underflows.

    Shapes:
        anchor, pos, neg: ``[..., D]``, broadcastable against each other.
        returns: a scalar; exactly 0, with a live graph, when there is no row.

    Example:
        >>> import torch
        >>> anchor = torch.tensor([[1.0, 0.0]])
        >>> round(BPRLoss()(anchor, anchor, -anchor).item(), 4)   # softplus(-2)
        0.1269
    """

    def forward(self, anchor: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        pos_score = (anchor * pos).sum(-1)  # [...]
        neg_score = (anchor * neg).sum(-1)  # [...]
        losses = F.softplus(neg_score - pos_score)  # [...]
        return losses.mean() if losses.numel() else losses.sum()
