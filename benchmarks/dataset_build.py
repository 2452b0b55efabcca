"""Seconds and memory to build the data of a sequential model: the plugin's log against RecBole's padded rows.

    python benchmarks/dataset_build.py [--data_path FOLDER] [--datasets ml-100k ...] [--made 1 10 50] [--out bench]

Each build is a process of its own: from the file to the training, validation and test sets, with histories of at
most 50 items.  Memory is the growth of the largest resident size over that before the build, when everything is
imported.  ``--made`` writes logs of so many million interactions, of random users and times, in random order.
A build that needs more than ``--limit`` GiB is stopped, and said to.  Each finished build is kept, and not run again.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pc
from tabulate import tabulate
from tqdm import tqdm

FORMS = {
    "recbole": "RecBole",
    "plugin": "plugin, from the file",
    "cached": "plugin, from its cache",
}


def write_made(folder: Path, millions: int) -> str:
    """A log of 50 interactions a user on average, Zipf-like items, and seconds of a year, in random order."""
    name = f"made-{millions}m"
    path = folder / name / f"{name}.inter"
    if path.is_file():
        return name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    rng = np.random.default_rng(millions)
    users, items, left = millions * 20_000, 10_000 + millions * 4_000, millions * 1_000_000
    with part.open("wb") as stream:
        stream.write(b"user_id:token\titem_id:token\ttimestamp:float\n")
        while left:
            rows = min(left, 1_000_000)
            left -= rows
            item = (items * rng.random(rows) ** 3).astype(np.int64)
            when = 1_600_000_000 + rng.integers(0, 31_536_000, rows)
            table = pa.table({"u": rng.integers(0, users, rows), "i": item, "t": when})
            pc.write_csv(table, stream, pc.WriteOptions(include_header=False, delimiter="\t"))
    part.rename(path)
    return name


def build_here(form: str, name: str, data_path: str, cache: str) -> dict[str, Any]:
    """Build it in this process, and say what it took."""
    import recbole_clia  # noqa: F401
    from recbole_clia.settings.config import PluginConfig

    settings: dict[str, Any] = {"state": "ERROR", "duplicate_rows": "keep", "data_cache": None}
    if name != "ml-100k":
        settings["data_path"] = data_path
    if form == "recbole":
        settings.update(exact_time=False, lazy_augmentation=False)
    if form == "cached":
        settings["data_cache"] = cache
    config = PluginConfig("GRU4Rec", name, config_dict=settings)
    from recbole.data import create_dataset

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = perf_counter()
    dataset = create_dataset(config)
    interactions = dataset.inter_num
    train, valid, test = dataset.build()
    seconds = perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [len(train), len(valid), len(test)]
    return {"seconds": seconds, "mib": after - before, "base_mib": before, "interactions": interactions, "rows": rows}


def build(form: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Build it in a process that is stopped beyond the limit."""
    command = [sys.executable, __file__, "--build", form, name, "--data_path", arguments.data_path]
    command += ["--cache", str(arguments.out / "cache")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    began = perf_counter()
    while process.poll() is None:
        sleep(0.2)
        try:
            used = psutil.Process(process.pid).memory_info().rss / 2**30
        except psutil.NoSuchProcess:
            break
        if used > arguments.limit:
            process.kill()
            process.wait()
            return {"stopped_at_gib": arguments.limit, "after_seconds": perf_counter() - began}
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{form} on {name} failed with exit code {process.returncode}")
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def row(name: str, results: dict[str, dict[str, Any]]) -> list[str]:
    """One line of the table."""
    theirs, cells = results["recbole"], [name]
    size = results["plugin"].get("interactions", 0)
    cells.append(f"{size:,}")
    for form in FORMS:
        result = results[form]
        if "seconds" not in result:
            cells += [f"more than {result['stopped_at_gib']:.0f} GiB", ""]
            continue
        cells += [f"{result['seconds']:.2f} s", f"{result['mib']:,.0f} MiB"]
    for form in ("plugin", "cached"):
        if "seconds" in theirs and "seconds" in results[form]:
            faster, smaller = (theirs[key] / results[form][key] for key in ("seconds", "mib"))
            cells.append(f"{faster:.0f}x time, {smaller:.0f}x memory")
        else:
            cells.append("-")
    return cells


def draw(results: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Seconds and memory against interactions, on logarithmic scales."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for form, label in FORMS.items():
        done = sorted((r["plugin"]["interactions"], r[form]) for r in results.values() if "seconds" in r[form])
        for axis, key in zip(axes, ("seconds", "mib"), strict=True):
            axis.plot([size for size, _ in done], [result[key] for _, result in done], "o-", label=label)
    for axis, title in zip(axes, ("seconds to build", "memory to build, MiB"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="interactions", title=title)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_path", default="dataset", help="folder of the datasets, and of the made logs")
    parser.add_argument("--datasets", nargs="*", default=["ml-100k"])
    parser.add_argument("--made", type=int, nargs="*", default=[1, 10, 50], help="millions of interactions")
    parser.add_argument("--limit", type=float, default=20.0, help="GiB at which a build is stopped (default: 20)")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--build", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        print(json.dumps(build_here(*arguments.build, arguments.data_path, arguments.cache)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "dataset_build.json"
    results: dict[str, dict[str, dict[str, Any]]] = json.loads(kept.read_text()) if kept.is_file() else {}
    names = [*arguments.datasets, *(write_made(Path(arguments.data_path), millions) for millions in arguments.made)]
    for name in tqdm(names, desc="dataset_build"):
        for form in ("plugin", "cached", "recbole"):
            if form in results.setdefault(name, {}):
                continue
            if form == "cached":
                build(form, name, arguments)  # the first time makes the cache
            results[name][form] = build(form, name, arguments)
            kept.write_text(json.dumps(results, indent=1))
    shutil.rmtree(arguments.out / "cache", ignore_errors=True)
    headers = ["log", "interactions"]
    headers += [f"{label}: {what}" for label in FORMS.values() for what in ("time", "memory")]
    headers += ["RecBole over the plugin", "over its cache"]
    print(tabulate([row(name, results[name]) for name in names], headers, "github", disable_numparse=True))
    draw({name: results[name] for name in names}, arguments.out / "dataset_build.svg")
    print(f"\nFigures: {kept}   Drawing: {arguments.out / 'dataset_build.svg'}")


if __name__ == "__main__":
    main()
