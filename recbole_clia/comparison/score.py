"""Where a trained model puts the item of each test row, and what each row is worth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .record import COLUMNS, Rows

Floats = NDArray[np.float64]

# A user needs three interactions for a test row: RecBole's general models would test one with two.
FEWEST = 3


def row_metrics(rank: NDArray[np.int64]) -> dict[str, Floats]:
    """NDCG@10, Hit@10, MRR@10 and Recall@20 of rows with one relevant item, at ``rank`` from 1; ``[T]`` each."""
    rank = rank.astype(np.float64)
    in_ten = rank <= 10
    return {
        "NDCG@10": np.where(in_ten, 1 / np.log2(rank + 1), 0.0),
        "Hit@10": in_ten.astype(np.float64),
        "MRR@10": np.where(in_ten, 1 / rank, 0.0),
        "Recall@20": (rank <= 20).astype(np.float64),
    }


def mean_of_users(runs: Sequence[Rows], column: str = "rank") -> dict[int, float]:
    """NDCG@10 of each user, by the ranks of a column: the mean over the runs that have the user."""
    values: dict[int, list[float]] = defaultdict(list)
    for rows in runs:
        of_rows = row_metrics(rows[:, COLUMNS.index(column)])["NDCG@10"]
        for user, value in zip(rows[:, COLUMNS.index("user")].tolist(), of_rows.tolist(), strict=True):
            values[user].append(value)
    return {user: float(np.mean(each)) for user, each in values.items()}


def ranks(scores: Tensor, row: Tensor, item: Tensor, top: int) -> Tensor:
    """The rank from 1 of ``item [T]`` in ``scores[row [T]]``, of ``scores [B, I]``.

    Among the first ``top`` items ties are as ``torch.topk`` has them, and RecBole counts them; further down an item
    stands behind all that score above it, and never among the first ``top``.
    """
    first = scores.topk(min(top, scores.shape[1]), dim=1).indices[row]  # [T, K]
    found = first == item.unsqueeze(1)
    own = scores[row, item].unsqueeze(1)
    above = (scores[row] > own).sum(1)
    return torch.where(found.any(1), found.int().argmax(1) + 1, (above + 1).clamp(min=first.shape[1] + 1))


class Histories:
    """All interactions of each user, the target of a test row among them.

    Args:
        user: of each interaction, ``[N]``.
        item: likewise.
        users: number of user ids.
    """

    def __init__(self, user: NDArray[np.int64], item: NDArray[np.int64], users: int) -> None:
        self.size = np.bincount(user, minlength=users)
        self._item = item[user.argsort(kind="stable")]
        self._start = np.concatenate([[0], self.size.cumsum()])

    def of(self, user: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The items of ``user [T]``, one after the other, and the place of the user of each; ``[M]`` both."""
        size = self.size[user]
        place = np.repeat(np.arange(len(user)), size)
        within = np.arange(len(place)) - np.repeat(size.cumsum() - size, size)
        return torch.from_numpy(self._item[self._start[user][place] + within]), torch.from_numpy(place)


def hidden_ranks(
    scores: Tensor, row: Tensor, item: Tensor, top: int, had: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Like :func:`ranks`, with the items of each row's history out of the ranking; overwrites ``scores``.

    Args:
        had: items of the rows' users and the row of each (:meth:`Histories.of`), the target of a row once among them.

    Returns:
        The ranks ``[T]``, and whether the target is an item of the history ``[T]``; such a one stands behind all items.
    """
    every = torch.arange(len(row), device=scores.device)
    if not torch.equal(row, every):
        scores = scores[row]
    items, place = (column.to(scores.device) for column in had)
    repeat = torch.bincount(place[items == item[place]], minlength=len(row)) > 1
    own = scores[every, item].clone()
    scores[place, items] = -torch.inf
    scores[every, item] = torch.where(repeat, -torch.inf, own)
    last = torch.full_like(item, max(scores.shape[1], top + 1))
    return torch.where(repeat, last, ranks(scores, every, item, top)), repeat


@torch.no_grad()
def scored_batches(config: Any, model: Any, dataset: Any, loader: Any) -> Iterator[tuple[Any, Tensor, Tensor, Tensor]]:
    """The batches of a full-sort loader with the scores ``[B, I]`` that RecBole ranks by.

    With each come the row ``[T]`` and the item ``[T]`` of every target.
    """
    from recbole.utils import get_trainer

    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.tot_item_num = dataset.item_num
    if trainer.item_tensor is None:
        trainer.item_tensor = loader._dataset.get_item_feature().to(trainer.device)
    model.eval()
    for batch in loader:
        interaction, scores, row, item = trainer._full_sort_batch_eval(batch)
        yield interaction, scores, row.to(scores.device), item.to(scores.device)


def rank_test_set(config: Any, model: Any, dataset: Any, loader: Any) -> tuple[Rows, int]:
    """The rows of the test set in the form of :data:`COLUMNS`, in order of the users' tokens.

    Users and items are numbered in order of their tokens, so that rows of different models match.  ``history`` is the
    number of the user's interactions before the target, and ``popularity`` that of the item's interactions outside
    of the test set.  ``hidden_rank`` is the rank once the items of the history are out of the ranking, and behind all
    items where the target is one of them, which ``repeat`` says by 1.

    Returns:
        The rows, and how many were left out as their user has fewer than three interactions.
    """
    of_user, of_item = (column(dataset, config[f"{name}_ID_FIELD"]) for name in ("USER", "ITEM"))
    had = Histories(of_user, of_item, dataset.user_num)
    top = max(config["topk"])
    found = []
    for interaction, scores, row, item in scored_batches(config, model, dataset, loader):
        user = interaction[config["USER_ID_FIELD"]].cpu()[row.cpu()]
        place = ranks(scores, row, item, top)
        hidden, repeat = hidden_ranks(scores, row, item, top, had.of(user.numpy()))
        found.append([part.cpu() for part in (user, item, place, hidden, repeat)])
    users, items, *ranked = (torch.cat(part).numpy().astype(np.int64) for part in zip(*found, strict=True))
    popularity = np.bincount(of_item, minlength=dataset.item_num)
    kept = had.size[users] >= FEWEST
    popularity -= np.bincount(items[kept], minlength=dataset.item_num)
    columns = {
        "user": _by_token(dataset, config["USER_ID_FIELD"])[users],
        "item": _by_token(dataset, config["ITEM_ID_FIELD"])[items],
        "history": had.size[users] - 1,
        "popularity": popularity[items],
        **dict(zip(("rank", "hidden_rank", "repeat"), ranked, strict=True)),
    }
    rows = np.stack([columns[name].astype(np.int64) for name in COLUMNS], axis=1)[kept]
    return rows[rows[:, 0].argsort(kind="stable")], int((~kept).sum())


def column(dataset: Any, field: str) -> NDArray[np.int64]:
    """A column of all interactions, whatever the class of the dataset."""
    log = getattr(dataset, "log", None)
    values = log.columns[field] if log is not None else dataset.inter_feat[field]
    return np.asarray(values.numpy())


def _by_token(dataset: Any, field: str) -> NDArray[np.int64]:
    """For each id of a field the place of its token among all, from 1."""
    tokens = np.asarray(dataset.field2id_token[field][1:]).astype(str)
    place = np.zeros(len(tokens) + 1, dtype=np.int64)
    place[1 + tokens.argsort(kind="stable")] = np.arange(1, len(tokens) + 1)
    return place


def means(rows: Rows, column: str) -> dict[str, float]:
    """The metrics of all rows together, by the ranks of a column."""
    metrics = row_metrics(rows[:, COLUMNS.index(column)])
    return {name: float(values.mean()) for name, values in metrics.items()}


def differences(rows: Rows, reported: Mapping[str, float]) -> dict[str, float]:
    """How far RecBole's own figures of the test set are from those of the rows."""
    return {name: abs(float(reported[name.lower()]) - mean) for name, mean in means(rows, "rank").items()}
