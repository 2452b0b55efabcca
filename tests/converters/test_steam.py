"""Steam's reviews in the McAuley Lab's own form."""

from __future__ import annotations

import gzip
from pathlib import Path

from loading import load, numbers

from recbole_clia.converters.convert import convert
from recbole_clia.converters.steam import CONVERTERS

(STEAM,) = CONVERTERS


def review(user: str, item: str, date: str, rest: str = "") -> str:
    return (
        f"{{u'username': {user}, u'product_id': u'{item}', u'page_order': 0, u'date': u'{date}', "
        f"u'text': u'Don\\'t buy\\nit', u'early_access': False, u'page': 1{rest}}}\n"
    )


def test_steam(workplace: Path) -> None:
    (workplace / "steam_reviews.json.gz").write_bytes(
        gzip.compress(
            (
                review("u'Chaos Syren'", "725280", "2017-12-17", ", u'hours': 0.1, u'products': 41")
                + review("u'Chaos Syren'", "725280", "2017-12-17", ", u'hours': 0.1, u'products': 41")
                + review("u'\\u2605 50%\\t\"x\" '", "328100", "2017-08-02", ", u'hours': 51.1")
                + review("u'None'", "328100", "2017-08-02")
                + review("u'50%'", "328100", "2017-08-02", ", u'hours': None")
                + review("u''", "328100", "2017-08-02")
                + review("u'Ariman1'", "328100", "Posted: August 2")
                + review("u'Ariman1'", "328100", "2071-08-02")
                + review("open('x')", "328100", "2017-08-02")
                + '{"username": "JSON", "product_id": "328100", "date": "2010-10-15", "hours": 2}\n'
            ).encode()
        )
    )
    (workplace / "steam_games.json.gz").write_bytes(
        gzip.compress(
            b"{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Free to Play', u'Action'], u'id': u'725280'}\n"
            b"{u'url': u'http://store.steampowered.com/', u'price': 19.99}\n"
            b"{u'app_name': u'Goat', u'id': u'328100'}\n"
        )
    )
    files = [workplace / "steam_games.json.gz", workplace / "steam_reviews.json.gz"]
    done = convert(STEAM, files, workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (5, 2, 6, 2)
    assert done.skipped == [
        "steam_reviews.json.gz: 1 line left out, neither JSON nor a Python literal (first at line 9)",
        "steam_reviews.json.gz: 1 line left out, no username (first at line 6)",
        "steam_reviews.json.gz: 1 line left out, date is not a time (first at line 7)",
        "steam_reviews.json.gz: 1 line left out, date is not from 2010-01-01 to 2018-12-31 (first at line 8)",
        "steam_games.json.gz: 1 line left out, no id (first at line 2)",
    ]
    assert (workplace / "out/steam/steam.inter").read_text() == (
        "user_id:token\titem_id:token\tplay_hours:float\ttimestamp:float\n"
        "Chaos Syren\t725280\t0.1\t1513468800\n"
        "Chaos Syren\t725280\t0.1\t1513468800\n"
        "\u2605 50%25%09%22x%22%20\t328100\t51.1\t1501632000\n"
        "%4Eone\t328100\t\t1501632000\n"
        "50%25\t328100\t\t1501632000\n"
        "JSON\t328100\t2\t1287100800\n"
    )
    assert (workplace / "out/steam/steam.item").read_text() == (
        "item_id:token\tcategory:token_seq\n725280\tAction Free-to-Play\n328100\t\n"
    )
    assert numbers("steam", workplace / "out") == (5, 2, 5)  # the repeated line counts once
    assert load("steam", workplace / "out").field2id_token["user_id"][1:].tolist() == [
        "Chaos Syren",
        "\u2605 50%25%09%22x%22%20",
        "%4Eone",
        "50%25",
        "JSON",
    ]
