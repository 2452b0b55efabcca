"""``recbole-clia bench``: seconds an epoch, packed and in RecBole's loop, in one run."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from ..errors import UsageError
from ..running.benchmark import FORMS, MODELS
from ..settings.check import PACKABLE
from .train import parse_settings


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="time an epoch, packed and in RecBole's own loop",
        description="Time one training epoch of CLIA, packed and not, and of RecBole's models, packed and in RecBole's "
        "loop, each in a process of its own, on the same pairs; on a GPU where there is one.",
        epilog="Settings of data and training can be given as --key=value, for instance --MAX_ITEM_LIST_LENGTH=20.",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        choices=PACKABLE,
        default=list(MODELS),
        help=f"models, of those that can be trained packed (default: {' '.join(MODELS)})",
    )
    parser.add_argument("--dataset", "-d", default="ml-100k", help="dataset (default: ml-100k)")
    parser.add_argument("--batches", type=int, help="time this many batches only, and scale to an epoch")
    parser.add_argument(
        "--forms",
        nargs="+",
        choices=FORMS,
        default=list(FORMS),
        help="packed; one row per prefix; RecBole's loop with its faults mended; and as released (default: all)",
    )
    parser.add_argument("--out", default="bench", help="folder for the figures and the drawing (default: bench)")
    parser.set_defaults(run=bench, takes_settings=True)


def bench(arguments: argparse.Namespace) -> int:
    from ..running.benchmark import UNREAD, contenders, draw, measure
    from ..settings.config import PluginConfig

    if arguments.batches is not None and arguments.batches < 1:
        raise UsageError(f"--batches must be at least 1, not {arguments.batches}")
    settings = parse_settings(arguments.settings)
    for key in settings:
        if key in UNREAD:
            raise UsageError(
                f"bench: {key} is not read; single epochs of the models of --models are timed, without evaluation, in "
                "the forms that --forms names"
            )
    timed = contenders(arguments.models, arguments.forms)
    for model in {contender.model for contender in timed}:
        PluginConfig(model, arguments.dataset, config_dict=settings)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    timings = []
    with tqdm(timed, desc="bench") as progress:
        for contender in progress:
            progress.set_postfix_str(str(contender))
            timings.append(measure(contender, arguments.dataset, settings, arguments.batches))
            (out / "bench.json").write_text(json.dumps([asdict(t) for t in timings], indent=1))
    draw(timings, out / "bench.svg")

    rows = [
        [
            t.contender,
            f"{t.pairs:,}",
            f"{t.seconds:.2f}",
            f"{t.pairs / t.seconds:,.0f}",
            f"{t.seconds / timings[0].seconds:.2f}",
            f"{t.peak_mib:,.0f}",
            f"{t.batches} of {t.of}",
        ]
        for t in timings
    ]
    headers = [
        "model, form",
        "pairs",
        "seconds an epoch",
        "pairs a second",
        f"times {timings[0].contender}",
        "peak MiB",
        "batches timed",
    ]
    print(
        f"\nTraining on {arguments.dataset}, {timings[0].device}\n"
        + tabulate(rows, headers=headers, disable_numparse=True)
    )
    print(f"\nFigures: {out / 'bench.json'}   Drawing: {out / 'bench.svg'}")
    return 0
