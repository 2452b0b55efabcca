"""Foursquare's check-ins in their publisher's own form."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import numbers

from recbole_clia.converters.convert import convert
from recbole_clia.converters.foursquare import CONVERTERS

BY_NAME = {converter.name: converter for converter in CONVERTERS}


@pytest.mark.parametrize("city", ["NYC", "TKY"])
def test_foursquare(workplace: Path, city: str) -> None:
    path = workplace / f"dataset_TSMC2014_{city}.txt"
    path.write_bytes(
        (
            "470\t49bbd6c0f964a520f4531fe3\t4bf58dd8d48988d127951735\tArts & Crafts Store\t40.719810\t-74.002581\t"
            "-240\tTue Apr 03 18:00:09 +0000 2012\n"
            "979\t4a43c0aef964a520c6a61fe3\t4bf58dd8d48988d16d941735\tCafé\t40.606800\t-74.044170\t540\t"
            "Fri Jan 04 06:02:53 +0000 2013\n"
            "979\t4a43c0aef964a520c6a61fe3\t4bf58dd8d48988d16d941735\tCafé\t40.606800\t-74.044170\t540\t"
            "Fri Jan 04 06:02:53 +0900 2013\n"
            "69\t4c5cc7b485a1e21e00d35711\t4bf58dd8d48988d103941735\tHome (private)\t40.71\t-73.88\n"
            "69\t4c5cc7b485a1e21e00d35711\t4bf58dd8d48988d103941735\tHome (private)\t40.71\tnan\t-240\t"
            "Tue Apr 03 18:02:24 +0000 2012\n"
            "69\t4bc7086715a7ef3bef9878da\t\t\t40.71\t-73.88\t-240\tTue Apr 03 18:02:24 +0000 2002\n"
        ).encode("latin-1")
    )
    name = f"foursquare-{city.lower()}"
    done = convert(BY_NAME[name], [path], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (3, 3, 3, 3)
    assert done.skipped == [
        f"{path.name}: 1 line left out, 6 fields instead of 8 (first at line 4)",
        f"{path.name}: 2 lines left out, time is not a time (first at line 3)",
        f"{path.name}: 1 line left out, longitude is not a number (first at line 5)",
    ]
    assert (workplace / f"out/{name}/{name}.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\n"
        "470\t49bbd6c0f964a520f4531fe3\t1333476009\n"
        "979\t4a43c0aef964a520c6a61fe3\t1357279373\n"
        "69\t4c5cc7b485a1e21e00d35711\t1333476144\n"
    )
    assert (workplace / f"out/{name}/{name}.item").read_text() == (
        "item_id:token\tcategory:token\tlatitude:float\tlongitude:float\n"
        "49bbd6c0f964a520f4531fe3\tArts & Crafts Store\t40.71981\t-74.002581\n"
        "4a43c0aef964a520c6a61fe3\tCafé\t40.6068\t-74.04417\n"
        "4bc7086715a7ef3bef9878da\t\t40.71\t-73.88\n"
    )
    assert numbers(name, workplace / "out") == (3, 3, 3)
