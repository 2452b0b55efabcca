"""Foursquare's check-ins in New York and Tokyo, of Dingqi Yang.

https://sites.google.com/site/yangdingqi/home/foursquare-dataset

Times are UTC, and written as seconds since 1970; the file's offset of the local time is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .convert import Converter, Files, Part
from .raw import ANY_TEXT, NUMBER, TEXT, Column, Period

INTER = {"user_id": "token", "item_id": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token", "latitude": "float", "longitude": "float"}

_NAMES = ["user", "venue", "category id", "category", "latitude", "longitude", "offset", "time"]
# The publisher says 12 April 2012 to 16 February 2013; the files begin on 3 April.
_TIME = Column(pa.int64(), within=Period("2012-04-01", "2013-02-28"), forms=("%a %b %d %H:%M:%S +0000 %Y",))


def _check_ins(files: Files) -> Iterator[pa.Table]:
    for file in files["check-ins"]:
        columns = {"user": TEXT, "venue": TEXT, "time": _TIME}
        for table in file.tables(columns, "\t", _NAMES, encoding="latin-1", quoted=False):
            yield table.rename_columns(list(INTER))


def _venues(files: Files) -> Iterator[pa.Table]:
    for file in files["check-ins"]:
        columns = {"venue": TEXT, "category": ANY_TEXT, "latitude": NUMBER, "longitude": NUMBER}
        for table in file.again().tables(columns, "\t", _NAMES, encoding="latin-1", quoted=False):
            yield table.rename_columns(list(ITEM))


CONVERTERS = tuple(
    Converter(
        f"foursquare-{city.lower()}",
        {"check-ins": Part(rf"dataset_TSMC2014_{city}\.txt(\.gz)?", f"dataset_TSMC2014_{city}.txt")},
        INTER,
        _check_ins,
        ITEM,
        _venues,
    )
    for city in ("NYC", "TKY")
)
