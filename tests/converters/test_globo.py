"""Globo.com's hourly clicks in their own form."""

from __future__ import annotations

from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.globo import CONVERTERS
from recbole_clia.settings.config import PluginConfig

(GLOBO,) = CONVERTERS
HEADER = (
    "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,click_environment,"
    "click_deviceGroup,click_os,click_country,click_region,click_referrer_type\n"
)


def click(user: int, session: int | str, article: int | str, time: int | str) -> str:
    return f"{user},{session},1506825423000,2,{article},{time},4,3,20,1,20,2\n"


def convert_some(workplace: Path) -> list[str]:
    first, second = workplace / "clicks_hour_000.csv", workplace / "clicks_hour_001.csv"
    first.write_text(
        HEADER
        + click(0, 1506825423271737, 157541, 1506826828020)
        + click(0, 1506825423271737, 68866, 1506826858020)
        + click(1, 1506825426267738, 157541, 1506827017950)
        + click(1, 1506825426267738, "", 1506827017951)
        + click(1, 1506825426267738, 235840, 1306827017951)
        + "1,2,3\n"
    )
    second.write_text(HEADER + click(0, 1506829000000001, 157541, 1506829000001) + click(1, 9, 7, "1506829000001.5"))
    (workplace / "articles_metadata.csv").write_text(
        "article_id,category_id,created_at_ts,publisher_id,words_count\n"
        "68866,0,1513144419000,0,168\n157541,281,1405341936000,0,189\n3,1,2,0,many\n"
    )
    done = convert(GLOBO, [second, workplace / "articles_metadata.csv", first], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 4, 2)
    return done.skipped


def test_many_hours(workplace: Path) -> None:
    assert convert_some(workplace) == [
        "clicks_hour_001.csv: 1 line left out, click_timestamp is not a whole number (first at line 3)",
        "clicks_hour_000.csv: 1 line left out, 3 fields instead of 12 (first at line 7)",
        "clicks_hour_000.csv: 1 line left out, no click_article_id (first at line 5)",
        "clicks_hour_000.csv: 1 line left out, click_timestamp is not from 2017-10-01 to 2017-11-30 (first at line 6)",
        "articles_metadata.csv: 1 line left out, words_count is not a whole number (first at line 4)",
    ]
    assert (workplace / "out/globo/globo.inter").read_text() == (
        "user_id:token\titem_id:token\tsession_id:token\ttimestamp:float\n"
        "0\t157541\t1506829000000001\t1506829000001\n"
        "0\t157541\t1506825423271737\t1506826828020\n"
        "0\t68866\t1506825423271737\t1506826858020\n"
        "1\t157541\t1506825426267738\t1506827017950\n"
    )
    assert (workplace / "out/globo/globo.item").read_text() == (
        "item_id:token\tcategory:token\twords_count:float\n68866\t0\t168\n157541\t281\t189\n"
    )


def test_users_are_loaded_and_sessions_can_be(workplace: Path) -> None:
    from recbole.data import create_dataset

    convert_some(workplace)
    data = load("globo", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 2, 4)
    settings = {
        "data_path": str(workplace / "out"),
        "state": "ERROR",
        "user_inter_num_interval": "[0,inf)",
        "item_inter_num_interval": "[0,inf)",
        "USER_ID_FIELD": "session_id",
        "load_col": "{'inter': ['session_id', 'item_id', 'timestamp']}",
    }
    sessions = create_dataset(PluginConfig("GRU4Rec", "globo", config_dict=settings))
    assert (sessions.user_num - 1, sessions.item_num - 1, sessions.inter_num) == (3, 2, 4)
