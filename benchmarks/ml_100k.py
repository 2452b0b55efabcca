"""CLIA against RecBole's GRU4Rec and SASRec with cross-entropy on ml-100k.

    python benchmarks/ml_100k.py [--seeds 2020 2021 ...] [--models CLIA GRU4Rec SASRec] [--out bench]

Leave-one-out, full ranking, RecBole's default settings of each model, early stopping on validation NDCG@10.
The two built-in models are RecBole's own at RecBole's own defaults, evaluated by RecBole; so that they can be trained
here in minutes and not in hours, they are trained packed (`packed: True`): the same (prefix, target) pairs, each once
an epoch, a window's context of at least half its length apart. Each finished run is kept, and not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import scipy.stats
import torch
from tabulate import tabulate
from tqdm import tqdm

from recbole_clia import run

METRICS = ("ndcg@10", "hit@10", "mrr@10")


def run_built_in(model: str, dataset: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train RecBole's model packed to the early stop, and evaluate its best state."""
    return run(model, dataset, config_dict={**settings, "packed": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022, 2023, 2024])
    parser.add_argument("--models", nargs="+", default=["CLIA", "GRU4Rec", "SASRec"])
    parser.add_argument("--out", type=Path, default=Path("bench"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "ml-100k.json"
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for model in arguments.models:
        for seed in tqdm(arguments.seeds, desc=model):
            name = f"{model} {seed}"
            if name in runs:
                continue
            settings = {"seed": seed, "valid_metric": "NDCG@10", "state": "ERROR", "show_progress": False}
            result = run(model, config_dict=settings) if model == "CLIA" else run_built_in(model, "ml-100k", settings)
            runs[name] = {
                part: {metric: float(result[part][metric]) for metric in METRICS}
                for part in ("best_valid_result", "test_result")
            }
            kept.write_text(json.dumps(runs, indent=1))

    def values(model: str, part: str, metric: str) -> torch.Tensor:
        return torch.tensor([runs[f"{model} {seed}"][part][metric] for seed in arguments.seeds], dtype=torch.float64)

    rows = []
    for model in arguments.models:
        cells = [values(model, "best_valid_result", METRICS[0])]
        cells += [values(model, "test_result", metric) for metric in METRICS]
        rows.append([model, *(f"{v.mean():.4f} ± {v.std():.4f}" for v in cells)])
    print(tabulate(rows, ["model", "valid ndcg@10", *(f"test {m}" for m in METRICS)], "github"))
    first, *others = arguments.models
    for other in others:
        for part in ("best_valid_result", "test_result"):
            one, two = values(first, part, METRICS[0]), values(other, part, METRICS[0])
            p = scipy.stats.ttest_ind(one, two, equal_var=False).pvalue
            print(f"{first} over {other}, {part}: {100 * (one.mean() / two.mean() - 1):+.1f} % ndcg@10, p = {p:.4f}")


if __name__ == "__main__":
    main()
