"""YooChoose in the RecSys Challenge's own form: no header, commas, times with milliseconds and Z."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.yoochoose import CONVERTERS

(YOOCHOOSE,) = CONVERTERS
CLICKS = (
    "1,2014-04-07T10:51:09.277Z,214536502,0\n"
    "1,2014-04-07T10:54:09.868Z,214536500,S\n"
    "2,2014-04-07T13:56:37.614Z,214662742,3\n"
    "2,2014-04-07T13:56:37.614Z,214536502,12\n"
    "2,2014-04-07T13:57:19.373Z,214662742,5\n"
    "3,2014-04-31T13:57:19.373Z,214662742,0\n"
    "3,2014-04-30T24:57:19.373Z,214662742,0\n"
    "3,2014-04-30 13:57:19,214662742,0\n"
    "3,,214662742,0\n"
    "3,2014-04-30T13:57:19.373Z,214662742\n"
    "3,2014-04-30T13:57:19Z,214662742,2089046016\n"
)
BUYS = "1,2014-04-07T11:44:11.000Z,214536500,12462,1\n5,bad,214536500,12462,1\n"


def test_clicks_alone(workplace: Path) -> None:
    (workplace / "yoochoose-clicks.dat").write_text(CLICKS)
    done = convert(YOOCHOOSE, [workplace / "yoochoose-clicks.dat"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (3, 3, 6, 2)
    assert done.skipped == [
        "yoochoose-clicks.dat: 1 line left out, 3 fields instead of 4 (first at line 10)",
        "yoochoose-clicks.dat: 1 line left out, no time (first at line 9)",
        "yoochoose-clicks.dat: 3 lines left out, time is not a time (first at line 6)",
    ]
    assert (workplace / "out/yoochoose/yoochoose.inter").read_text() == (
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n"
        "1\t214536502\tclick\t1396867869277\n"
        "1\t214536500\tclick\t1396868049868\n"
        "2\t214662742\tclick\t1396878997614\n"
        "2\t214536502\tclick\t1396878997614\n"
        "2\t214662742\tclick\t1396879039373\n"
        "3\t214662742\tclick\t1398866239000\n"
    )
    assert (workplace / "out/yoochoose/yoochoose.item").read_text() == (
        "item_id:token\tcategory:token\n214662742\t3\n214536502\t12\n"
    )


def test_buys_are_told_apart_and_not_loaded(workplace: Path) -> None:
    (workplace / "yoochoose-clicks.dat").write_text(CLICKS)
    (workplace / "yoochoose-buys.dat").write_text(BUYS)
    files = [workplace / "yoochoose-buys.dat", workplace / "yoochoose-clicks.dat"]
    done = convert(YOOCHOOSE, files, workplace / "out")
    assert (done.users, done.items, done.interactions) == (3, 3, 7)
    assert done.skipped[-1] == "yoochoose-buys.dat: 1 line left out, time is not a time (first at line 2)"
    last = (workplace / "out/yoochoose/yoochoose.inter").read_text().splitlines()[-1]
    assert last == "1\t214536500\tbuy\t1396871051000"
    data = load("yoochoose", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (3, 3, 6)


def test_times_agree_with_the_calendar(workplace: Path) -> None:
    start = datetime(2014, 4, 1, tzinfo=timezone.utc)
    times = [start + timedelta(milliseconds=13_176_043 * number) for number in range(1200)]
    lines = [f"1,{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z,2,0\n" for time in times]
    (workplace / "yoochoose-clicks.dat").write_text("".join(lines))
    done = convert(YOOCHOOSE, [workplace / "yoochoose-clicks.dat"], workplace / "out")
    assert (done.item_rows, done.skipped) == (None, [])
    written = (workplace / "out/yoochoose/yoochoose.inter").read_text().splitlines()[1:]
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert [int(line.split("\t")[3]) for line in written] == [
        (time - epoch) // timedelta(milliseconds=1) for time in times
    ]
