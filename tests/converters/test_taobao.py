"""UserBehavior in Alibaba's own form: no header, commas."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.taobao import CONVERTERS

(TAOBAO,) = CONVERTERS


@pytest.fixture
def raw(workplace: Path) -> Path:
    path = workplace / "UserBehavior.csv"
    path.write_text(
        "1,2268318,2520377,pv,1511544070\n"
        "1,2333346,2520771,buy,1511561733\n"
        "1,2576651,149192,pv\n"
        "1,2268318,2520377,pv,-2134949234\n"
        "1,2268318,2520377,pv,1511539199\n"
        "1,2268318,2520377,pv,1511539200\n"
        "2,2268318,9,fav,1512316799\n"
        "2,2268318,2520377,fav,1512316800\n"
        "2,2268318,2520377,like,1511561733\n"
        "2,,2520377,cart,1511561733\n"
        "3,7,4,pv,2122867355\n"
        "3,7,4,pv,1511561733.5\n"
        "3,8,4,pv,1511561733\n"
        "3,7,4,cart,1511561733\n"
    )
    return path


def test_lines_outside_the_nine_days_of_beijing_are_left_out(raw: Path, workplace: Path) -> None:
    done = convert(TAOBAO, [raw], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (3, 4, 6, 4)
    assert done.skipped == [
        "UserBehavior.csv: 1 line left out, 4 fields instead of 5 (first at line 3)",
        "UserBehavior.csv: 1 line left out, no item_id (first at line 10)",
        "UserBehavior.csv: 1 line left out, timestamp is not a whole number (first at line 12)",
        "UserBehavior.csv: 4 lines left out, timestamp is not from 2017-11-25 to 2017-12-03 (first at line 4)",
        "UserBehavior.csv: 1 line left out, behavior is none of pv, buy, cart, fav (first at line 9)",
    ]
    assert (workplace / "out/taobao/taobao.inter").read_text() == (
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n"
        "1\t2268318\tpv\t1511544070\n"
        "1\t2333346\tbuy\t1511561733\n"
        "1\t2268318\tpv\t1511539200\n"
        "2\t2268318\tfav\t1512316799\n"
        "3\t8\tpv\t1511561733\n"
        "3\t7\tcart\t1511561733\n"
    )
    assert (workplace / "out/taobao/taobao.item").read_text() == (
        "item_id:token\tcategory:token\n2268318\t2520377\n2333346\t2520771\n8\t4\n7\t4\n"
    )


def test_page_views_are_what_is_loaded(raw: Path, workplace: Path) -> None:
    convert(TAOBAO, [raw], workplace / "out")
    data = load("taobao", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 2, 3)
    assert set(data.field2id_token["behavior"]) == {"[PAD]", "pv"}


def test_a_header_is_no_interaction_and_no_item(workplace: Path) -> None:
    raw = workplace / "userbehavior.csv"
    raw.write_bytes(b"\xef\xbb\xbfuser,item,category,behavior,timestamp\r\n1,2,3,pv,1511544070\r\n")
    done = convert(TAOBAO, [raw], workplace / "out")
    assert done.skipped == ["userbehavior.csv: 1 line left out, timestamp is not a whole number (first at line 1)"]
    assert (workplace / "out/taobao/taobao.inter").read_text().splitlines()[1:] == ["1\t2\tpv\t1511544070"]
    assert (workplace / "out/taobao/taobao.item").read_text().splitlines()[1:] == ["2\t3"]
