"""Trend: what everybody has had of late, at each moment of a log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# What is added to a count before its logarithm is taken.
PRIOR = 0.1
MEMORY = 256 << 20  # bytes of features


def moments(times: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Times that cut a log into at most ``number`` periods of about equally many interactions, the last one its end."""
    if not len(times):
        return np.zeros(1)
    return np.unique(np.quantile(times, np.linspace(0, 1, number + 1)[1:], method="lower"))


def recent_counts(
    times: NDArray[np.float64],
    items: NDArray[np.int64],
    item_num: int,
    ends: NDArray[np.float64],
    half_lives: Sequence[float],
) -> NDArray[np.float32]:
    """How often each item was had before each period, an interaction counting half after each half-life.

    Args:
        times, items: ``[T]`` of the interactions, in any order.
        item_num: ``I``.
        ends: ``[G]``, when each period ends; an interaction at an end belongs to that period.
        half_lives: in periods.

    Returns:
        ``[F, G + 1, I]``; what happens in a period counts from the next one on, so nothing is known before it
        happens.  The last one is the time after the log.
    """
    period = np.searchsorted(ends, times, side="left")  # [T]
    counts = np.zeros((len(half_lives), len(ends) + 1, item_num), dtype=np.float32)
    order = np.argsort(period, kind="stable")
    begin = np.searchsorted(period[order], np.arange(len(ends) + 1))
    totals = np.zeros((len(half_lives), item_num))
    decay = np.exp2(-1 / np.asarray(half_lives, dtype=np.float64))[:, None]  # [F, 1]
    for g in range(len(ends)):
        within = np.bincount(items[order[begin[g] : begin[g + 1]]], minlength=item_num)
        totals = totals * decay + within
        counts[:, g + 1] = totals
    return counts


class Trend(nn.Module):
    """Adds to every item's logit how popular it has lately been, by several memories of different length.

    The feature of an item is the logarithm of its recent count over the mean of all items', counted strictly before
    the row's period of the log; so no row knows what comes after it, and what is measured on held-out
    interactions is what a service would have had.  Each row weights the features by its state.  (Popularity at the time
    of the request: Ji et al., "A Re-visit of the Popularity Baseline in Recommender Systems", SIGIR 2020.)

    Args:
        state_size: size ``S`` of the state of the history.
        times, items: ``[T]`` of the training interactions.
        item_num: ``I``.
        periods: number of periods into which the log is cut, fewer where their features would take 256 MiB.
        half_lives: ``F`` of them, as parts of the log's interactions.

    Raises:
        ValueError: if ``periods`` is below 1, or a half-life is not positive.
    """

    ends: Tensor
    features: Tensor

    def __init__(
        self,
        state_size: int,
        times: NDArray[np.float64],
        items: NDArray[np.int64],
        item_num: int,
        periods: int,
        half_lives: Sequence[float],
    ) -> None:
        super().__init__()
        if periods < 1 or not half_lives or min(half_lives) <= 0:
            raise ValueError(f"trend needs a period and positive half-lives, not {periods} and {list(half_lives)}")
        periods = max(1, min(periods, MEMORY // (4 * item_num * len(half_lives))))
        ends = moments(times, periods)
        counts = recent_counts(times, items, item_num, ends, [len(ends) * part for part in half_lives])
        mean = counts[:, :, 1:].mean(2, keepdims=True)
        features = np.log((counts + PRIOR) / (mean + PRIOR))
        self.register_buffer("ends", torch.from_numpy(ends), persistent=False)
        self.register_buffer("features", torch.from_numpy(features), persistent=False)
        self._coarse: Tensor | None = None
        self.weight = nn.Linear(state_size, len(half_lives))
        nn.init.zeros_(self.weight.weight)
        nn.init.constant_(self.weight.bias, 1 / len(half_lives))

    def features_in(self, dtype: torch.dtype) -> Tensor:
        """The features ``[F, G, I]`` in coarser numbers, which are made once."""
        if dtype == self.features.dtype:
            return self.features
        if self._coarse is None or self._coarse.dtype != dtype or self._coarse.device != self.features.device:
            self._coarse = self.features.to(dtype)
        return self._coarse

    def forward(self, state: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            state: ``[N, S]``.
            now: ``[N]``, in the unit of the training interactions' times.

        Returns:
            ``(period [N], weight [N, F])``.
        """
        return torch.searchsorted(self.ends, now.to(self.ends.dtype)), self.weight(state)
