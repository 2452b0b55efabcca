"""What each way to choose negatives and positives does to NDCG@10, at equal training time.

    python benchmarks/strategies.py --dataset ml-100k --seconds 40 [--seeds 2020 2021] [--data_path FOLDER]

Every row of the table is CLIA with the mixture of its interests alone (no repeats, trend, time gaps or neighbours,
items by their embeddings as they are, histories of 50 items, dropout 0.6) but for the settings named, trained on one
thread until its epochs have taken the same number of seconds of the processor's time, evaluation not counted.  The
state evaluated is the best one on validation, which is looked at after every ``--eval_step`` epochs and after the last.
Each finished run is kept, and not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

import torch
from interests_alone import INTERESTS_ALONE
from tabulate import tabulate
from tqdm import tqdm

from recbole_clia import run
from recbole_clia.running import trainer

COMMON: dict[str, Any] = {
    **INTERESTS_ALONE,
    "fusion": "mixture",
    "softmax_dtype": "float32",
    "dropout_prob": 0.6,
}
SSM: dict[str, Any] = {"loss_type": "SSM"}
BPR: dict[str, Any] = {"loss_type": "BPR"}
CASES: dict[str, dict[str, Any]] = {
    "CE over all items": {},
    "BPR, uniform": BPR,
    "BPR, popularity": {**BPR, "negative_sampling": "popularity"},
    "BPR, in batch": {**BPR, "negative_sampling": "in_batch"},
    "BPR, cluster": {**BPR, "negative_sampling": "cluster"},
    "BPR, hard": {**BPR, "negative_sampling": "hard"},
    "BPR, online": {**BPR, "negative_sampling": "online"},
    "BPR, uniform, no item of the history": {**BPR, "exclude_history": True},
    "SSM, 128 uniform": SSM,
    "SSM, 512 uniform, shared": {**SSM, "negative_num": 512, "negative_shared": True},
    "SSM, 512 popularity, shared": {
        **SSM,
        "negative_sampling": "popularity",
        "negative_num": 512,
        "negative_shared": True,
    },
    "SSM, 512 in batch, shared": {**SSM, "negative_sampling": "in_batch", "negative_num": 512, "negative_shared": True},
    "SSM, 512 in batch, shared, not corrected": {
        **SSM,
        "negative_sampling": "in_batch",
        "negative_num": 512,
        "negative_shared": True,
        "negative_correction": False,
    },
    "SSM, 32 cluster": {**SSM, "negative_sampling": "cluster", "negative_num": 32},
    "SSM, 32 hard": {**SSM, "negative_sampling": "hard", "negative_num": 32},
    "SSM, 32 online": {**SSM, "negative_sampling": "online", "negative_num": 32},
    "SSM, uniform, 32 rising to 512 in 10 epochs, shared": {
        **SSM,
        "negative_num": [[0, 32], [10, 512]],
        "negative_shared": True,
    },
    "CE, no contrast": {"contrastive_loss_weight": 0.0},
    "CE, contrast falling to 0 in 10 epochs": {"contrastive_loss_weight": [[0, 0.1], [10, 0.0]]},
    "CE, contrast triplet": {"contrastive_loss": "triplet"},
    "CE, contrast infonce": {"contrastive_loss": "infonce"},
    "CE + augmentation 0.1": {"augmentation_weight": 0.1},
    "CE + continuity 0.1": {"continuity_weight": 0.1},
    "CE + same target 0.1": {"same_target_weight": 0.1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--eval_step", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021])
    parser.add_argument("--dropout", type=float, help="in place of 0.6")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trainer.perf_counter = process_time  # whatever else runs on the machine
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / f"strategies-{arguments.dataset}.json"
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    common = {
        **COMMON,
        "data_path": arguments.data_path,
        "valid_metric": "NDCG@10",
        "state": "ERROR",
        "show_progress": False,
        "train_seconds": arguments.seconds,
        "stopping_step": 1_000_000,
        "epochs": 1_000_000,
        "eval_step": arguments.eval_step,
        "diagnosis_rows": 0,
    }
    if arguments.dropout is not None:
        common["dropout_prob"] = arguments.dropout
    todo = [(case, seed) for seed in arguments.seeds for case in CASES if f"{case} {seed}" not in runs]
    for case, seed in tqdm(todo, desc=arguments.dataset):
        result = run("CLIA", arguments.dataset, config_dict={**common, **CASES[case], "seed": seed})
        runs[f"{case} {seed}"] = {
            "valid": float(result["best_valid_result"]["ndcg@10"]),
            "test": float(result["test_result"]["ndcg@10"]),
            "epochs": result["epochs"],
        }
        kept.write_text(json.dumps(runs, indent=1))

    rows = []
    for case in CASES:
        of_case = [runs[f"{case} {seed}"] for seed in arguments.seeds if f"{case} {seed}" in runs]
        if of_case:
            valid, test = (torch.tensor([r[part] for r in of_case], dtype=torch.float64) for part in ("valid", "test"))
            epochs = sum(r["epochs"] for r in of_case) / len(of_case)
            spread = [f" ± {v.std():.4f}" if len(v) > 1 else "" for v in (valid, test)]
            cells = [f"{v.mean():.4f}{s}" for v, s in zip((valid, test), spread, strict=True)]
            rows.append([case, f"{epochs:.0f}", *cells])
    print(tabulate(rows, ["CLIA with", "epochs", "valid NDCG@10", "test NDCG@10"], "github", disable_numparse=True))


if __name__ == "__main__":
    main()
