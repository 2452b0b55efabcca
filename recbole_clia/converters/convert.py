"""A publisher's raw files become RecBole's atomic files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from ..errors import UsageError
from .raw import RawFile
from .writer import AtomicWriter

Files = Mapping[str, list[RawFile]]  # the files of each part, in the order that they were given


@dataclass(frozen=True)
class Part:
    """One kind of raw file that a dataset consists of.

    Attributes:
        pattern: regular expression that the file's name matches as a whole, whatever its case.
        example: the publisher's name of it.
        required: whether the dataset cannot be converted without it.
        many: whether several files may match.
    """

    pattern: str
    example: str
    required: bool = True
    many: bool = False


@dataclass(frozen=True)
class Converter:
    """How the raw files of one dataset are read.

    Attributes:
        name: the dataset, as its property file is named.
        parts: what raw files there are.
        inter: fields of the ``.inter`` file with their types, such as ``{"user_id": "token", ...}``.
        read_inter: gives tables with exactly these columns, in this order.
        item: fields of the ``.item`` file, or nothing.
        read_item: gives tables with these columns; of several rows of an item the first is kept.
    """

    name: str
    parts: Mapping[str, Part]
    inter: Mapping[str, str]
    read_inter: Callable[[Files], Iterator[pa.Table]]
    item: Mapping[str, str] = field(default_factory=dict)
    read_item: Callable[[Files], Iterator[pa.Table]] | None = None


@dataclass(frozen=True)
class Converted:
    """What came out.

    Attributes:
        folder: where the atomic files lie.
        users, items, interactions: how many there are in the ``.inter`` file.
        item_rows: rows of the ``.item`` file, or ``None`` if there is none.
        skipped: a sentence for each kind of line that was left out.
    """

    folder: Path
    users: int
    items: int
    interactions: int
    item_rows: int | None
    skipped: list[str]


def sort_files(converter: Converter, paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Tell by its name which part each file is.

    Raises:
        UsageError: for a file that does not exist or is none of the parts, or a part that is missing or twice there.
    """
    found: dict[str, list[Path]] = {part: [] for part in converter.parts}
    allowed = ", ".join(part.example + ("" if part.required else " (optional)") for part in converter.parts.values())
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        fits = [n for n, p in converter.parts.items() if re.fullmatch(p.pattern, path.name, re.IGNORECASE)]
        if not fits:
            raise UsageError(f"{path}: its name is none of {converter.name}'s files, which are {allowed}")
        if path.resolve() in {other.resolve() for other in found[fits[0]]}:
            raise UsageError(f"{path}: it is given twice")
        found[fits[0]].append(path)
    for name, part in converter.parts.items():
        if part.required and not found[name]:
            raise UsageError(f"{converter.name}: the file {part.example} is missing; it needs {allowed}")
        if len(found[name]) > 1 and not part.many:
            raise UsageError(f"{converter.name}: {found[name][0]} and {found[name][1]} are both {part.example}")
    return found


def convert(converter: Converter, paths: Sequence[Path], out: Path, force: bool = False) -> Converted:
    """Write ``out/NAME/NAME.inter`` and, if there is item data, ``NAME.item``.

    The files appear only once they are whole.

    Args:
        converter: the dataset.
        paths: its raw files, in any order.
        out: folder of datasets, RecBole's ``data_path``.
        force: whether files that are already there are replaced.

    Raises:
        UsageError: for files that do not belong, cannot be read or hold no interaction, or if the
            dataset is already there.
    """
    parts = sort_files(converter, paths)
    folder = out / converter.name
    inter, item = folder / f"{converter.name}.inter", folder / f"{converter.name}.item"
    for there in (inter, item):
        if there.exists() and not force:
            raise UsageError(f"{there} is already there; give another folder, or replace it with --force")
    made = not folder.exists()
    total = sum(path.stat().st_size for part in parts.values() for path in part)
    try:
        with tqdm(total=total, unit="B", unit_scale=True, desc=converter.name) as progress:
            files = {name: [RawFile(p, progress.update) for p in part] for name, part in parts.items()}
            # Both appear together, when the context ends.
            with (
                AtomicWriter(inter, converter.inter) as interactions,
                AtomicWriter(item, converter.item, distinct="item_id") as items,
            ):
                for table in converter.read_inter(files):
                    interactions.write(table)
                if interactions.rows == 0:
                    names = ", ".join(str(path) for part in parts.values() for path in part)
                    raise UsageError(
                        f"{names}: not one interaction was found; {_told(files) or 'are they the right files?'}"
                    )
                for table in converter.read_item(files) if converter.read_item else ():
                    items.write(table)
                if items.rows == 0:
                    items.discard()
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return Converted(
        folder,
        interactions.distinct("user_id"),
        interactions.distinct("item_id"),
        interactions.rows,
        items.rows or None,
        _told(files),
    )


def _told(files: Files) -> list[str]:
    return [
        f"{file.path.name}: {count:,} line{'s' * (count > 1)} left out, {reason} "
        f"(first at line {file.first_skipped[reason]})"
        for part in files.values()
        for file in part
        for reason, count in file.skipped.items()
    ]
