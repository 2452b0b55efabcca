"""Where a trained model puts the item of each test row, and what each row is worth."""

from __future__ import annotations

from collections.abc import Mapping
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


@torch.no_grad()
def rank_test_set(config: Any, model: Any, dataset: Any, loader: Any) -> tuple[Rows, int]:
    """The rows of the test set in the form of :data:`COLUMNS`, in order of the users' tokens.

    Users and items are numbered in order of their tokens, so that rows of different models match.  ``history`` is the
    number of the user's interactions before the target, and ``popularity`` that of the item's interactions outside
    of the test set.

    Returns:
        The rows, and how many were left out as their user has fewer than three interactions.
    """
    from recbole.utils import get_trainer

    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.tot_item_num = dataset.item_num
    if trainer.item_tensor is None:
        trainer.item_tensor = loader._dataset.get_item_feature().to(trainer.device)
    model.eval()
    users, items, places = [], [], []
    for batch in loader:
        interaction, scores, row, item = trainer._full_sort_batch_eval(batch)
        row, item = row.to(scores.device), item.to(scores.device)
        places.append(ranks(scores, row, item, max(config["topk"])).cpu())
        users.append(interaction[config["USER_ID_FIELD"]].cpu()[row.cpu()])
        items.append(item.cpu())
    user, item, place = (torch.cat(column).numpy().astype(np.int64) for column in (users, items, places))
    of_user, of_item = (_column(dataset, config[f"{name}_ID_FIELD"]) for name in ("USER", "ITEM"))
    size = np.bincount(of_user, minlength=dataset.user_num)
    kept = size[user] >= FEWEST
    left_out = int((~kept).sum())
    user, item, place = user[kept], item[kept], place[kept]
    popularity = np.bincount(of_item, minlength=dataset.item_num) - np.bincount(item, minlength=dataset.item_num)
    columns = {
        "user": _by_token(dataset, config["USER_ID_FIELD"])[user],
        "item": _by_token(dataset, config["ITEM_ID_FIELD"])[item],
        "history": size[user] - 1,
        "popularity": popularity[item],
        "rank": place,
    }
    rows = np.stack([columns[name].astype(np.int64) for name in COLUMNS], axis=1)
    return rows[rows[:, 0].argsort(kind="stable")], left_out


def _column(dataset: Any, field: str) -> NDArray[np.int64]:
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


def differences(rows: Rows, reported: Mapping[str, float]) -> dict[str, float]:
    """How far RecBole's own figures of the test set are from those of the rows."""
    metrics = row_metrics(rows[:, COLUMNS.index("rank")])
    return {name: abs(float(reported[name.lower()]) - float(values.mean())) for name, values in metrics.items()}
