"""Repetition: what having had an item says about having it again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .gaps import GAP_STEPS, gap_step
from .rows import look_up

LAG_STEPS = 16
# The logit of an item that nobody has twice goes far down; steps of Adam are of the size of its learning rate.
SCALE = 8.0


class SeenItems(NamedTuple):
    """The items of N prefixes, each once."""

    item: Tensor  # [N, L], 0 where there is none
    lag: Tensor  # [N, L] interactions since the item's last one, from 0
    seconds: Tensor  # [N, L] since then


def next_occurrence(items: Tensor) -> Tensor:
    """Column in which the item of each column is next, or ``L``, for ``items [B, L]``."""
    width = items.shape[1]
    ordered, column = items.sort(dim=1, stable=True)  # [B, L] each
    following = torch.full_like(column, width)
    following[:, :-1] = torch.where(ordered[:, 1:] == ordered[:, :-1], column[:, 1:], width)
    return torch.empty_like(column).scatter(1, column, following)


def seen_items(items: Tensor, index: Tensor, times: Tensor, now: Tensor) -> SeenItems:
    """The items of chosen prefixes, and how long ago each was last there.

    Args:
        items: ``[B, L]`` right-padded histories.
        index: ``[N]``, the positions where the prefixes end, in the flattened ``[B, L]``.
        times: ``[B, L]`` seconds.
        now: ``[N]`` seconds.
    """
    width = items.shape[1]
    row = index // width  # [N]
    lag = (index - row * width).unsqueeze(1) - torch.arange(width, device=items.device)  # [N, L]
    following = next_occurrence(items).index_select(0, row)  # [N, L]
    counts = (lag >= 0) & (following > (index - row * width).unsqueeze(1))  # [N, L]
    item = items.index_select(0, row).where(counts, index.new_zeros(()))
    return SeenItems(item, lag.clamp(min=0), now.unsqueeze(1) - times.index_select(0, row))


def lag_step(lag: Tensor) -> Tensor:
    """0 to 7 as they are, and steps of powers of two beyond, below :data:`LAG_STEPS`."""
    further = lag.clamp(min=1).float().log2().long() + 5
    return lag.where(lag < 8, further).clamp(max=LAG_STEPS - 1)


class RepeatOffsets(nn.Module):
    """A score that an item of the history has for having been there, beside that of its embedding.

    It depends on how many interactions and how much time ago the item was last there, and on the state of the history::

        offset_j = 8 (lag[step(t - j)] + gap[step(now - time_j)] + <w, state> + b)

    and starts at 0.  Where nobody has an item twice it becomes far negative, and the whole score is left to the items
    that can still be had; where people come back to things it says to which.  It is the repeat mode of Ren et al.
    ("RepeatNet", AAAI 2019) as an addition to the logits.

    Args:
        state_size: size ``S`` of the state of the history.
    """

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.of_lag = nn.Parameter(torch.zeros(LAG_STEPS))
        self.of_gap = nn.Parameter(torch.zeros(GAP_STEPS))
        self.of_state = nn.Linear(state_size, 1)
        for parameter in self.of_state.parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: SeenItems, state: Tensor) -> Tensor:
        """Offsets ``[N, L]`` of the items seen, 0 where there is none.

        Args:
            seen: the items.
            state: ``[N, S]``.
        """
        of_time = look_up(self.of_lag, lag_step(seen.lag)) + look_up(self.of_gap, gap_step(seen.seconds))  # [N, L]
        return SCALE * (of_time + self.of_state(state)) * (seen.item > 0)
