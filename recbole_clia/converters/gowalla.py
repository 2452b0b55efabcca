"""Gowalla's check-ins, of SNAP: https://snap.stanford.edu/data/loc-gowalla.html.

Times are UTC, and written as seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .convert import Converter, Files, Part
from .raw import NUMBER, TEXT, Column, Period

INTER = {"user_id": "token", "item_id": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "latitude": "float", "longitude": "float"}

_NAMES = ["user", "time", "latitude", "longitude", "place"]
_TIME = Column(pa.int64(), within=Period("2009-01-01", "2010-12-31"), forms=("%Y-%m-%dT%H:%M:%SZ",))


def _check_ins(files: Files) -> Iterator[pa.Table]:
    for file in files["check-ins"]:
        for table in file.tables({"user": TEXT, "place": TEXT, "time": _TIME}, "\t", _NAMES, quoted=False):
            yield table.rename_columns(list(INTER))


def _places(files: Files) -> Iterator[pa.Table]:
    for file in files["check-ins"]:
        columns = {"place": TEXT, "latitude": NUMBER, "longitude": NUMBER}
        for table in file.again().tables(columns, "\t", _NAMES, quoted=False):
            yield table.rename_columns(list(ITEM))


CONVERTERS = (
    Converter(
        "gowalla",
        {"check-ins": Part(r"(loc-)?gowalla_totalCheckins\.txt(\.gz)?", "loc-gowalla_totalCheckins.txt.gz")},
        INTER,
        _check_ins,
        ITEM,
        _places,
    ),
)
