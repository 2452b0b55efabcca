"""``recbole-clia diagnose``: what a trained model does inside, in numbers, in sentences and in a drawing."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from ..errors import UsageError
from .train import parse_settings

if TYPE_CHECKING:
    from ..diagnosis.figures import Change, Counterfactual, Diagnosis, Ranking, Spread

MEASURES = {
    "alpha": "alpha, the weight of the long-term interest",
    "long_own": "cosine: long-term interest and its own proxy",
    "long_other": "cosine: long-term interest and the other proxy",
    "short_own": "cosine: short-term interest and its own proxy",
    "short_other": "cosine: short-term interest and the other proxy",
    "long_entropy": "entropy of the long-term attention, 1 for equal weights",
    "short_entropy": "entropy of the short-term attention, 1 for equal weights",
}
RANKED = {
    "fusion": "fusion",
    "long": "long-term branch alone",
    "short": "short-term branch alone",
    "popularity": "popularity, to compare",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "diagnose",
        help="look into a trained model",
        description="Measure on the test rows what a trained CLIA or CLSR does inside: its interests, its attention, "
        "how each branch ranks by itself, and how it ranks once histories are shuffled or cut. Prints tables and a "
        "verdict, and writes OUT/NAME.json and OUT/NAME.svg.",
        epilog="Settings of the data can be given as --key=value, for instance --data_path=dataset.",
    )
    parser.add_argument("file", metavar="MODEL_FILE", help="file of a model, such as saved/CLIA-....pth")
    parser.add_argument(
        "--out", default="diagnosis", help="folder for the figures and the drawing (default: diagnosis)"
    )
    parser.add_argument("--rows", type=int, default=2000, help="most test rows that are measured (default: 2000)")
    parser.add_argument(
        "--label",
        metavar="COLUMN",
        help="column that is 1 where the long-term interest should decide, and 0 where the short-term one should "
        "(default: motive, if there is one; empty for none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the shuffles (default: 0)")
    parser.set_defaults(run=run_diagnosis, takes_settings=True)


def run_diagnosis(arguments: argparse.Namespace) -> int:
    settings = parse_settings(arguments.settings)
    out, name = Path(arguments.out), Path(arguments.file).name.removesuffix(".pth")
    if not all(path.is_dir() for path in (out, *out.parents) if path.exists()):
        raise UsageError(f"--out: {out} is no folder")
    from ..diagnosis.page import draw
    from ..diagnosis.report import diagnose

    found = diagnose(arguments.file, arguments.rows, arguments.label, arguments.seed, settings)
    figures, drawing = out / f"{name}.json", out / f"{name}.svg"
    try:
        out.mkdir(parents=True, exist_ok=True)
        figures.write_text(json.dumps(found.figures(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        draw(found, drawing)
    except OSError as error:
        raise UsageError(f"--out: {error.filename or out} cannot be written: {error.strerror or error}") from error
    print(report(found))
    print(f"\nFigures: {figures}\nDrawing: {drawing}")
    return 0


def report(found: Diagnosis) -> str:
    """The tables and the verdict."""
    head = f"{found.model} on {found.dataset}: {found.file}"
    rows = f"{found.rows:,} of {found.of_rows:,} test rows, each ranked among {found.items:,} items; seed {found.seed}"
    parts = [f"{head}\n{rows}", _measures(found), _ranking(found), _counterfactuals(found)]
    if found.label is not None:
        parts.append(_label(found))
    epochs = f"{len(found.epochs)} recorded in {found.epochs_file}" if found.epochs else "none recorded"
    parts.append(f"Epochs: {epochs}")
    parts.append("Verdict (± two standard errors)\n" + "\n".join(f"- {line}" for line in found.verdict))
    return "\n" + "\n\n".join(parts)


def _table(rows: list[list[str]], headers: list[str]) -> str:
    align = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers=headers, disable_numparse=True, tablefmt="simple", colalign=align)


def _measures(found: Diagnosis) -> str:
    def row(name: str, spread: Spread) -> list[str]:
        five = (spread.least, spread.quarter, spread.median, spread.three_quarters, spread.most)
        return [name, *(_number(value, 3) for value in (*five, spread.mean, spread.std)), f"{spread.rows:,}"]

    rows = [row(words, found.measures[name]) for name, words in MEASURES.items()]
    rows += [row(f"alpha of {_lengths(part.least, part.most)}", part.alpha) for part in found.alpha_by_length]
    return _table(rows, ["", "min", "25 %", "median", "75 %", "max", "mean", "std", "rows"])


def _ranking(found: Diagnosis) -> str:
    rows = [[words, *_metrics(found.ranking[name])] for name, words in RANKED.items()]
    return _table(rows, ["ranking of the row's own item", "NDCG@10", "error", "Hit@10"])


def _metrics(ranking: Ranking) -> list[str]:
    return [_number(ranking.ndcg, 4), _number(ranking.ndcg_error, 4), _number(ranking.hit, 4)]


def _counterfactuals(found: Diagnosis) -> str:
    rows = []
    for change in found.counterfactuals:
        of = [text for branch in ("fusion", "long", "short") for text in _change(change.branches[branch])]
        rows.append([_what(change, found.longest), *of, f"{change.rows:,}"])
    headers = ["history, NDCG@10 and its change", "fusion", "", "long", "", "short", "", "rows"]
    return _table(rows, headers)


def _what(change: Counterfactual, longest: int) -> str:
    if change.kind == "shuffled":
        return "items shuffled"
    if change.kind == "without last":
        return f"without the last {change.items}"
    return "untouched" if change.items == longest else f"the last {change.items} only"


def _change(change: Change) -> list[str]:
    relative = "-" if math.isnan(change.relative) else f"{100 * change.relative:+.1f} %" if change.relative else "0 %"
    return [_number(change.ndcg, 4), relative]


def _label(found: Diagnosis) -> str:
    label = found.label
    assert label is not None
    rows = []
    for branch in ("fusion", "long", "short"):
        both = [text for key in ("1", "0") for text in _metrics(label.ranking[branch][key])]
        rows.append([RANKED[branch], *both])
    headers = [f"by {label.field}"]
    headers += [f"{metric}, {key}" for key in ("1", "0") for metric in ("NDCG@10", "error", "Hit@10")]
    alpha = ", ".join(
        f"{_number(label.alpha[key], 3)} in the {rows_of:,} rows with {label.field} {key}"
        for key, rows_of in (("1", label.ones), ("0", label.zeros))
    )
    area = "-" if label.auc is None else f"{label.auc:.4f}"
    return f"{_table(rows, headers)}\nmean alpha {alpha}; ROC AUC of alpha {area}"


def _lengths(least: int, most: int) -> str:
    return f"histories of {least:,} to {most:,} items" if least != most else f"histories of {least:,} items"


def _number(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"
