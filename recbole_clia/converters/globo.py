"""Clicks on Globo.com's news: https://www.kaggle.com/datasets/gspmoreira/news-portal-user-interactions-by-globocom.

Times are milliseconds since 1970.  The data name both user and session; ``user_id`` is the user, whose sessions
follow one another, and ``session_id`` stands beside it for those who want sessions instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .convert import Converter, Files, Part
from .raw import TEXT, WHOLE, Column, Period

INTER = {"user_id": "token", "item_id": "token", "session_id": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token", "words_count": "float"}
COLUMNS = {
    "user_id": TEXT,
    "click_article_id": TEXT,
    "session_id": TEXT,
    "click_timestamp": Column(pa.int64(), within=Period("2017-10-01", "2017-11-30", 1000)),
}


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["clicks"]:
        for table in file.tables(COLUMNS, quoted=False):
            yield table.rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["articles"]:
        columns = {"article_id": TEXT, "category_id": TEXT, "words_count": WHOLE}
        for table in file.tables(columns, quoted=False):
            yield table.rename_columns(list(ITEM))


CONVERTERS = (
    Converter(
        "globo",
        {
            "clicks": Part(r"clicks_hour_\d+\.csv(\.gz)?", "clicks_hour_000.csv to clicks_hour_384.csv", many=True),
            "articles": Part(r"articles_metadata\.csv(\.gz)?", "articles_metadata.csv", required=False),
        },
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
