"""Neighbours: what other people have had close to the items of a history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from tqdm import tqdm

FOLDS = 5  # of users, who are not among those whose histories they are trained with
SHRINK = 5.0  # added to an item's total closeness, so that a pair seen once is no certainty
GAIN = 100.0  # closeness is about 0.01 between related items; the logarithm bends there
MEMORY = 512 << 20  # bytes of tables
MOST = 5.0  # of the state's logarithm, far beyond what is learnt: no state may drown all else
PAIRS_AT_ONCE = 1 << 24  # counted together, in about 1 GiB

Integers = NDArray[np.int64]


def _pairs(user: Integers, item: Integers, distance: int) -> tuple[Integers, Integers]:
    """The different items that are so far apart in one history, the earlier and the later ones."""
    one, other = item[:-distance], item[distance:]
    apart = (user[:-distance] == user[distance:]) & (one != other)
    return one[apart], other[apart]


def totals(user: Integers, item: Integers, item_num: int, window: int) -> tuple[NDArray[np.float64], Integers]:
    """How close each item is to all others together (:func:`closeness`), and in how many pairs it is, ``[I]`` each."""
    close, number = np.zeros(item_num), np.zeros(item_num, dtype=np.int64)
    for distance in range(1, window + 1):
        for end in _pairs(user, item, distance):
            count = np.bincount(end, minlength=item_num)
            close += count / distance
            number += count
    return close, number


def closeness(user: Integers, item: Integers, item_num: int, window: int, rows: slice) -> sparse.csr_matrix:
    """How close items have been in histories: the sum of ``1 / distance`` over all pairs at most ``window`` apart.

    Args:
        user, item: ``[T]`` of the interactions, user after user, each in order of time.
        item_num: ``I``, above every item.
        window: largest distance.
        rows: the ``R`` items asked for, from ``start`` to ``stop``.

    Returns:
        ``[R, I]``, of a symmetric matrix; an item is no neighbour of itself.
    """
    shape = (rows.stop - rows.start, item_num)
    total = sparse.csr_matrix(shape, dtype=np.float32)
    for distance in range(1, window + 1):
        pair = _pairs(user, item, distance)
        for one, other in (pair, pair[::-1]):
            mine = (one >= rows.start) & (one < rows.stop)
            if mine.any():
                weight = np.full(int(mine.sum()), 1 / distance, dtype=np.float32)
                total = total + sparse.csr_matrix((weight, (one[mine] - rows.start, other[mine])), shape=shape)
    return total


def blocks(number: Integers) -> Iterator[slice]:
    """Consecutive items with about :data:`PAIRS_AT_ONCE` pairs together, from ``number [I]``, the pairs of each."""
    before = np.concatenate([[0], number.cumsum()])
    start = 0
    while start < len(number):
        stop = int(np.searchsorted(before, before[start] + PAIRS_AT_ONCE, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


def nearest(
    parts: Sequence[sparse.csr_matrix], close: NDArray[np.float64], rows: slice, kept: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest neighbours of each item, and how near they are::

        log(1 + 100 c_ij / sqrt((c_i + 5) (c_j + 5)))    with c_i = sum_j c_ij

    Args:
        parts: closeness ``[R, I]`` of the rows, in parts, which are added up.
        close: ``[I]``, each item's closeness to all others together.
        rows: the items asked for.
        kept: ``K``, neighbours of each item.

    Returns:
        Items and nearness, ``[R, K]`` each, the nearest first; 0 and 0 where there are fewer.
    """
    item = np.zeros((rows.stop - rows.start, kept), dtype=np.int32)
    near = np.zeros(item.shape, dtype=np.float32)
    pairs = sum(parts[1:], parts[0]).tocoo()
    row, column, size = pairs.row, pairs.col, SHRINK + close
    value = np.log1p(GAIN * pairs.data / np.sqrt(size[rows][row] * size[column]))
    # Row after row, the nearest first; a nearness is below log(101), and equally near ones stay in order of their ids.
    order = np.argsort(row - value.astype(np.float64) / 8, kind="stable")
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
        progress: whether a terminal is shown how far the counting is.

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
        user: Integers,
        item: Integers,
        item_num: int,
        window: int,
        kept: int,
        recent: int,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if min(window, kept, recent) < 1:
            raise ValueError(f"neighbours need a window, a number and items, not {window}, {kept} and {recent}")
        kept = max(1, min(kept, MEMORY // (8 * item_num * (FOLDS + 1))))
        of_fold = [(user[user % FOLDS == fold], item[user % FOLDS == fold]) for fold in range(FOLDS)]
        close, number = zip(*(totals(*own, item_num, window) for own in of_fold), strict=True)
        tables = [range(FOLDS), *([f for f in range(FOLDS) if f != own] for own in range(FOLDS))]  # the folds of each
        total = [np.sum([close[fold] for fold in folds], 0) for folds in tables]  # [I] each
        items = np.zeros((len(tables), item_num, kept), dtype=np.int32)
        near = np.zeros(items.shape, dtype=np.float32)
        todo = list(blocks(np.sum(number, 0)))
        for rows in tqdm(todo, desc="neighbours", unit="block", leave=False, disable=None if progress else True):
            parts = [closeness(*own, item_num, window, rows) for own in of_fold]
            for table, folds in enumerate(tables):
                found = nearest([parts[fold] for fold in folds], total[table], rows, kept)
                items[table, rows], near[table, rows] = found
        # Copies, since a file of weights would hold the whole of what they are a part of.
        self.register_buffer("item", torch.from_numpy(items[0].copy()))  # [I, K]
        self.register_buffer("near", torch.from_numpy(near[0].copy()))
        # Those of the folds are for training only, which has the data.
        self.register_buffer("fold_item", torch.from_numpy(items[1:]), persistent=False)  # [5, I, K]
        self.register_buffer("fold_near", torch.from_numpy(near[1:]), persistent=False)
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
