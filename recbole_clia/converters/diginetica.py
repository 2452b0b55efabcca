"""Diginetica, of the CIKM Cup 2016: https://competitions.codalab.org/competitions/11161.

A session is the user here, because most lines name no user.  The file has the day of a view and the milliseconds
since the session began; the time written is their sum, in milliseconds since 1970, with the day's beginning in UTC.
It orders the views of a session and the days, not the sessions of one day.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .columns import rows_of
from .convert import Converter, Files, Part
from .raw import TEXT, WHOLE, Column, Period

INTER = {"user_id": "token", "item_id": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
COLUMNS = {
    "sessionId": TEXT,
    "itemId": TEXT,
    "timeframe": WHOLE,
    "eventdate": Column(pa.int64(), within=Period("2016-01-01", "2016-06-01"), forms=("%Y-%m-%d",)),
}


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["views"]:
        for rows in rows_of(file, COLUMNS, delimiter=";"):
            rows.keep(compute.greater_equal(rows["timeframe"], 0), "timeframe is below 0")
            rows["timeframe"] = compute.add(compute.multiply(rows["eventdate"], 1000), rows["timeframe"])
            yield rows.table.select(["sessionId", "itemId", "timeframe"]).rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["categories"]:
        for table in file.tables({"itemId": TEXT, "categoryId": TEXT}, delimiter=";", quoted=False):
            yield table.rename_columns(list(ITEM))


CONVERTERS = (
    Converter(
        "diginetica",
        {
            "views": Part(r"train-item-views\.csv(\.gz)?", "train-item-views.csv"),
            "categories": Part(r"product-categories\.csv(\.gz)?", "product-categories.csv", required=False),
        },
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
