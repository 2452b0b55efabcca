"""KuaiRec, of Kuaishou: https://kuairec.com.

The times are seconds with a fraction, and are written as whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .columns import rows_of
from .convert import Converter, Files, Part
from .raw import NUMBER, TEXT

INTER = {"user_id": "token", "item_id": "token", "watch_ratio": "float", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token_seq"}
COLUMNS = {"user_id": TEXT, "video_id": TEXT, "watch_ratio": NUMBER, "timestamp": NUMBER}


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for table in file.tables(COLUMNS, quoted=False):
            # Three decimals of ten-digit seconds are far within a float64, so rounding gives them back exactly.
            times = compute.round(compute.multiply(table.column("timestamp"), 1000))
            table = table.set_column(3, "timestamp", compute.cast(times, pa.int64()))
            yield table.rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["categories"]:
        for rows in rows_of(file, {"video_id": TEXT, "feat": TEXT}, quoted=True):
            rows.keep(
                compute.match_substring_regex(rows["feat"], pattern=r"^\[[0-9]+(, ?[0-9]+)*\]$"),
                "feat is not a list of numbers",
            )
            rows["feat"] = compute.replace_substring_regex(
                compute.utf8_trim(rows["feat"], characters="[]"), pattern=", ?", replacement=" "
            )
            yield rows.table.rename_columns(list(ITEM))


CONVERTERS = (
    Converter(
        "kuairec",
        {
            "log": Part(r"big_matrix\.csv(\.gz)?", "big_matrix.csv"),
            "categories": Part(r"item_categories\.csv(\.gz)?", "item_categories.csv", required=False),
        },
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
