"""NDCG@10 of one model against each other one, user by user, of runs that several comparisons made.

    recbole-clia compare --models CLIA --datasets yelp --seeds 3 --data_path=FOLDER --out clia
    recbole-clia compare --models CORE --datasets yelp --seeds 3 --train_seconds=900 --data_path=FOLDER --out core
    python benchmarks/paired_users.py clia core [--model CLIA]

For runs that can stand on no one leaderboard, since they were made with different limits or on different machines.
Each user has the mean over the seeds of a model; p is Wilcoxon's signed-rank test over the users, corrected by Holm for
all models of the dataset.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from recbole_clia.comparison.leaderboard import holm, wilcoxon
from recbole_clia.comparison.record import Rows, read_rows
from recbole_clia.comparison.score import mean_of_users

RANKS = {"all items": "rank", "history hidden": "hidden_rank"}

Runs = Mapping[str, Mapping[str, Mapping[int, Rows]]]


def runs_of(folders: Sequence[Path]) -> Runs:
    """The test rows of finished runs, by dataset, model and seed.

    Raises:
        ValueError: if two runs have these in common, or the rows of one are not those of its record.
    """
    found: dict[str, dict[str, dict[int, Rows]]] = defaultdict(lambda: defaultdict(dict))
    for file in sorted(file for folder in folders for file in folder.glob("runs/*/run.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["state"] != "done":
            continue
        rows = read_rows(file.parent, record["rows_crc"])
        if rows is None:
            raise ValueError(f"{file.parent}: the rows are not those of the run")
        seeds = found[record["dataset"]][record["model"]]
        if record["seed"] in seeds:
            what = f"{record['model']} on {record['dataset']} with seed {record['seed']}"
            raise ValueError(f"{file.parent}: a second run of {what}; give folders with one each")
        seeds[record["seed"]] = rows
    return found


def table(models: Mapping[str, Mapping[int, Rows]], model: str) -> list[dict[str, Any]]:
    """A row for each other model and each way to rank: means over the users that both have, gain and p."""
    lines: list[dict[str, Any]] = []
    others = [name for name in models if name != model]
    for ranking, column in RANKS.items():
        mine = mean_of_users([*models[model].values()], column)
        ps = []
        for name in others:
            theirs = mean_of_users([*models[name].values()], column)
            users = [user for user in mine if user in theirs]
            one, other = (np.array([of[user] for user in users]) for of in (mine, theirs))
            ps.append(wilcoxon(one, other))
            line = {"ranking": ranking, "against": name, "seeds": f"{len(models[model])}, {len(models[name])}"}
            line.update({"users": len(users), model: one.mean(), "it": other.mean()})
            lines.append(line)
        for line, p, corrected in zip(lines[-len(others) :], ps, holm(ps), strict=True):
            gain = f"{line[model] / line['it'] - 1:+.1%}" if line["it"] else ""
            line.update({"gain": gain, "p": p, "p, corrected": corrected})
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="where comparisons were written")
    parser.add_argument("--model", default="CLIA", help="the one that all others are held against")
    given = parser.parse_args(arguments)
    try:
        runs = runs_of(given.folders)
    except ValueError as error:
        parser.error(str(error))
    able = {dataset: models for dataset, models in runs.items() if given.model in models and len(models) > 1}
    if not able:
        parser.error(f"{given.folders[0]}/runs: there is no dataset with finished runs of {given.model} and another")
    for dataset, models in able.items():
        print(f"{dataset}\n{tabulate(table(models, given.model), headers='keys', floatfmt='.4g')}\n")


if __name__ == "__main__":
    main()
