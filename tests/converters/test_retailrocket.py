"""Retailrocket's events and properties in its own form."""

from __future__ import annotations

from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.retailrocket import CONVERTERS

(RETAILROCKET,) = CONVERTERS
EVENTS = (
    "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n"
    "1433224214164,992329,view,248676,\n"
    "1433222276276,599528,transaction,356475,4000\n"
    "1433221999827,111016,click,318965,\n"
    "1433221955914,,view,318965,\n"
    "1433221955,483717,view,253185,\n"
    "nan,483717,view,253185,\n"
    "1433221337106,992329,addtocart,355908,\n"
)


def test_the_latest_category_counts(workplace: Path) -> None:
    (workplace / "events.csv").write_text(EVENTS)
    (workplace / "item_properties_part1.csv").write_text(
        "timestamp,itemid,property,value\n"
        "1441508400000,355908,categoryid,1338\n"
        "1439089200000,355908,categoryid,7\n"
        "1439089200000,355908,888,n552.000 639502 n720.000 424566\n"
        "1435460400000,248676,categoryid,10\n"
        "later,248676,categoryid,11\n"
    )
    (workplace / "item_properties_part2.csv").write_text(
        "timestamp,itemid,property,value\n1435460400001,248676,categoryid,12\n1433041200000,183478,561,769062\n"
    )
    files = [workplace / "item_properties_part2.csv", workplace / "events.csv"]
    done = convert(RETAILROCKET, [*files, workplace / "item_properties_part1.csv"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (3, 3, 4, 2)
    assert done.skipped == [
        "events.csv: 1 line left out, no visitorid (first at line 6)",
        "events.csv: 1 line left out, timestamp is not a whole number (first at line 8)",
        "events.csv: 1 line left out, timestamp is not from 2015-05-01 to 2015-09-30 (first at line 7)",
        "events.csv: 1 line left out, event is none of view, addtocart, transaction (first at line 5)",
        "item_properties_part1.csv: 1 line left out, timestamp is not a whole number (first at line 6)",
    ]
    assert (workplace / "out/retailrocket/retailrocket.inter").read_text() == (
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n"
        "257597\t355908\tview\t1433221332117\n"
        "992329\t248676\tview\t1433224214164\n"
        "599528\t356475\ttransaction\t1433222276276\n"
        "992329\t355908\taddtocart\t1433221337106\n"
    )
    assert sorted((workplace / "out/retailrocket/retailrocket.item").read_text().splitlines()) == [
        "248676\t12",
        "355908\t1338",
        "item_id:token\tcategory:token",
    ]


def test_views_are_what_is_loaded(workplace: Path) -> None:
    (workplace / "events.csv").write_text(EVENTS)
    done = convert(RETAILROCKET, [workplace / "events.csv"], workplace / "out")
    assert done.item_rows is None
    assert not (workplace / "out/retailrocket/retailrocket.item").exists()
    data = load("retailrocket", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 2, 2)
