"""The user log of IJCAI-15 in Alibaba's own form."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.tmall import CONVERTERS

(TMALL,) = CONVERTERS
RAW = (
    "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type\n"
    "328862,323294,833,2882,2661.0,829,0\n"
    "328862,844400,1271,2882,2661.0,0829,3\n"
    "328862,844400,9,2882,,1111,2\n"
    "7,575153,1271,2882,2661.0,511,1\n"
    "7,575153,1271,2882,2661.0,829,4\n"
    "7,575153,1271,2882,2661.0,510,0\n"
    "7,575153,1271,2882,2661.0,1113,0\n"
    "7,575153,1271,2882,2661.0,931,0\n"
    "7,575153,1271,2882,2661.0,,0\n"
    ",575153,1271,2882,2661.0,829,0\n"
)


def day(month: int, number: int) -> int:
    return (date(2014, month, number) - date(1970, 1, 1)).days


def test_month_and_day_become_days_since_1970(workplace: Path) -> None:
    raw = workplace / "user_log_format1.csv.gz"
    raw.write_bytes(gzip.compress(RAW.encode()))
    done = convert(TMALL, [raw], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 3, 4, 3)
    assert done.skipped == [
        "user_log_format1.csv.gz: 1 line left out, no user_id (first at line 11)",
        "user_log_format1.csv.gz: 1 line left out, no time_stamp (first at line 10)",
        "user_log_format1.csv.gz: 1 line left out, action_type is none of 0, 1, 2, 3 (first at line 6)",
        "user_log_format1.csv.gz: 3 lines left out, time_stamp is not a day from 0511 to 1112 (first at line 7)",
    ]
    assert day(8, 29) == 16311
    assert (workplace / "out/tmall/tmall.inter").read_text() == (
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n"
        f"328862\t323294\tclick\t{day(8, 29)}\n"
        f"328862\t844400\tfavourite\t{day(8, 29)}\n"
        f"328862\t844400\tpurchase\t{day(11, 11)}\n"
        f"7\t575153\tcart\t{day(5, 11)}\n"
    )
    assert (workplace / "out/tmall/tmall.item").read_text() == (
        "item_id:token\tcategory:token\n323294\t833\n844400\t1271\n575153\t1271\n"
    )
    data = load("tmall", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 3, 4)
