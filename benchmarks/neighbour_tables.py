"""Seconds and memory to count the neighbours of a log's items, which CLIA does once before training.

    python benchmarks/neighbour_tables.py [--millions 1 3 10]

Each made log of so many million interactions has 50 of them a user on average and Zipf-like items, one to a hundred
interactions.  Nothing follows from anything in it, so that nearly every pair of items is another one: the worst case.
Each is counted in a process of its own, with CLIA's default sizes.  Memory is what is beyond the log and all that is
imported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

import numpy as np
from tabulate import tabulate

import recbole_clia  # noqa: F401  RecBole does not import without it
from recbole_clia.nn import Neighbours
from recbole_clia.settings.properties import PROPERTIES_DIR, plain_yaml

SIZES = ("neighbour_window", "neighbour_num", "neighbour_recent")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def counted(interactions: int) -> tuple[float, float]:
    """Seconds and MiB of one log."""
    rng = np.random.default_rng(0)
    items = max(10_000, interactions // 100)
    item = 1 + (items * rng.random(interactions) ** 3).astype(np.int64)
    user = np.sort(rng.integers(0, interactions // 50, interactions))
    settings = plain_yaml((PROPERTIES_DIR / "model/CLIA.yaml").read_text(encoding="utf-8"))
    before, began = _peak_mib(), perf_counter()
    Neighbours(1, user, item, items + 1, *(settings[name] for name in SIZES))
    return perf_counter() - began, _peak_mib() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 3, 10])
    rows = []
    for millions in parser.parse_args().millions:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            rows.append([millions, *process.submit(counted, round(millions * 1e6)).result()])
        print(f"{millions:g} million: {rows[-1][1]:.1f} s", flush=True)
    print(tabulate(rows, ["million interactions", "seconds", "MiB"], floatfmt=("g", ".0f", ",.0f")))


if __name__ == "__main__":
    main()
