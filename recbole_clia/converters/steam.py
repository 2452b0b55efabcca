"""Steam's reviews of games, of the McAuley Lab: https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data.

A user is a display name, as few reviews have more.  Dates are read as UTC and written as seconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from .convert import Converter, Files, Part
from .raw import TEXT, Column, Period, RawFile, text_tables, words

INTER = {"user_id": "token", "item_id": "token", "play_hours": "float", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token_seq"}

_REVIEW = {
    "username": TEXT,
    "product_id": TEXT,
    "hours": Column(pa.float64(), needed=False),
    "date": Column(pa.int64(), within=Period("2010-01-01", "2018-12-31"), forms=("%Y-%m-%d",)),
}
# An atomic file cannot hold the first as they are, and RecBole reads the second as a missing value.
_UNSAFE = re.compile(r"[%\"\x00-\x1f\x7f\ud800-\udfff]|^\s+|\s+$")
_MISSING = frozenset(
    {"#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"}
    | {"N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)


def _token(name: Any) -> str:
    """A display name as a token, with what cannot stand there as ``%22``, so that no two names become one."""
    if not isinstance(name, str):
        return ""
    if name in _MISSING:
        return f"%{ord(name[0]):X}{name[1:]}"
    return _UNSAFE.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), name)


def _reviews(files: Files) -> Iterator[pa.Table]:
    for file in files["reviews"]:
        rows = (
            (number, (_token(review.get("username")), *(review.get(key) for key in ("product_id", "hours", "date"))))
            for number, review in file.records(literals=True)
        )
        for table in file.row_tables(_REVIEW, rows):
            yield table.rename_columns(list(INTER))


def _genres(file: RawFile) -> Iterator[tuple[str, str]]:
    for number, game in file.records(literals=True):
        item, genres = game.get("id"), game.get("genres")
        if isinstance(item, str) and item.strip():
            yield item, words(genres if isinstance(genres, list) else [])
        else:
            file.skip(number, "no id")


def _games(files: Files) -> Iterator[pa.Table]:
    for file in files["games"]:
        yield from text_tables(list(ITEM), _genres(file))


CONVERTERS = (
    Converter(
        "steam",
        {
            "reviews": Part(r"steam_(reviews|new)\.json(\.gz)?", "steam_reviews.json.gz"),
            "games": Part(r"steam_games\.json(\.gz)?", "steam_games.json.gz", required=False),
        },
        INTER,
        _reviews,
        ITEM,
        _games,
    ),
)
