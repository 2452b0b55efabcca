"""Repetition: what having had an item says about having it again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .gaps import GAP_STEPS, gap_step
from .rows import look_up

NUMBER_STEPS = 16
# The logit of an item that nobody has twice goes far down; steps of Adam are of the size of its learning rate.
SCALE = 8.0


class SeenItems(NamedTuple):
    """The items of N prefixes, each once."""

    item: Tensor  # [N, L], 0 where there is none
    lag: Tensor  # [N, L] interactions since the item's last one, from 0
    seconds: Tensor  # [N, L] since then
    before: Tensor  # [N, L] times that it was there before then


def occurrences(items: Tensor) -> tuple[Tensor, Tensor]:
    """How often the item of each column was there before, and the column where it is next, or ``L``.

    Args:
        items: ``[B, L]``.

    Returns:
        ``[B, L]`` each.
    """
    width = items.shape[1]
    ordered, column = items.sort(dim=1, stable=True)  # [B, L] each
    same = ordered[:, 1:] == ordered[:, :-1]
    following = torch.full_like(column, width)
    following[:, :-1] = torch.where(same, column[:, 1:], width)
    place = torch.arange(width, device=items.device).expand_as(column)
    first = place.clone()
    first[:, 1:].masked_fill_(same, 0)
    before = place - first.cummax(1).values
    back = torch.empty_like(column)
    return back.scatter(1, column, before), back.scatter(1, column, following)


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
    before, following = (found.index_select(0, row) for found in occurrences(items))  # [N, L] each
    counts = (lag >= 0) & (following > (index - row * width).unsqueeze(1))  # [N, L]
    item = items.index_select(0, row).where(counts, index.new_zeros(()))
    return SeenItems(item, lag.clamp(min=0), now.unsqueeze(1) - times.index_select(0, row), before)


def number_step(number: Tensor) -> Tensor:
    """0 to 7 as they are, and steps of powers of two beyond, below :data:`NUMBER_STEPS`."""
    further = number.clamp(min=1).float().log2().long() + 5
    return number.where(number < 8, further).clamp(max=NUMBER_STEPS - 1)


class RepeatOffsets(nn.Module):
    """A score that an item of the history has for having been there, beside that of its embedding.

    It depends on how many interactions and how much time ago the item was last there, on how often it was there before
    that, and on the state of the history::

        offset_j = 8 (lag[step(t - j)] + gap[step(now - time_j)] + before[step(n_j)] + <w, state> + b)

    with ``before[0] = 0``, and starts at 0.  Where nobody has an item twice it becomes far negative, and the whole
    score is left to the items that can still be had; where people come back to things it says to which.  It is the
    repeat mode of Ren et al. ("RepeatNet", AAAI 2019) as an addition to the logits.

    Args:
        state_size: size ``S`` of the state of the history.
    """

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.of_lag = nn.Parameter(torch.zeros(NUMBER_STEPS))
        self.of_gap = nn.Parameter(torch.zeros(GAP_STEPS))
        self.of_before = nn.Parameter(torch.zeros(NUMBER_STEPS - 1))  # once is what lag and gap speak of
        self.of_state = nn.Linear(state_size, 1)
        for parameter in self.of_state.parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: SeenItems, state: Tensor) -> Tensor:
        """Offsets ``[N, L]`` of the items seen, 0 where there is none.

        Args:
            seen: the items.
            state: ``[N, S]``.
        """
        of_time = look_up(self.of_lag, number_step(seen.lag)) + look_up(self.of_gap, gap_step(seen.seconds))  # [N, L]
        of_before = look_up(nn.functional.pad(self.of_before, (1, 0)), number_step(seen.before))  # [N, L]
        return SCALE * (of_time + of_before + self.of_state(state)) * (seen.item > 0)
