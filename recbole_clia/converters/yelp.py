"""Yelp's open dataset: https://www.yelp.com/dataset.

Dates are the publisher's, of no stated time zone; they are read as UTC and written as seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from .convert import Converter, Files, Part
from .raw import NUMBER, TEXT, Column, RawFile, text_tables, words

INTER = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token_seq", "city": "token"}

_REVIEW = {
    "user_id": TEXT,
    "business_id": TEXT,
    "stars": NUMBER,
    "date": Column(pa.int64(), forms=("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")),  # earlier releases have the day alone
}


def _reviews(files: Files) -> Iterator[pa.Table]:
    for file in files["reviews"]:
        for table in file.record_tables(_REVIEW):
            yield table.rename_columns(list(INTER))


def _categories(file: RawFile) -> Iterator[tuple[str, str, str]]:
    for number, record in file.records():
        item, categories, city = (record.get(key) for key in ("business_id", "categories", "city"))
        if not isinstance(item, str) or not item.strip():
            file.skip(number, "no business_id")
            continue
        if isinstance(categories, str):  # earlier releases have a list
            categories = categories.split(",")
        yield (
            item,
            words(categories if isinstance(categories, list) else []),
            city.strip() if isinstance(city, str) else "",
        )


def _businesses(files: Files) -> Iterator[pa.Table]:
    for file in files["businesses"]:
        yield from text_tables(list(ITEM), _categories(file))


CONVERTERS = (
    Converter(
        "yelp",
        {
            "reviews": Part(r"(yelp_academic_dataset_)?review\.json(\.gz)?", "yelp_academic_dataset_review.json"),
            "businesses": Part(
                r"(yelp_academic_dataset_)?business\.json(\.gz)?",
                "yelp_academic_dataset_business.json",
                required=False,
            ),
        },
        INTER,
        _reviews,
        ITEM,
        _businesses,
    ),
)
