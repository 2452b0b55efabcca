"""``recbole-clia convert``: a publisher's raw files become atomic files."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..errors import UsageError
from ..settings.check import nearest


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "convert",
        usage="%(prog)s NAME RAW_FILES... OUT [--force]\n       %(prog)s --list",
        help="turn a publisher's raw files into a dataset",
        description="Write OUT/NAME/NAME.inter and, from what the raw files say of the items, NAME.item.  Each file is "
        "known by its name, which must be the publisher's; it may be gzipped.",
        epilog="For instance: recbole-clia convert ml-20m ratings.csv movies.csv dataset",
    )
    parser.add_argument(
        "words", nargs="*", metavar="NAME RAW_FILES... OUT", help="dataset, its raw files, folder for the result"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are already there")
    parser.add_argument("--list", action="store_true", help="list the datasets with their raw files, and stop")
    parser.set_defaults(run=convert, takes_settings=True)


def convert(arguments: argparse.Namespace) -> int:
    from ..converters.catalogue import CONVERTERS, describe
    from ..converters.convert import convert as convert_files

    # Words behind an option are left over by argparse.
    words = arguments.words + [word for word in arguments.settings if not word.startswith("-")]
    unknown = [word for word in arguments.settings if word.startswith("-")]
    if unknown:
        raise UsageError(f"convert: unknown argument {unknown[0]}")
    if arguments.list:
        if words:
            raise UsageError(f"convert: --list takes no further words, such as {words[0]}")
        rows = [[name, describe(name).files, describe(name).publisher] for name in CONVERTERS]
        print(tabulate(rows, headers=["dataset", "raw files", "publisher"], maxcolwidths=[None, 48, None]))
        return 0
    if not words:
        raise UsageError("convert: give a dataset, its raw files and a folder, or --list to see the datasets")
    name = words[0]
    if name not in CONVERTERS:
        hint = nearest(name, CONVERTERS) or "; recbole-clia convert --list shows the known ones"
        raise UsageError(f"convert: the dataset {name!r} is unknown{hint}")
    description = describe(name)
    if len(words) < 3:
        raise UsageError(f"convert: give {name}'s raw files ({description.files}), then the folder for the result")
    *files, out = (Path(word) for word in words[1:])
    if out.is_file():
        raise UsageError(f"{out} is a file; the last word must be the folder for the result")

    try:
        done = convert_files(CONVERTERS[name], files, out, force=arguments.force)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UsageError(f"convert: {where}{error.strerror or error}") from error

    found = (done.users, done.items, done.interactions)
    expected = (description.users, description.items, description.interactions)
    table = [
        [what, f"{number:,}", "not known" if wanted is None else f"{wanted:,}"]
        for what, number, wanted in zip(("users", "items", "interactions"), found, expected, strict=True)
    ]
    print(f"\n{description.title}\n")
    print(
        tabulate(table, headers=["", "found", "expected"], disable_numparse=True, colalign=("left", "right", "right"))
    )
    if done.skipped:
        print("\n" + "\n".join(done.skipped))
    if None in expected:
        print(f"\nStatistics: {description.statistics}")
    elif found != expected:
        print(
            f"\nThe numbers are not those of the whole data as published ({description.statistics}); "
            "it may be a subset or another release."
        )
    print(f"\n{done.folder / f'{name}.inter'}: {done.interactions:,} interactions")
    if done.item_rows is not None:
        print(f"{done.folder / f'{name}.item'}: {done.item_rows:,} items")
    print(f"\nNext: recbole-clia train --dataset={name} --data_path={shlex.quote(str(out))}")
    return 0
