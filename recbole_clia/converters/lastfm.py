"""Last.fm 1K, of Òscar Celma: http://ocelma.net/MusicRecommendationDataset/lastfm-1K.html.

An item is a track: its MusicBrainz id or, for the tracks that have none, the words "artist / track".  A track that
has its id on some lines only is thus two items.  The category of a track is the name of its artist.  Times become
seconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as compute

from .columns import Rows, first_of_each, rows_of
from .convert import Converter, Files, Part
from .raw import ANY_TEXT, TEXT, Column, Period, RawFile

INTER = {"user_id": "token", "item_id": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
NAMES = ("user_id", "timestamp", "artist_id", "artist", "track_id", "track")
COLUMNS = {
    "user_id": TEXT,
    # Until the month in which the data were published; a few lines are of years after it.
    "timestamp": Column(pa.int64(), within=Period("2002-01-01", "2010-05-31"), forms=("%Y-%m-%dT%H:%M:%SZ",)),
    "artist": ANY_TEXT,
    "track_id": ANY_TEXT,
    "track": ANY_TEXT,
}


def _log(file: RawFile) -> Iterator[Rows]:
    for rows in rows_of(file, COLUMNS, delimiter="\t", names=NAMES):
        nameless = compute.equal(rows["track_id"], "")
        rows.keep(compute.invert(compute.and_(nameless, compute.equal(rows["track"], ""))), "no track")
        words = compute.binary_join_element_wise(rows["artist"], rows["track"], " / ")
        rows["track_id"] = compute.if_else(compute.equal(rows["track_id"], ""), words, rows["track_id"])
        yield rows


def _inter(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for rows in _log(file):
            yield rows.table.select(["user_id", "track_id", "timestamp"]).rename_columns(list(INTER))


def _item(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        for rows in _log(file.again()):
            yield first_of_each(rows.table.select(["track_id", "artist"]).rename_columns(list(ITEM)), "item_id")


CONVERTERS = (
    Converter(
        "lastfm-1k",
        {
            "log": Part(
                r"userid-timestamp-artid-artname-traid-traname\.tsv(\.gz)?",
                "userid-timestamp-artid-artname-traid-traname.tsv",
            )
        },
        INTER,
        _inter,
        ITEM,
        _item,
    ),
)
