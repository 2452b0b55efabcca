"""Trend: what everybody has had of late, at each moment of a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# What is added to a count before its logarithm is taken.
PRIOR = 0.1
MEMORY = 256 << 20  # bytes of features
KEPT = ("ends", "period", "item", "count")


def moments(times: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Times that cut a log into at most ``number`` periods of about equally many interactions, the last one its end."""
    if not len(times):
        return np.zeros(1)
    return np.unique(np.quantile(times, np.linspace(0, 1, number + 1)[1:], method="lower"))


def occurrences(
    times: NDArray[np.float64], items: NDArray[np.int64], item_num: int, ends: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How often each item was had in each period, in order of the periods: ``(period, item, count)``, ``[C]`` each.

    Args:
        times, items: ``[T]`` of the interactions, in any order.
        item_num: above every item.
        ends: ``[G]``, when each period ends; an interaction at an end belongs to that period.
    """
    pair = np.searchsorted(ends, times, side="left") * item_num + items  # [T]
    pair, count = np.unique(pair, return_counts=True)  # [C] each
    return pair // item_num, pair % item_num, count


def recent_counts(
    period: NDArray[np.int64],
    item: NDArray[np.int64],
    count: NDArray[np.int64],
    item_num: int,
    periods: int,
    half_lives: Sequence[float],
) -> NDArray[np.float32]:
    """How often each item was had before each period, an interaction counting half after each half-life.

    Args:
        period, item, count: ``[C]``, in order of the periods: how often an item was had in a period.
        item_num: ``I``.
        periods: ``G``.
        half_lives: ``F`` of them, in periods.

    Returns:
        ``[F, G + 1, I]``; what happens in a period counts from the next one on, so nothing is known before it
        happens.  The last one is the time after the log.
    """
    counts = np.zeros((len(half_lives), periods + 1, item_num), dtype=np.float32)
    begin = np.searchsorted(period, np.arange(periods + 1))
    totals = np.zeros((len(half_lives), item_num))
    decay = np.exp2(-1 / np.asarray(half_lives, dtype=np.float64))[:, None]  # [F, 1]
    for g in range(periods):
        within = slice(begin[g], begin[g + 1])
        totals *= decay
        totals[:, item[within]] += count[within]
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
    period: Tensor
    item: Tensor
    count: Tensor
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
        self.item_num, self.half_lives = item_num, list(half_lives)
        ends = moments(times, max(1, min(periods, MEMORY // (4 * item_num * len(half_lives)))))
        # The features take much more memory than what they come from, which is kept with the weights.
        self.register_buffer("ends", torch.from_numpy(ends))
        for name, values in zip(KEPT[1:], occurrences(times, items, item_num, ends), strict=True):
            self.register_buffer(name, torch.from_numpy(values.astype(np.int32)))
        self.weight = nn.Linear(state_size, len(half_lives))
        nn.init.zeros_(self.weight.weight)
        nn.init.constant_(self.weight.bias, 1 / len(half_lives))
        self._make_features()

    def _make_features(self) -> None:
        period, item, count = (getattr(self, name).cpu().numpy().astype(np.int64) for name in KEPT[1:])
        number = len(self.ends)
        lives = [number * part for part in self.half_lives]
        counts = recent_counts(period, item, count, self.item_num, number, lives)
        mean = counts[:, :, 1:].mean(2, keepdims=True)
        features = torch.from_numpy(np.log((counts + PRIOR) / (mean + PRIOR)))
        self.register_buffer("features", features.to(self.weight.weight), persistent=False)
        self._coarse: Tensor | None = None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        for name in KEPT:
            if prefix + name in state_dict:  # of another size, where the model was made without data
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.ends.device))
        super()._load_from_state_dict(state_dict, prefix, *others)
        self._make_features()

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
