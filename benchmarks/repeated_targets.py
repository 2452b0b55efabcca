"""Where models have the targets that are in the history, and how well they choose among the history's items.

    recbole-clia compare --models CLIA RepeatNet --datasets yelp --seeds 1 --keep_models --out compare
    python benchmarks/repeated_targets.py compare/runs/*/model.pth

A line is a kept model on its test set: the share of rows whose target the user has had before, their NDCG@10, the same
once the items of the whole history are all that is ranked, and NDCG@10 of the other rows.  A model that has the items
of the history first has the two of repeated targets equal; how well a model chooses among them is in the second alone.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from torch import Tensor

from recbole_clia.comparison.score import Histories, column, ranks, row_metrics, scored_batches

HEAD = ("run", "rows", "repeated", "NDCG@10, repeated", "among the history", "NDCG@10, others")


class Placed(NamedTuple):
    """Ranks from 1 of the targets ``[T]``."""

    of_all: NDArray[np.int64]  # among all items
    of_history: NDArray[np.int64]  # among all that the user has had, 0 where the target is not


def among_history(scores: Tensor, item: Tensor, had: tuple[Tensor, Tensor]) -> Tensor:
    """The rank from 1 of ``item [T]`` among the items that the rows' users have had, 0 if they had it never before.

    Args:
        scores: ``[T, I]``.
        had: as :func:`~recbole_clia.comparison.score.hidden_ranks` takes it.
    """
    items, row = had
    again = torch.bincount(row[items == item[row]], minlength=len(item)) > 1
    is_had = torch.zeros_like(scores, dtype=torch.bool)
    is_had[row, items] = True
    above = (is_had & (scores > scores.gather(1, item.unsqueeze(1)))).sum(1)
    return torch.where(again, above + 1, 0)


@torch.no_grad()
def place(model_file: Path) -> Placed:
    """Rank the test set of a kept model, on the CPU."""
    from recbole.quick_start import load_data_and_model

    config, model, dataset, _, _, loader = load_data_and_model(str(model_file))
    histories = Histories(*(column(dataset, config[f"{name}_ID_FIELD"]) for name in ("USER", "ITEM")), dataset.user_num)
    found = []
    for interaction, scores, row, item in scored_batches(config, model, dataset, loader):
        scores, row, item = scores.cpu(), row.cpu(), item.cpu()
        user = interaction[config["USER_ID_FIELD"]].cpu()[row]
        found.append((ranks(scores, row, item, 10), among_history(scores[row], item, histories.of(user.numpy()))))
    return Placed(*(torch.cat(places).numpy() for places in zip(*found, strict=True)))


def line(name: str, placed: Placed) -> tuple[object, ...]:
    """A line of the table."""
    repeated = placed.of_history > 0
    ndcg = row_metrics(placed.of_all)["NDCG@10"]
    among = row_metrics(placed.of_history[repeated])["NDCG@10"]
    means = [float(some.mean()) if len(some) else float("nan") for some in (ndcg[repeated], among, ndcg[~repeated])]
    return (name, len(repeated), float(repeated.mean()), *means)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.pth", help="models that a comparison kept")
    logging.disable(logging.INFO)
    lines = [line(file.resolve().parent.name, place(file)) for file in parser.parse_args(arguments).models]
    print(tabulate(lines, HEAD, floatfmt=".4f"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
