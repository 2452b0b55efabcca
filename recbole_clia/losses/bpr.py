"""Bayesian personalised ranking, on vectors or on scores."""

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
        return self.of_scores((anchor * pos).sum(-1), (anchor * neg).sum(-1))

    @staticmethod
    def of_scores(positive: Tensor, negative: Tensor, usable: Tensor | None = None) -> Tensor:
        """The same from scores ``[...]``; with ``usable``, a boolean ``[...]``, over those pairs only."""
        return _mean(F.softplus(negative - positive), usable)

    @staticmethod
    def of_mixture(positive: Tensor, negative: Tensor, log_weight: Tensor, usable: Tensor | None = None) -> Tensor:
        """``-log sum_k w_k sigmoid(positive_k - negative_k)``: each part ranks the pair, and the parts are mixed.

        Args:
            positive: ``[K, N, 1]``; negative: ``[K, N, n]``, scores of the parts.
            log_weight: ``[N, K]``, logs of weights that add up to 1; one part alone is :meth:`of_scores`.
            usable: boolean ``[N, n]``, the pairs that count; all, if not given.
        """
        joint = F.logsigmoid(positive - negative) + log_weight.T.unsqueeze(-1)  # [K, N, n]
        return _mean(-joint.logsumexp(0), usable)


def _mean(losses: Tensor, usable: Tensor | None) -> Tensor:
    if usable is not None:
        return losses.where(usable, 0.0).sum() / usable.sum().clamp(min=1)
    return losses.mean() if losses.numel() else losses.sum()
