"""What RecBole's order of time does to a published protocol: one baseline, both orders.

    python benchmarks/exact_time.py [--dataset ml-100k] [--model GRU4Rec] [--seeds 2020 ...] [--out bench]

Leave-one-out and full ranking as in RecBole's published comparisons of sequential models, whose configurations load
the times as they are: RecBole makes them float32 and sorts on that.  Training is packed.  Each
finished run is kept, and not run again.
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
ORDERS = {"RecBole's (float32)": False, "exact": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", help="folder of the datasets")
    parser.add_argument("--model", default="GRU4Rec", choices=["GRU4Rec", "SASRec"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022, 2023, 2024])
    parser.add_argument("--out", type=Path, default=Path("bench"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / f"exact_time-{arguments.dataset}-{arguments.model}.json"
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for order, exact in ORDERS.items():
        for seed in tqdm(arguments.seeds, desc=order):
            if f"{order} {seed}" in runs:
                continue
            settings = {"seed": seed, "valid_metric": "NDCG@10", "state": "ERROR", "show_progress": False}
            settings.update(exact_time=exact, normalize_all=None)
            if arguments.data_path:
                settings["data_path"] = arguments.data_path
            result = run(arguments.model, arguments.dataset, config_dict={**settings, "packed": True})["test_result"]
            runs[f"{order} {seed}"] = {metric: float(result[metric]) for metric in METRICS}
            kept.write_text(json.dumps(runs, indent=1))

    def values(order: str, metric: str) -> torch.Tensor:
        return torch.tensor([runs[f"{order} {seed}"][metric] for seed in arguments.seeds], dtype=torch.float64)

    cells = {order: [values(order, metric) for metric in METRICS] for order in ORDERS}
    rows = [[order, *(f"{v.mean():.4f} ± {v.std():.4f}" for v in metrics)] for order, metrics in cells.items()]
    print(tabulate(rows, ["order", *(f"test {metric}" for metric in METRICS)], "github"))
    for metric in METRICS:
        theirs, exact = (values(order, metric) for order in ORDERS)
        p = scipy.stats.ttest_ind(exact, theirs, equal_var=False).pvalue
        print(f"exact over RecBole's, test {metric}: {100 * (exact.mean() / theirs.mean() - 1):+.1f} %, p = {p:.4f}")


if __name__ == "__main__":
    main()
