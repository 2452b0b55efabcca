"""Keep the two embeddings of a user apart."""

from __future__ import annotations

from torch import Tensor


def discrepancy_loss(long: Tensor, short: Tensor, bound: float | None = None) -> Tensor:
    """Minus the mean squared difference of the users' long- and short-term embeddings.

    As published it has no lower bound, so that it can be won by letting the tables grow; with ``bound`` there
    is nothing to win beyond it.

    Args:
        long, short: ``[U, D]``, one row for each distinct user.
        bound: largest mean that is rewarded.
    """
    gap = ((long - short) ** 2).mean()
    return -gap if bound is None else -gap.clamp(max=bound)
