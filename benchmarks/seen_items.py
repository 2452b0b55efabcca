"""What hiding the items of the history does to trained models: how much of a gain is that alone?

CLIA learns a score for items that the user has had; a model without one can be given the crudest form of it after
training, by never recommending them again.  This reads the models that a comparison kept, and ranks their test sets
both ways::

    recbole-clia compare --models CLIA SASRec GRU4Rec --datasets ml-100k --seeds 3 --keep_models --out compare
    python benchmarks/seen_items.py compare
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from tqdm import tqdm

import recbole_clia  # noqa: F401  RecBole takes the plugin's models from here on
from recbole_clia.comparison.score import ranks, row_metrics

METRIC = "NDCG@10"


@torch.no_grad()
def both_ways(path: Path) -> tuple[float, float, float]:
    """NDCG@10 of the test set as it is and with histories hidden, and the part of targets that are in the history."""
    from recbole.quick_start import load_data_and_model
    from recbole.utils import get_trainer

    config, model, dataset, _, _, loader = load_data_and_model(str(path))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.tot_item_num = dataset.item_num
    trainer.item_tensor = loader._dataset.get_item_feature().to(trainer.device)
    model.eval()
    log, users, items = dataset.log, config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    places: list[list[Any]] = [[], []]
    repeats = []
    for batch in loader:
        interaction, scores, row, target = trainer._full_sort_batch_eval(batch)
        row, target = row.to(scores.device), target.to(scores.device)
        places[0].append(ranks(scores, row, target, 10))
        for position, (user, wanted) in enumerate(zip(interaction[users].tolist(), target.tolist(), strict=True)):
            history = log.column(items, slice(int(log.start[user]), int(log.start[user + 1]) - 1))
            repeats.append(bool((history == wanted).any()))
            scores[position, history] = -torch.inf
        places[1].append(ranks(scores, row, target, 10))
    plain, hidden = (row_metrics(torch.cat(p).cpu().numpy().astype(np.int64))[METRIC].mean() for p in places)
    return float(plain), float(hidden), float(np.mean(repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="where comparisons were written, with --keep_models")
    folders = parser.parse_args().folders
    kept = sorted(file for folder in folders for file in folder.glob("runs/*/model.pth"))
    if not kept:
        parser.error(f"{folders[0]}/runs: no model is kept there; compare with --keep_models")
    logging.disable(logging.INFO)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for file in tqdm(kept, disable=None):
        record = json.loads((file.parent / "run.json").read_text(encoding="utf-8"))
        if record["state"] == "done" and record["model"] not in ("Pop", "BPR"):
            found[record["dataset"], record["model"]].append(both_ways(file))
    table = [
        [
            dataset,
            model,
            len(rows),
            *(f"{np.mean(column):.4f}" for column in list(zip(*rows, strict=True))[:2]),
            f"{rows[0][2]:.1%}",
        ]
        for (dataset, model), rows in sorted(found.items())
    ]
    heads = ["dataset", "model", "seeds", METRIC, f"{METRIC}, history hidden", "targets in the history"]
    print(tabulate(table, heads, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main()
