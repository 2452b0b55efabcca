"""Validation NDCG@10 against training time, of the runs that comparisons made: a panel for each dataset.

    recbole-clia compare --models CLIA SASRec GRU4Rec --datasets ml-100k --seeds 3 --out compare
    python benchmarks/learning_curves.py compare [MORE FOLDERS] [--svg docs/learning_curves.svg]

A line is a run with one seed, up to its last epoch; time is that of training alone, evaluation not counted.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from recbole_clia.comparison.record import device_of

ROOT = Path(__file__).resolve().parent.parent
ACROSS = 3  # panels


def curves(folders: Sequence[Path]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The records of finished runs of more than one epoch, by dataset and model, in the order of their names."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(file for folder in folders for file in folder.glob("runs/*/run.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["state"] == "done" and len(record["curve"]) > 1:
            name = record["model"] + (" (packed)" if record["packed"] and record["model"] != "CLIA" else "")
            found[record["dataset"]][name].append(record)
    return found


def draw(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], svg: Path) -> None:
    """A panel for each dataset, with the same colour for a model in all."""
    names = sorted({name for models in found.values() for name in models}, key=lambda name: (name != "CLIA", name))
    colors = {name: f"C{place % 10}" for place, name in enumerate(names)}
    down = -(-len(found) // ACROSS)
    with plt.rc_context({"svg.hashsalt": "curves", "svg.fonttype": "none", "font.size": 9}):
        size = (4 * min(ACROSS, len(found)), 3 * down)
        figure, axes = plt.subplots(down, min(ACROSS, len(found)), figsize=size, layout="constrained", squeeze=False)
        for axis, (dataset, models) in zip(axes.flat, found.items(), strict=False):
            for name, records in models.items():
                for place, record in enumerate(records):
                    seconds, scores = ([p[key] for p in record["curve"]] for key in ("train_seconds", "valid_score"))
                    label = name if place == 0 else None
                    axis.plot(seconds, scores, color=colors[name], linewidth=1, marker=".", markersize=3, label=label)
            devices = sorted({device_of(record) for records in models.values() for record in records})
            axis.set(
                title=f"{dataset}, {' and '.join(devices)}", xscale="log", xlabel="training seconds", ylim=(0, None)
            )
            axis.set_ylabel("validation NDCG@10")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.spines[["top", "right"]].set_visible(False)
        for axis in axes.flat[len(found) :]:
            axis.set_visible(False)
        handles = {}
        for axis in axes.flat:
            handles.update(dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True)))
        ncols = min(2 * min(ACROSS, len(found)), len(names))  # a panel is two names wide
        figure.legend([handles[name] for name in names], names, loc="outside lower center", ncols=ncols)
        svg.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(svg, metadata={"Date": None})
        plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="where comparisons were written")
    parser.add_argument("--svg", type=Path, default=ROOT / "docs" / "learning_curves.svg", help="the drawing")
    given = parser.parse_args(arguments)
    found = curves(given.folders)
    if not found:
        parser.error(f"{given.folders[0]}/runs: there is no finished run of more than one epoch")
    matplotlib.use("Agg")
    draw(found, given.svg)
    print(f"Drawing: {given.svg}")


if __name__ == "__main__":
    main()
