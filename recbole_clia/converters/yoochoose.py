"""YooChoose, of the RecSys Challenge 2015: https://recsys.acm.org/recsys15/challenge/.

A session is the user here; the data name no users.  Times become milliseconds since 1970 UTC.  The category of a
click is "S" for a special offer, "0" where unknown, 1 to 12, or the number of a brand; an item's category is the
first one from 1 to 12 that it was clicked in, and items without such a click are not in the ``.item`` file.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .columns import first_of_each, rows_of
from .convert import Converter, Files, Part
from .raw import ANY_TEXT, TEXT

INTER = {"user_id": "token", "item_id": "token", "behavior": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
CLICKS = ("session", "time", "item", "category")
BUYS = ("session", "time", "item", "price", "quantity")
CATEGORIES = pa.array([str(number) for number in range(1, 13)])


def _inter(files: Files) -> Iterator[pa.Table]:
    for part, names, behavior in (("clicks", CLICKS, "click"), ("buys", BUYS, "buy")):
        for file in files[part]:
            for rows in rows_of(file, {"session": TEXT, "item": TEXT, "time": TEXT}, names=names):
                rows.milliseconds("time")
                behaviors = pa.array([behavior]).take(pa.array([0] * rows.table.num_rows))
                yield rows.table.add_column(2, "behavior", behaviors).rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["clicks"]:
        for table in file.again().tables({"item": TEXT, "category": ANY_TEXT}, names=CLICKS, quoted=False):
            table = table.filter(compute.is_in(table.column("category"), CATEGORIES))
            yield first_of_each(table.rename_columns(list(ITEM)), "item_id")


CONVERTERS = (
    Converter(
        "yoochoose",
        {
            "clicks": Part(r"yoochoose-clicks\.dat(\.gz)?", "yoochoose-clicks.dat"),
            "buys": Part(r"yoochoose-buys\.dat(\.gz)?", "yoochoose-buys.dat", required=False),
        },
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
