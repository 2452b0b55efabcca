"""Does CLIA tell the interests apart?  On a log whose motives are known, with the contrast and without it.

    python benchmarks/disentangling.py [--seeds 2020 ... 2024] [--users 2000] [--out bench] [--cases ...]

Makes a log with ``recbole-clia synth`` (each interaction is labelled by what drove it: the user's stable taste, or the
intent of the session), trains CLIA on it to the early stop, its interests alone and with what stands beside them, and
reports on the held-out test items: the area under the ROC curve of alpha against the label, and NDCG@10 of the fusion
and of each branch alone, on taste-driven and on intent-driven targets.  Each finished run is kept, and not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import scipy.stats
import torch
from interests_alone import INTERESTS_ALONE
from tabulate import tabulate
from tqdm import tqdm

from recbole_clia import run
from recbole_clia.cli.main import main as recbole_clia
from recbole_clia.diagnosis.report import diagnose

MIXTURE, VECTOR = {"fusion": "mixture"}, {"fusion": "vector"}
NO_CONTRAST = {"contrastive_loss_weight": 0.0}
CASES: dict[str, dict[str, Any]] = {
    "mixture, contrast bpr": {**MIXTURE, **INTERESTS_ALONE},
    "mixture, no contrast": {**MIXTURE, **INTERESTS_ALONE, **NO_CONTRAST},
    "vector, contrast bpr": {**VECTOR, **INTERESTS_ALONE},
    "vector, no contrast": {**VECTOR, **INTERESTS_ALONE, **NO_CONTRAST},
    "mixture, with repeats, trend and gaps": MIXTURE,
    "vector, with repeats, trend and gaps": VECTOR,
}
FIGURES = ("AUC of alpha", "fusion", "fusion, taste", "fusion, intent", "long, taste", "long, intent")
FIGURES += ("short, taste", "short, intent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022, 2023, 2024])
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = arguments.out / f"synth-{arguments.users}"
    if not folder.is_dir():
        recbole_clia(["synth", "--out", str(folder), f"--users={arguments.users}"])
    kept = arguments.out / f"disentangling-{arguments.users}.json"
    runs: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    common = {
        "data_path": str(folder),
        "valid_metric": "NDCG@10",
        "state": "ERROR",
        "show_progress": False,
        "dropout_prob": 0.3,
        "epochs": 25,
        "stopping_step": 4,
    }
    todo = [(case, seed) for seed in arguments.seeds for case in arguments.cases if f"{case} {seed}" not in runs]
    for case, seed in tqdm(todo):
        result = run("CLIA", "synth", config_dict={**common, **CASES[case], "seed": seed})
        runs[f"{case} {seed}"] = {**figures(diagnose(result["model_file"])), "epochs": result["epochs"]}
        kept.write_text(json.dumps(runs, indent=1))

    def values(case: str, figure: str) -> torch.Tensor:
        return torch.tensor([runs[f"{case} {seed}"][figure] for seed in arguments.seeds], dtype=torch.float64)

    rows = [
        [case, *(f"{values(case, f).mean():.3f} ± {values(case, f).std():.3f}" for f in FIGURES)]
        for case in arguments.cases
    ]
    print(tabulate(rows, ["CLIA with", *FIGURES], "github", disable_numparse=True))
    measures = ("alpha", "long_own", "long_other", "short_own", "short_other", "long_entropy", "short_entropy")
    tests = [
        f"{what}: {branch}" for what in ("shuffled", "last 3", "last 10") for branch in ("fusion", "long", "short")
    ]
    for names, form in ((measures, "{:.3f}"), (tests, "{:+.0%}")):
        rows = [[case, *(form.format(values(case, name).mean()) for name in names)] for case in arguments.cases]
        print("\n" + tabulate(rows, ["CLIA with", *names], "github", disable_numparse=True))
    print()
    for case in arguments.cases:
        without = f"{case.split(',')[0]}, no contrast"
        if case == without or without not in arguments.cases:
            continue
        for figure in FIGURES:
            one, two = values(case, figure), values(without, figure)
            p = scipy.stats.ttest_rel(one, two).pvalue
            print(f"{case} over {without}: {figure} {(one - two).mean():+.4f} (paired by seed, p = {p:.3f})")


def figures(found: Any) -> dict[str, float]:
    """The figures of the table, and of the tests of the history, out of a diagnosis."""
    label = found.label
    values = {"AUC of alpha": label.auc, "fusion": found.ranking["fusion"].ndcg}
    for branch in ("fusion", "long", "short"):
        values[f"{branch}, taste"] = label.ranking[branch]["1"].ndcg
        values[f"{branch}, intent"] = label.ranking[branch]["0"].ndcg
        for change in found.counterfactuals:
            what = change.kind if change.items is None else f"{change.kind} {change.items}"
            values[f"{what}: {branch}"] = change.branches[branch].relative
    values.update({name: spread.mean for name, spread in found.measures.items()})
    return values


if __name__ == "__main__":
    main()
