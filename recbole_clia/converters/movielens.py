"""MovieLens, of GroupLens: https://grouplens.org/datasets/movielens/."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .convert import Converter, Files, Part
from .raw import ANY_TEXT, NUMBER, TEXT, WHOLE, RawFile, text_tables, words

INTER = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token_seq"}

_RATING = {"user": TEXT, "film": TEXT, "rating": NUMBER, "timestamp": WHOLE}
# The genres of u.item stand in this order (u.genre), a column of 0 and 1 each.
_GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)


def _ratings_100k(files: Files) -> Iterator[pa.Table]:
    for file in files["ratings"]:
        for table in file.tables(_RATING, "\t", list(_RATING), quoted=False):
            yield table.rename_columns(list(INTER))


def _films_100k(files: Files) -> Iterator[pa.Table]:
    names = ["film", "title", "release", "video release", "address", *_GENRES_100K]
    columns = {"film": TEXT, **dict.fromkeys(_GENRES_100K, ANY_TEXT)}
    for file in files["films"]:
        for table in file.tables(columns, "|", names, encoding="latin-1", quoted=False):
            rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
            yield from text_tables(
                list(ITEM),
                (
                    (film, words(genre for genre, flag in zip(_GENRES_100K, flags, strict=True) if flag == "1"))
                    for film, *flags in rows
                ),
            )


def _double_colons(file: RawFile, fields: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in file.lines("latin-1"):
        values = line.split("::")
        if len(values) == fields:
            yield number, values
        elif line.strip():
            file.skip(number, f"{len(values)} fields instead of {fields}")


def _ratings_1m(files: Files) -> Iterator[pa.Table]:
    for file in files["ratings"]:
        for table in file.row_tables(_RATING, _double_colons(file, 4)):
            yield table.rename_columns(list(INTER))


def _films_1m(files: Files) -> Iterator[pa.Table]:
    for file in files["films"]:
        rows = ((number, (film, genres)) for number, (film, _, genres) in _double_colons(file, 3))
        for table in file.row_tables({"film": TEXT, "genres": ANY_TEXT}, rows):
            yield _with_genres(table)


def _ratings_20m(files: Files) -> Iterator[pa.Table]:
    columns = {"userId": TEXT, "movieId": TEXT, "rating": NUMBER, "timestamp": WHOLE}
    for file in files["ratings"]:
        for table in file.tables(columns):
            yield table.rename_columns(list(INTER))


def _films_20m(files: Files) -> Iterator[pa.Table]:
    for file in files["films"]:
        for table in file.tables({"movieId": TEXT, "genres": ANY_TEXT}):
            yield _with_genres(table)


def _with_genres(table: pa.Table) -> pa.Table:
    """Film and genres, these as in ``Film-Noir|Sci-Fi``."""
    genres = table.column(1)
    genres = compute.if_else(compute.equal(genres, "(no genres listed)"), "", genres)
    genres = compute.replace_substring(compute.replace_substring(genres, " ", "-"), "|", " ")
    return pa.table({"item_id": table.column(0), "category": genres})


CONVERTERS = (
    Converter(
        "ml-100k",
        {"ratings": Part(r"u\.data", "u.data"), "films": Part(r"u\.item", "u.item", required=False)},
        INTER,
        _ratings_100k,
        ITEM,
        _films_100k,
    ),
    Converter(
        "ml-1m",
        {
            "ratings": Part(r"ratings\.dat", "ratings.dat"),
            "films": Part(r"movies\.dat", "movies.dat", required=False),
        },
        INTER,
        _ratings_1m,
        ITEM,
        _films_1m,
    ),
    Converter(
        "ml-20m",
        {
            "ratings": Part(r"ratings\.csv", "ratings.csv"),
            "films": Part(r"movies\.csv", "movies.csv", required=False),
        },
        INTER,
        _ratings_20m,
        ITEM,
        _films_20m,
    ),
)
