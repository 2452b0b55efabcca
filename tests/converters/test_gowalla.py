"""Gowalla's check-ins in SNAP's own form."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from loading import numbers

from recbole_clia.converters.convert import convert
from recbole_clia.converters.gowalla import CONVERTERS

(GOWALLA,) = CONVERTERS
TEXT = (
    "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
    "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n"
    "0\t2010-10-17 23:42:03\t30.2557309927\t-97.7633857727\t316637\n"
    "1\t2010-10-17T19:26:05Z\t30.2634181234\n"
    "1\t1970-01-01T00:00:00Z\t30.2742918584\t-97.7405226231\t16516\n"
    "1\t2010-10-16T03:48:54Z\t\t-97.7585065953\t5535878\n"
    "\t2010-10-16T03:48:54Z\t30.2\t-97.7\t5535879\n"
    "1\t2010-10-15T03:48:54Z\t30.2359091167\t-97.7951395833\t22847\n"
)


@pytest.mark.parametrize("name", ["loc-gowalla_totalCheckins.txt", "Gowalla_totalCheckins.txt.gz"])
def test_gowalla(workplace: Path, name: str) -> None:
    path = workplace / name
    path.write_bytes(gzip.compress(TEXT.encode()) if name.endswith("gz") else TEXT.encode())
    done = convert(GOWALLA, [path], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 3, 4, 5)
    assert done.skipped == [
        f"{name}: 1 line left out, 3 fields instead of 5 (first at line 4)",
        f"{name}: 1 line left out, no user (first at line 7)",
        f"{name}: 1 line left out, time is not a time (first at line 3)",
        f"{name}: 1 line left out, time is not from 2009-01-01 to 2010-12-31 (first at line 5)",
        f"{name}: 1 line left out, no latitude (first at line 6)",
    ]
    assert (workplace / "out/gowalla/gowalla.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\n"
        "0\t22847\t1287532527\n0\t420315\t1287440263\n1\t5535878\t1287200934\n1\t22847\t1287114534\n"
    )
    assert (workplace / "out/gowalla/gowalla.item").read_text() == (
        "item_id:token\tlatitude:float\tlongitude:float\n"
        "22847\t30.2359091167\t-97.7951395833\n420315\t30.2691029532\t-97.7493953705\n"
        "316637\t30.2557309927\t-97.7633857727\n16516\t30.2742918584\t-97.7405226231\n5535879\t30.2\t-97.7\n"
    )
    assert numbers("gowalla", workplace / "out") == (2, 3, 4)
