"""Neighbours: what other people have had close to the items of a history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

FOLDS = 5  # of users, who are not among those whose histories they are trained with
SHRINK = 5.0  # added to an item's total closeness, so that a pair seen once is no certainty
GAIN = 100.0  # closeness is about 0.01 between related items; the logarithm bends there
MEMORY = 512 << 20  # bytes of tables
MOST = 5.0  # of the state's logarithm, far beyond what is learnt: no state may drown all else
SORTED_AT_ONCE = 1 << 22  # pairs


def closeness(user: NDArray[np.int64], item: NDArray[np.int64], item_num: int, window: int) -> sparse.csr_matrix:
    """How close items have been in histories: the sum of ``1 / distance`` over all pairs at most ``window`` apart.

    Args:
        user, item: ``[T]`` of the interactions, user after user, each in order of time.
        item_num: ``I``, above every item.
        window: largest distance.

    Returns:
        ``[I, I]``, symmetric; an item is no neighbour of itself.
    """
    total = sparse.csr_matrix((item_num, item_num), dtype=np.float32)
    for distance in range(1, window + 1):
        one, other = item[:-distance], item[distance:]
        pair = (user[:-distance] == user[distance:]) & (one != other)
        if pair.any():
            weight = np.full(int(pair.sum()), 1 / distance, dtype=np.float32)
            total = total + sparse.csr_matrix((weight, (one[pair], other[pair])), shape=total.shape)
    return sparse.csr_matrix(total + total.T)


def _blocks(pointer: NDArray[np.int64]) -> Iterator[slice]:
    """Rows, a few million elements at a time, of ``pointer [I + 1]``, the elements before each row."""
    start = 0
    while start < len(pointer) - 1:
        end = int(np.searchsorted(pointer, pointer[start] + SORTED_AT_ONCE, side="right")) - 1
        end = max(end, start + 1)
        yield slice(start, end)
        start = end


def nearest(parts: Sequence[sparse.csr_matrix], kept: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest neighbours of each item, and how near they are::

        log(1 + 100 c_ij / sqrt((c_i + 5) (c_j + 5)))    with c_i = sum_j c_ij

    Args:
        parts: closeness ``[I, I]`` in parts, which are added up.
        kept: ``K``, neighbours of each item.

    Returns:
        Items and nearness, ``[I, K]`` each, the nearest first; 0 and 0 where there are fewer.
    """
    size = SHRINK + np.sum([np.asarray(part.sum(1)).ravel() for part in parts], axis=0)  # [I]
    pairs = np.stack([part.indptr for part in parts]).astype(np.int64).sum(0)  # [I + 1], before each row
    item = np.zeros((len(size), kept), dtype=np.int32)
    near = np.zeros((len(size), kept), dtype=np.float32)
    for rows in _blocks(pairs):
        block = sum((part[rows] for part in parts[1:]), parts[0][rows]).tocoo()
        row, column = block.row + rows.start, block.col
        value = np.log1p(GAIN * block.data / np.sqrt(size[row] * size[column]))
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        first = rank < kept
        item[row[first], rank[first]], near[row[first], rank[first]] = column[first], value[first]
    return item, near


class Neighbours(nn.Module):
    """Adds to the logit of an item how close it has been to the last items of the history, in the histories of others.

    Each of the last M items of a history passes to its K nearest neighbours, by the training interactions::

        exp(<w, state>) lag_m near(item_m, neighbour)

    with a learnt weight of each place m, and of the state.  It is the nearest-neighbour model of Sarwar et al.
    ("Item-Based Collaborative Filtering", WWW 2001) inside the model that is trained, with pairs weighted by their
    distance as in the sequential rules of Ludewig and Jannach ("Evaluation of Session-Based Recommendation
    Algorithms", UMUAI 2018), but in both directions.

    A history is close to itself: what a model is trained to say would be known to it.  So users are in five folds, and
    one that is trained meets the neighbours that the other four folds give.  Ranking knows those of all training data.

    Args:
        state_size: size ``S`` of the state of the history.
        user, item: ``[T]`` of the training interactions, user after user, each in order of time.
        item_num: ``I``.
        window: how far apart two items of a history are close.
        kept: neighbours ``K`` of each item, fewer where their tables would take 512 MiB.
        recent: ``M``, last items of the history that have neighbours.

    Raises:
        ValueError: if ``window``, ``kept`` or ``recent`` is below 1.
    """

    item: Tensor
    near: Tensor
    fold_item: Tensor
    fold_near: Tensor

    def __init__(
        self,
        state_size: int,
        user: NDArray[np.int64],
        item: NDArray[np.int64],
        item_num: int,
        window: int,
        kept: int,
        recent: int,
    ) -> None:
        super().__init__()
        if min(window, kept, recent) < 1:
            raise ValueError(f"neighbours need a window, a number and items, not {window}, {kept} and {recent}")
        kept = max(1, min(kept, MEMORY // (8 * item_num * (FOLDS + 1))))
        of_fold = [user % FOLDS == fold for fold in range(FOLDS)]
        parts = [closeness(user[mine], item[mine], item_num, window) for mine in of_fold]
        others = [[part for part in parts if part is not own] for own in parts]
        items, near = zip(*(nearest(some, kept) for some in (parts, *others)), strict=True)
        self.register_buffer("item", torch.from_numpy(items[0]))  # [I, K]
        self.register_buffer("near", torch.from_numpy(near[0]))
        # Those of the folds are for training only, which has the data.
        self.register_buffer("fold_item", torch.from_numpy(np.stack(items[1:])), persistent=False)  # [5, I, K]
        self.register_buffer("fold_near", torch.from_numpy(np.stack(near[1:])), persistent=False)
        self.of_lag = nn.Parameter(0.4 * 0.8 ** torch.arange(recent))
        self.of_state = nn.Linear(state_size, 1)
        for parameter in self.of_state.parameters():
            nn.init.zeros_(parameter)

    def forward(self, items: Tensor, index: Tensor, user: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours of chosen prefixes, and what their logits have for it; one of several items comes several times.

        Args:
            items: ``[B, L]`` right-padded histories.
            index: ``[N]``, the positions where the prefixes end, in the flattened ``[B, L]``.
            user: ``[B]`` integers.
            state: ``[N, S]``.

        Returns:
            ``(item [N, M K], value [N, M K])``; 0 and 0 where there is none.
        """
        row = index // items.shape[1]  # [N]
        column = (index - row * items.shape[1]).unsqueeze(1) - torch.arange(len(self.of_lag), device=index.device)
        last = items[row.unsqueeze(1), column.clamp(min=0)] * (column >= 0)  # [N, M]
        if self.training:
            fold = (user % FOLDS).index_select(0, row).unsqueeze(1)  # [N, 1]
            item, near = self.fold_item[fold, last], self.fold_near[fold, last]  # [N, M, K] each
        else:
            item, near = self.item[last], self.near[last]
        weight = self.of_lag * self.of_state(state).clamp(-MOST, MOST).exp()  # [N, M]
        return item.long().flatten(1), (near * weight.unsqueeze(-1)).flatten(1)
