"""Rank all items with CLSR: the factorised first layer against scoring the concatenation.

    python benchmarks/clsr_full_ranking.py [--items 1682 50000] [--rows 32] [--length 50] [--budget_mib 256]

Histories of full length, random items, published sizes.  Both forms go through the catalogue in blocks of items
within the same budget.  Each is a process of its own; memory is the growth of its largest resident size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

FORMS = ("factorised", "concatenated")


def concatenated(attention: Any, values: Tensor, own: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The attention as it is written, ``[B, G, D]``: all inputs of the perceptron, for every pair."""
    rows, length, groups = len(values), values.shape[1], len(target)
    projected = attention.projection(values).unsqueeze(1).expand(-1, groups, -1, -1)  # [B, G, L, Q]
    query = torch.cat([own.unsqueeze(1).expand(-1, groups, -1), target.expand(rows, -1, -1)], -1)
    query = query.unsqueeze(2).expand(-1, -1, length, -1)  # [B, G, L, Q]
    score = attention.mlp(torch.cat([projected, query, projected - query, projected * query], -1))  # [B, G, L]
    return score.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(-1) @ values


def measure_here(form: str, items: int, arguments: Any) -> dict[str, float]:
    """Rank in this process."""
    import recbole_clia  # noqa: F401
    from recbole_clia.nn.target_attention import TargetAttention

    torch.manual_seed(0)
    attention = TargetAttention(40, 40, 40).eval()
    values, own, target = (
        torch.randn(*shape) for shape in ((arguments.rows, arguments.length, 40), (arguments.rows, 40), (items, 40))
    )
    mask = torch.ones(arguments.rows, arguments.length, dtype=torch.bool)
    budget = arguments.budget_mib * 2**20
    of_pair = arguments.length * 4 * (4 * 80 if form == "factorised" else 4 * 80 + 2 * 80)  # bytes held for a pair
    block = max(1, int(budget // (of_pair * arguments.rows)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = perf_counter()
    with torch.no_grad():
        for part in target.split(block):
            if form == "factorised":
                attention(values, own, part, mask)
            else:
                concatenated(attention, values, own, part, mask)
    seconds = perf_counter() - began
    with torch.no_grad():
        few = target[:7]
        gap = (attention(values, own, few, mask)[0] - concatenated(attention, values, own, few, mask)).abs().max()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mib": after - before, "gap": float(gap)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1682, 50_000])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--budget_mib", type=float, default=256)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        task = json.loads(arguments.measure)
        print(json.dumps(measure_here(task["form"], task["of"], SimpleNamespace(**task))))
        return
    rows = []
    for items in arguments.items:
        for form in FORMS:
            sizes = {"rows": arguments.rows, "length": arguments.length, "budget_mib": arguments.budget_mib}
            task = json.dumps({"form": form, "of": items, **sizes})
            done = subprocess.run(
                [sys.executable, __file__, "--measure", task], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.strip().splitlines()[-1])
            a_row = 1000 * found["seconds"] / arguments.rows
            rows.append([f"{items:,}", form, f"{a_row:,.0f} ms", f"{found['mib']:,.0f} MiB", f"{found['gap']:.1e}"])
    print(tabulate(rows, ["items", "form", "time a history", "peak memory", "largest difference"], "github"))


if __name__ == "__main__":
    main()
