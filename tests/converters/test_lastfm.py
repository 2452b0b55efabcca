"""Last.fm 1K in its own form: tabs, no header, no quotes."""

from __future__ import annotations

from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.lastfm import CONVERTERS

(LASTFM,) = CONVERTERS
ARTIST = "f1b1cf71-bd35-4e99-8624-24a6e15f133a"
TRACK = "f7c1f8f8-b935-45ed-8fc8-7def69d92a10"
RAW = (
    f"user_000001\t2009-05-04T23:08:57Z\t{ARTIST}\tDeep Dish\t\tFuck Me Im Famous\n"
    f'user_000001\t2009-05-04T13:54:10Z\t{ARTIST}\tSigur Rós\t{TRACK}\tThe "Last" Song\n'
    f"user_000002\t2009-05-04T13:52:04Z\t\tSigur Rós\t{TRACK}\tThe Last Song\n"
    f"user_000002\t2009-05-04T13:42:52Z\t{ARTIST}\tSigur Rós\t\t\n"
    f"user_000762\t2013-09-29T18:32:04Z\t{ARTIST}\tDeep Dish\t\tFamous\n"
    f"user_000762\t1970-01-01T00:00:00Z\t{ARTIST}\tDeep Dish\t\tFamous\n"
    f"user_000762\t2009-02-29T00:00:00Z\t{ARTIST}\tDeep Dish\t\tFamous\n"
    f"user_000762\t2009-02-28\t{ARTIST}\tDeep Dish\t\tFamous\n"
    f"user_000002\t2009-05-04T13:42:11Z\t{ARTIST}\tTab\there\t\tFamous\n"
    f'user_000002\t2009-05-04T13:42:11Z\t{ARTIST}\tDeep Dish\t\t"Famous"\n'
)


def test_a_track_without_id_goes_by_its_name(workplace: Path) -> None:
    raw = workplace / "userid-timestamp-artid-artname-traid-traname.tsv"
    latin = f"user_000003\t2009-05-04T13:42:11Z\t{ARTIST}\tSigur Rós\t{TRACK}\tSvefn\n".encode("latin-1")
    raw.write_bytes(RAW.encode() + latin)
    done = convert(LASTFM, [raw], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 3, 4, 3)
    assert done.skipped == [
        f"{raw.name}: 1 line left out, 7 fields instead of 6 (first at line 9)",
        f"{raw.name}: 2 lines left out, timestamp is not a time (first at line 7)",
        f"{raw.name}: 2 lines left out, timestamp is not from 2002-01-01 to 2010-05-31 (first at line 5)",
        f"{raw.name}: 1 line left out, not utf-8 text (first at line 11)",
        f"{raw.name}: 1 line left out, no track (first at line 4)",
    ]
    assert (workplace / "out/lastfm-1k/lastfm-1k.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\n"
        "user_000001\tDeep Dish / Fuck Me Im Famous\t1241478537\n"
        f"user_000001\t{TRACK}\t1241445250\n"
        f"user_000002\t{TRACK}\t1241445124\n"
        "user_000002\tDeep Dish /  Famous \t1241444531\n"
    )
    assert (workplace / "out/lastfm-1k/lastfm-1k.item").read_text() == (
        "item_id:token\tcategory:token\n"
        "Deep Dish / Fuck Me Im Famous\tDeep Dish\n"
        f"{TRACK}\tSigur Rós\n"
        "Deep Dish /  Famous \tDeep Dish\n"
    )
    data = load("lastfm-1k", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 3, 4)
