"""Taobao's UserBehavior, of Alibaba: https://tianchi.aliyun.com/dataset/649.

The file has no header.  A share of its lines carries times far off the nine days that it is of; they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .columns import BeijingPeriod, Rows, first_of_each, rows_of
from .convert import Converter, Files, Part
from .raw import TEXT, Column, RawFile

INTER = {"user_id": "token", "item_id": "token", "behavior": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
NAMES = ("user_id", "item_id", "category", "behavior", "timestamp")
COLUMNS = {
    **dict.fromkeys(NAMES[:-1], TEXT),
    "timestamp": Column(pa.int64(), within=BeijingPeriod("2017-11-25", "2017-12-03")),
}
BEHAVIORS = {word: word for word in ("pv", "buy", "cart", "fav")}


def _log(file: RawFile) -> Iterator[Rows]:
    for rows in rows_of(file, COLUMNS, names=NAMES):
        rows.name_codes("behavior", BEHAVIORS)
        yield rows


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for rows in _log(file):
            yield rows.table.select(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for rows in _log(file.again()):
            yield first_of_each(rows.table.select(list(ITEM)), "item_id")


CONVERTERS = (
    Converter("taobao", {"log": Part(r"UserBehavior\.csv(\.gz)?", "UserBehavior.csv")}, INTER, _inter, ITEM, _item),
)
