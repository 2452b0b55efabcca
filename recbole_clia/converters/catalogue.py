"""All converters, and what the property files say of their data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..settings.properties import PROPERTIES_DIR
from .convert import Converter

_NAMES = (
    "amazon",
    "diginetica",
    "foursquare",
    "globo",
    "gowalla",
    "kuairand",
    "kuairec",
    "lastfm",
    "movielens",
    "retailrocket",
    "steam",
    "taobao",
    "tmall",
    "yelp",
    "yoochoose",
)
_MODULES = [import_module(f"{__package__}.{name}") for name in _NAMES]
CONVERTERS: dict[str, Converter] = {
    converter.name: converter
    for converter in sorted((c for module in _MODULES for c in module.CONVERTERS), key=lambda c: c.name)
}

LABELS = ("Publisher", "Licence", "Files", "Literature", "Statistics")
_LABELLED = re.compile(rf"^({'|'.join(LABELS)}):\s*(.*)$")
_COUNTS = re.compile(r"^([\d,]+) users, ([\d,]+) items, ([\d,]+) interactions\b")


@dataclass(frozen=True)
class Description:
    """What the comments at the beginning of ``properties/dataset/NAME.yaml`` say.

    Attributes:
        title: what the data are.
        publisher, licence, files, literature, statistics: the text of the line of that name.
        users, items, interactions: the numbers of the statistics, or ``None`` where they are not known.
    """

    title: str
    publisher: str
    licence: str
    files: str
    literature: str
    statistics: str
    users: int | None
    items: int | None
    interactions: int | None


def describe(name: str) -> Description:
    """Read the comments of a dataset's property file; a line without a label continues the one before it.

    Raises:
        FileNotFoundError: if the dataset has no property file.
        ValueError: if one of the labelled lines is missing.
    """
    path = PROPERTIES_DIR / "dataset" / f"{name}.yaml"
    found = {"Title": ""}
    label = "Title"
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        match = _LABELLED.match(text)
        if match:
            label, text = match.groups()
            found[label] = ""
        found[label] = f"{found[label]} {text}".strip()
    missing = [label for label in ("Title", *LABELS) if not found.get(label)]
    if missing:
        raise ValueError(f"{path}: its comment has no line {', '.join(missing)}")
    counts = _COUNTS.match(found["Statistics"])
    users, items, interactions = (int(count.replace(",", "")) for count in counts.groups()) if counts else [None] * 3
    return Description(
        title=found["Title"],
        publisher=found["Publisher"],
        licence=found["Licence"],
        files=found["Files"],
        literature=found["Literature"],
        statistics=found["Statistics"],
        users=users,
        items=items,
        interactions=interactions,
    )


def how_to_get(name: str, folder: Path) -> str:
    """How the dataset comes to lie in ``folder``, in half a sentence."""
    if name == "synth":
        return f"make it: recbole-clia synth --out={folder.parent}"
    if name not in CONVERTERS:
        return f"lay its files into {folder}"
    about = describe(name)
    return (
        f"fetch its files from {about.publisher} ({about.files}), and convert them: "
        f"recbole-clia convert {name} FILES... {folder.parent}"
    )
