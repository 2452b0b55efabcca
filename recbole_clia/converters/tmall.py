"""Tmall's repeat buyers, of Alibaba for the IJCAI-15 competition: https://tianchi.aliyun.com/dataset/42.

A time is month and day only, such as 829 or 1111; with the year 2014 of the competition's data it becomes the
number of days since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pyarrow.compute as compute

from .columns import Rows, first_of_each, rows_of
from .convert import Converter, Files, Part
from .raw import TEXT, WHOLE, RawFile

INTER = {"user_id": "token", "item_id": "token", "behavior": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
COLUMNS = {"user_id": TEXT, "item_id": TEXT, "cat_id": TEXT, "time_stamp": WHOLE, "action_type": TEXT}
BEHAVIORS = {"0": "click", "1": "cart", "2": "purchase", "3": "favourite"}
_FIRST, _LAST = date(2014, 5, 11), date(2014, 11, 12)
_DAYS = range((_FIRST - date(1970, 1, 1)).days, (_LAST - date(1970, 1, 1)).days + 1)
_CODES = [date.fromordinal(day + date(1970, 1, 1).toordinal()) for day in _DAYS]
MONTH_DAYS = pa.array([day.month * 100 + day.day for day in _CODES], pa.int64())


def _log(file: RawFile) -> Iterator[Rows]:
    for rows in rows_of(file, COLUMNS):
        rows.name_codes("action_type", BEHAVIORS)
        rows["time_stamp"] = compute.take(pa.array(_DAYS, pa.int64()), compute.index_in(rows["time_stamp"], MONTH_DAYS))
        rows.keep(compute.is_valid(rows["time_stamp"]), "time_stamp is not a day from 0511 to 1112")
        yield rows


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for rows in _log(file):
            table = rows.table.select(["user_id", "item_id", "action_type", "time_stamp"])
            yield table.rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for rows in _log(file.again()):
            table = rows.table.select(["item_id", "cat_id"]).rename_columns(list(ITEM))
            yield first_of_each(table, "item_id")


CONVERTERS = (
    Converter(
        "tmall",
        {"log": Part(r"user_log_format1\.csv(\.gz)?", "user_log_format1.csv")},
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
