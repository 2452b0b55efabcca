"""``recbole-clia synth``: a made dataset whose every interaction says what drove it."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..errors import UsageError
from ..settings.check import recbole_dir
from ..settings.properties import PROPERTIES_DIR, read_properties
from ..synthesis.files import INTER, NAME, files, make
from ..synthesis.generator import World


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "synth",
        usage="%(prog)s [NAME] [--out OUT] [--seed SEED] [--force] [--users N] [--items N] ...",
        help="make a dataset whose every interaction says what drove it",
        description="Draw users with stable tastes and sessions with an intent of their own, and write OUT/NAME/NAME"
        ".inter, whose column motive is 1 where taste drove an interaction and 0 where the session's intent did, with "
        "NAME.item, NAME.user and the numbers of the world in NAME.world.json.",
        epilog="For instance: recbole-clia synth --users=500 --purity=0.95",
    )
    parser.add_argument("name", nargs="?", default=NAME, metavar="NAME", help=f"dataset (default: {NAME})")
    parser.add_argument("--out", type=Path, default=Path("dataset"), help="folder for the result (default: dataset)")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness, 0 at least (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace files that are already there")
    numbers = parser.add_argument_group("the world")
    for number in fields(World):
        numbers.add_argument(
            f"--{number.name}",
            type=int if number.type == "int" else float,
            default=number.default,
            metavar="N" if number.type == "int" else "X",
            help=f"{number.metadata['meaning']}, {number.metadata['allowed']} (default: {number.default})",
        )
    parser.set_defaults(run=synth)


def synth(arguments: argparse.Namespace) -> int:
    name, out = arguments.name, arguments.out
    if name != NAME and name in _others():
        raise UsageError(f"synth: {name} is another dataset, whose settings would hold; choose another name")
    world = World(**{number.name: getattr(arguments, number.name) for number in fields(World)})
    try:
        facts = make(world, arguments.seed, name, out, arguments.force)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UsageError(f"synth: {where}{error.strerror or error}") from error

    ceiling = "all motives are the same" if facts.ceiling_auc is None else f"{facts.ceiling_auc:.4f}"
    table = [
        ["users", f"{facts.users:,}", ""],
        ["items", f"{facts.items:,}", f"of {world.items:,}"],
        ["sessions", f"{facts.sessions:,}", ""],
        ["interactions", f"{facts.interactions:,}", ""],
        [
            "driven by taste",
            f"{100 * facts.long_share:.2f} %",
            "motive 1; the others by the session's intent, motive 0",
        ],
        ["ceiling_auc", ceiling, "of the motive, by the earlier motives of its session: no past says more"],
    ]
    print("\n" + tabulate(table, disable_numparse=True, tablefmt="plain", colalign=("left", "right", "left")))
    inter, *others = files(facts.folder)
    print(f"\n{inter}, and beside it {', '.join(path.name for path in others)}")
    settings = f"--data_path={shlex.quote(str(out))}"
    if name != NAME:  # what the property file of that name sets
        columns = [field for field in INTER if field != "session"]
        settings += f" --load_col=\"{{'inter': {columns}}}\" --time_unit=ms"
    print(f"\nNext: recbole-clia data stats {shlex.quote(name)} {settings}")
    print(f"      recbole-clia train --dataset={shlex.quote(name)} {settings}")
    return 0


def _others() -> set[str]:
    """The names of which there are settings, or which RecBole fetches."""
    host = recbole_dir() / "properties/dataset"
    known = {path.stem for folder in (PROPERTIES_DIR / "dataset", host) for path in folder.glob("*.yaml")}
    return known | set(read_properties(host / "url.yaml"))
