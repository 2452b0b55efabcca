"""Diginetica in the CIKM Cup's own form: semicolons."""

from __future__ import annotations

from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.diginetica import CONVERTERS

(DIGINETICA,) = CONVERTERS
VIEWS = (
    "sessionId;userId;itemId;timeframe;eventdate\n"
    "1;NA;81766;526309;2016-05-09\n"
    "1;NA;31331;1031018;2016-05-09\n"
    "2;77;32118;0;2016-01-01\n"
    "3;NA;32118;-5;2016-01-01\n"
    "3;NA;32118;5;2016-02-30\n"
    "3;NA;32118;5;2017-01-01\n"
    "3;NA;32118;five;2016-01-01\n"
    "3;NA;32118\n"
    ";NA;32118;5;2016-01-01\n"
    "4;NA;81766;7;2016-06-01\n"
)


def test_a_session_is_a_user(workplace: Path) -> None:
    (workplace / "train-item-views.csv").write_text(VIEWS)
    (workplace / "product-categories.csv").write_text("itemId;categoryId\n81766;1096\n31331;1096\n32118\n32118;4\n")
    files = [workplace / "train-item-views.csv", workplace / "product-categories.csv"]
    done = convert(DIGINETICA, files, workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (3, 3, 4, 3)
    assert done.skipped == [
        "train-item-views.csv: 1 line left out, 3 fields instead of 5 (first at line 9)",
        "train-item-views.csv: 1 line left out, no sessionId (first at line 10)",
        "train-item-views.csv: 1 line left out, timeframe is not a whole number (first at line 8)",
        "train-item-views.csv: 1 line left out, eventdate is not a time (first at line 6)",
        "train-item-views.csv: 1 line left out, eventdate is not from 2016-01-01 to 2016-06-01 (first at line 7)",
        "train-item-views.csv: 1 line left out, timeframe is below 0 (first at line 5)",
        "product-categories.csv: 1 line left out, 1 fields instead of 2 (first at line 4)",
    ]
    assert (workplace / "out/diginetica/diginetica.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\n"
        "1\t81766\t1462752526309\n"
        "1\t31331\t1462753031018\n"
        "2\t32118\t1451606400000\n"
        "4\t81766\t1464739200007\n"
    )
    assert (workplace / "out/diginetica/diginetica.item").read_text() == (
        "item_id:token\tcategory:token\n81766\t1096\n31331\t1096\n32118\t4\n"
    )
    data = load("diginetica", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (3, 3, 4)
