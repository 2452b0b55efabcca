"""Cut each user's log into windows, so that every training pair is trained once.

A log is the interactions of all users, user after user, each user's in order of time.  RecBole
trains one row per target: the target and the ``max_length`` items before it.  A window trains many
targets at once: the items ``log[start:end]`` are its inputs, and the item after each of them is a
target, where it has not been a target before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Windows ``log[start:end]`` of inputs, whose targets are ``log[first:end + 1]``.

    Attributes:
        start, end: ``[W]`` positions in the log; ``end`` is exclusive.
        first: ``[W]`` position of the first target; a target before it belongs to another window.
    """

    start: Ints
    end: Ints
    first: Ints

    def __len__(self) -> int:
        return len(self.start)

    @property
    def length(self) -> Ints:
        """``[W]`` number of inputs."""
        return self.end - self.start

    @property
    def span(self) -> Ints:
        """``[W]`` number of targets."""
        return self.end + 1 - self.first


def cut_windows(user_start: Ints, first_target: Ints, last_target: Ints, max_length: int, stride: int) -> Windows:
    """Windows over the targets ``first_target .. last_target`` of each user.

    The first window of a user holds up to ``max_length`` targets with all that is before them.
    Each further one holds up to ``stride`` new targets and reaches back as far as ``max_length``
    inputs allow, so that a target has at least ``max_length - stride + 1`` items of context, or all
    there are; with ``stride = 1`` a window is RecBole's row.

    Args:
        user_start: ``[U]`` position in the log of each user's first interaction.
        first_target, last_target: ``[U]`` first and last position to be trained as a target, both
            inclusive; ``first_target > user_start``, since a target needs an item before it.
        max_length: largest number of inputs, at least 1.
        stride: new targets of a further window, ``1 .. max_length``.

    Raises:
        ValueError: if ``max_length`` or ``stride`` is out of range.
    """
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, not {max_length}")
    if not 1 <= stride <= max_length:
        raise ValueError(f"stride must be in [1, {max_length}], not {stride}")
    targets = last_target + 1 - first_target  # [U]
    # The first window reaches max_length inputs, some of which are context only.
    in_first = np.clip(user_start + max_length + 1 - first_target, stride, targets)  # [U]
    further = -(-(targets - in_first) // stride)  # [U]
    count = 1 + further
    user = np.repeat(np.arange(len(targets)), count)  # [W]
    nth = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)  # [W], 0 for the first
    first = np.where(nth == 0, first_target[user], first_target[user] + in_first[user] + (nth - 1) * stride)
    end = np.where(nth == 0, first_target[user] + in_first[user] - 1, np.minimum(first + stride - 1, last_target[user]))
    start = np.maximum(user_start[user], end - max_length)
    return Windows(start, end, first)
