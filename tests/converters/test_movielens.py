"""MovieLens files in GroupLens's own form."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import numbers

from recbole_clia.converters import raw
from recbole_clia.converters.convert import convert
from recbole_clia.converters.movielens import CONVERTERS
from recbole_clia.settings.config import PluginConfig

BY_NAME = {converter.name: converter for converter in CONVERTERS}
HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM_HEAD = "item_id:token\tcategory:token_seq\n"


def flags(*genres: int) -> str:
    return "|".join("1" if genre in genres else "0" for genre in range(19))


def test_ml_100k(workplace: Path) -> None:
    (workplace / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\n22\t377\t1\tsoon\n196\t302\t4\t881250950\n")
    (workplace / "u.item").write_bytes(
        (
            f"242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|{flags(5)}\n"
            f'302|Misérables, "Les" (1995)|01-Jan-1995|||{flags(2, 4, 10)}\n'
            f"1373|no genre|||\n"
            f"267|unknown||||{flags(0)}\n"
        ).encode("latin-1")
    )
    done = convert(BY_NAME["ml-100k"], [workplace / "u.data", workplace / "u.item"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (1, 2, 2, 3)
    assert done.skipped == [
        "u.data: 1 line left out, 3 fields instead of 4 (first at line 2)",
        "u.data: 1 line left out, timestamp is not a whole number (first at line 3)",
        "u.item: 1 line left out, 5 fields instead of 24 (first at line 3)",
    ]
    assert (workplace / "out/ml-100k/ml-100k.inter").read_text() == (
        HEAD + "196\t242\t3\t881250949\n196\t302\t4\t881250950\n"
    )
    assert (workplace / "out/ml-100k/ml-100k.item").read_text() == (
        ITEM_HEAD + "242\tComedy\n302\tAdventure Children's Film-Noir\n267\tunknown\n"
    )
    # RecBole brings its own file of this name and reads that one.
    assert PluginConfig("GRU4Rec", "ml-100k")["time_unit"] == "s"


def test_ml_1m(workplace: Path) -> None:
    (workplace / "ratings.dat").write_text(
        "1::1193::5::978300760\n1::661::3::978302109\n\n2::1193::five::978298413\n2::1193::4\n::661::4::978298413\n"
        "2::661::4::-978298413.5\n2::661::4::978298413\n"
    )
    (workplace / "movies.dat").write_bytes(
        "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
        "1193::Misérables: the film::Drama\n3::no genres\n".encode("latin-1")
    )
    done = convert(BY_NAME["ml-1m"], [workplace / "movies.dat", workplace / "ratings.dat"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 3, 2)
    assert done.skipped == [
        "ratings.dat: 1 line left out, 3 fields instead of 4 (first at line 5)",
        "ratings.dat: 1 line left out, no user (first at line 6)",
        "ratings.dat: 1 line left out, rating is not a number (first at line 4)",
        "ratings.dat: 1 line left out, timestamp is not a whole number (first at line 7)",
        "movies.dat: 1 line left out, 2 fields instead of 3 (first at line 3)",
    ]
    assert (workplace / "out/ml-1m/ml-1m.inter").read_text() == (
        HEAD + "1\t1193\t5\t978300760\n1\t661\t3\t978302109\n2\t661\t4\t978298413\n"
    )
    assert (workplace / "out/ml-1m/ml-1m.item").read_text() == (
        ITEM_HEAD + "661\tAnimation Children's Musical\n1193\tDrama\n"
    )
    assert numbers("ml-1m", workplace / "out") == (2, 2, 3)


@pytest.mark.parametrize("block", [40, 8 << 20])
def test_ml_20m(workplace: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(raw, "BLOCK_BYTES", block)
    (workplace / "ratings.csv").write_bytes(
        b"\xef\xbb\xbfuserId,movieId,rating,timestamp\r\n1,2,3.5,1112486027\r\n1,29\r\n2,29,4.0,1112484676\r\n"
        b"2,31,4.0,112\r\n3,29,4.0,nan\r\n3,2,1e999,1112484676\r\n3,2,inf,1112484676\r\n"
        b"3,2,4,1,1112484676\r\n\xff,2,4,1112484676\r\n"
    )
    (workplace / "movies.csv").write_text(
        'movieId,title,genres\n2,Jumanji (1995),Adventure|Children\n29,"City, The",Sci-Fi\n29,again,War\n'
        "31,Room 9 (2001),(no genres listed)\n"
    )
    done = convert(BY_NAME["ml-20m"], [workplace / "movies.csv", workplace / "ratings.csv"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 3, 3, 3)
    assert sorted(done.skipped) == [
        "ratings.csv: 1 line left out, 2 fields instead of 4 (first at line 3)",
        "ratings.csv: 1 line left out, 5 fields instead of 4 (first at line 9)",
        "ratings.csv: 1 line left out, not utf-8 text (first at line 10)",
        "ratings.csv: 1 line left out, timestamp is not a whole number (first at line 6)",
        "ratings.csv: 2 lines left out, rating is not a number (first at line 7)",
    ]
    assert (workplace / "out/ml-20m/ml-20m.inter").read_text() == (
        HEAD + "1\t2\t3.5\t1112486027\n2\t29\t4\t1112484676\n2\t31\t4\t112\n"
    )
    assert (workplace / "out/ml-20m/ml-20m.item").read_text() == (
        ITEM_HEAD + "2\tAdventure Children\n29\tSci-Fi\n31\t\n"
    )
    assert numbers("ml-20m", workplace / "out") == (2, 3, 3)
