"""Retailrocket: https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset.

Times are milliseconds since 1970.  An item's properties change; its category is the one with the latest time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .columns import rows_of
from .convert import Converter, Files, Part
from .raw import ANY_TEXT, TEXT, WHOLE, Column, Period

INTER = {"user_id": "token", "item_id": "token", "behavior": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
BEHAVIORS = {word: word for word in ("view", "addtocart", "transaction")}
COLUMNS = {
    "visitorid": TEXT,
    "itemid": TEXT,
    "event": TEXT,
    "timestamp": Column(pa.int64(), within=Period("2015-05-01", "2015-09-30", 1000)),
}


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["events"]:
        for rows in rows_of(file, COLUMNS):
            rows.name_codes("event", BEHAVIORS)
            yield rows.table.rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    latest: dict[str, tuple[int, str]] = {}
    columns = {"itemid": TEXT, "property": ANY_TEXT, "value": ANY_TEXT, "timestamp": WHOLE}
    for file in files["properties"]:
        for table in file.tables(columns, quoted=False):
            table = table.filter(compute.equal(table.column("property"), "categoryid"))
            rows = zip(*(table.column(name).to_pylist() for name in ("itemid", "timestamp", "value")), strict=True)
            for item, time, category in rows:
                if item not in latest or time >= latest[item][0]:
                    latest[item] = time, category
    yield pa.table(
        {
            "item_id": pa.array(list(latest), pa.string()),
            "category": pa.array([category for _, category in latest.values()], pa.string()),
        }
    )


CONVERTERS = (
    Converter(
        "retailrocket",
        {
            "events": Part(r"events\.csv(\.gz)?", "events.csv"),
            "properties": Part(
                r"item_properties_part[12]\.csv(\.gz)?",
                "item_properties_part1.csv and item_properties_part2.csv",
                required=False,
                many=True,
            ),
        },
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
