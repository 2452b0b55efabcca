"""Amazon's reviews, of the McAuley Lab, in the releases of 2014, 2018 and 2023.

2014: https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html (user, item, rating, seconds)
2018: https://nijianmo.github.io/amazon/ (item, user, rating, seconds)
2023: https://amazon-reviews-2023.github.io/ (user, item, rating, milliseconds; an item is a ``parent_asin``)

Each category comes as ratings without text (CSV) and as reviews (one object a line); either will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

import pyarrow as pa

from .convert import Converter, Files, Part
from .raw import NUMBER, TEXT, Column, Period, RawFile, text_tables, words

INTER = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token_seq", "brand": "token"}


@dataclass(frozen=True)
class _Release:
    """What differs between the releases.

    Attributes:
        names: of the columns of the ratings, where their file has no header.
        ratings, reviews: names there of user, item, rating and time.
        time: the column of times.
        item, brand: names of these in the metadata.
        categories: the categories of a line of metadata.
        literals: whether lines may be Python dictionaries.
        inter, meta: name of the file of a category, and of its metadata.
        pattern: what the first of these matches.
    """

    names: tuple[str, ...] | None
    ratings: tuple[str, str, str, str]
    reviews: tuple[str, str, str, str]
    time: Column
    item: str
    brand: str
    categories: Callable[[Mapping[str, Any]], Any]
    literals: bool
    inter: str
    meta: str
    pattern: str


def _categories_2014(record: Mapping[str, Any]) -> Any:
    return [category for path in _list(record.get("categories")) for category in _list(path)]


def _categories_2018(record: Mapping[str, Any]) -> Any:
    # Pieces of the page's markup stand among the categories, and an image in place of some main ones.
    found = [c for c in _list(record.get("category")) if isinstance(c, str) and "<" not in c]
    main = record.get("main_cat")
    return found or [main if isinstance(main, str) and "<" not in main else ""]


def _categories_2023(record: Mapping[str, Any]) -> Any:
    return _list(record.get("categories")) or [record.get("main_category")]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_CSV = ("user", "item", "rating", "timestamp")
_2014 = _Release(
    names=_CSV,
    ratings=_CSV,
    reviews=("reviewerID", "asin", "overall", "unixReviewTime"),
    time=Column(pa.int64(), within=Period("1995-01-01", "2014-12-31")),
    item="asin",
    brand="brand",
    categories=_categories_2014,
    literals=True,
    inter="ratings_{0}.csv or reviews_{0}.json.gz or reviews_{0}_5.json.gz",
    meta="meta_{0}.json.gz",
    pattern=r"ratings_{0}\.csv(\.gz)?|reviews_{0}(_5)?\.json(\.gz)?",
)
_2018 = _Release(
    names=("item", "user", "rating", "timestamp"),
    ratings=_CSV,
    reviews=("reviewerID", "asin", "overall", "unixReviewTime"),
    time=Column(pa.int64(), within=Period("1995-01-01", "2018-12-31")),
    item="asin",
    brand="brand",
    categories=_categories_2018,
    literals=False,
    inter="{0}.csv or {0}.json.gz or {0}_5.json.gz",
    meta="meta_{0}.json.gz",
    pattern=r"{0}\.csv(\.gz)?|{0}(_5)?\.json(\.gz)?",
)
_2023 = _Release(
    names=None,
    ratings=("user_id", "parent_asin", "rating", "timestamp"),
    reviews=("user_id", "parent_asin", "rating", "timestamp"),
    time=Column(pa.int64(), within=Period("1995-01-01", "2023-12-31", ticks=1000)),
    item="parent_asin",
    brand="store",
    categories=_categories_2023,
    literals=False,
    inter="{0}.csv.gz or {0}.jsonl.gz",
    meta="meta_{0}.jsonl.gz",
    pattern=r"{0}\.csv(\.gz)?|{0}\.jsonl(\.gz)?",
)


def _interactions(release: _Release) -> Callable[[Files], Iterator[pa.Table]]:
    def read(files: Files) -> Iterator[pa.Table]:
        for file in files["reviews"]:
            is_csv = ".csv" in file.path.name.lower()
            names = release.ratings if is_csv else release.reviews
            columns = dict(zip(names, (TEXT, TEXT, NUMBER, release.time), strict=True))
            tables = (
                file.tables(columns, names=release.names, quoted=False)
                if is_csv
                else file.record_tables(columns, release.literals)
            )
            for table in tables:
                yield table.rename_columns(list(INTER))

    return read


def _described(file: RawFile, release: _Release) -> Iterator[tuple[str, str, str]]:
    for number, record in file.records(release.literals):
        item, brand = record.get(release.item), record.get(release.brand)
        if not isinstance(item, str) or not item.strip():
            file.skip(number, f"no {release.item}")
            continue
        categories = (c for c in release.categories(record) if isinstance(c, str))
        brand = " ".join(unescape(brand).split()) if isinstance(brand, str) and "<" not in brand else ""
        yield item, words(map(unescape, categories)), brand


def _items(release: _Release) -> Callable[[Files], Iterator[pa.Table]]:
    def read(files: Files) -> Iterator[pa.Table]:
        for file in files["metadata"]:
            yield from text_tables(list(ITEM), _described(file, release))

    return read


def _converter(name: str, category: str, release: _Release) -> Converter:
    meta = release.meta.format(category)
    return Converter(
        name,
        {
            "reviews": Part(release.pattern.format(category), release.inter.format(category)),
            "metadata": Part(meta.replace(".gz", "(.gz)?").replace(".json", r"\.json"), meta, required=False),
        },
        INTER,
        _interactions(release),
        ITEM,
        _items(release),
    )


CONVERTERS = tuple(
    _converter(f"amazon-{name}", category, release)
    for release, datasets in (
        (
            _2014,
            {
                "beauty": "Beauty",
                "sports-outdoors": "Sports_and_Outdoors",
                "toys-games": "Toys_and_Games",
                "books": "Books",
            },
        ),
        (
            _2018,
            {
                "all-beauty-18": "All_Beauty",
                "luxury-beauty-18": "Luxury_Beauty",
                "sports-outdoors-18": "Sports_and_Outdoors",
                "toys-games-18": "Toys_and_Games",
                "books-18": "Books",
            },
        ),
        (
            _2023,
            {
                "beauty-personal-care-23": "Beauty_and_Personal_Care",
                "all-beauty-23": "All_Beauty",
                "sports-outdoors-23": "Sports_and_Outdoors",
                "toys-games-23": "Toys_and_Games",
                "books-23": "Books",
            },
        ),
    )
    for name, category in datasets.items()
)
