"""KuaiRec's big matrix in Kuaishou's own form."""

from __future__ import annotations

from pathlib import Path

from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.kuairec import CONVERTERS

(KUAIREC,) = CONVERTERS
MATRIX = (
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965215790926\n"
    "0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,1593879221.2969998,1.2440823015294975\n"
    "0,5262,851,7908,2020-07-05 00:16:06.5,20200705,1593882025.5,0.078\n"
    "14,1963,862,9590,,,,0.0898852971845672\n"
    "14,1963,862,9590,,,NaN,0.0898852971845672\n"
    "14,1963,862,0,2020-07-05 00:16:06,20200705,1593882026,inf\n"
    "14,1963,862,9590,2020-07-05 00:16:06,20200705,1593882026,0.5\n"
)
CATEGORIES = 'video_id,feat\n0,[8]\n1963,"[27, 9]"\n3649,"[27,9,3]"\n4,[]\n5,nan\n'


def test_times_are_whole_milliseconds(workplace: Path) -> None:
    (workplace / "big_matrix.csv").write_text(MATRIX)
    (workplace / "item_categories.csv").write_text(CATEGORIES)
    done = convert(KUAIREC, [workplace / "item_categories.csv", workplace / "big_matrix.csv"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 4, 4, 3)
    assert done.skipped == [
        "big_matrix.csv: 1 line left out, watch_ratio is not a number (first at line 7)",
        "big_matrix.csv: 1 line left out, no timestamp (first at line 5)",
        "big_matrix.csv: 1 line left out, timestamp is not a number (first at line 6)",
        "item_categories.csv: 2 lines left out, feat is not a list of numbers (first at line 5)",
    ]
    assert (workplace / "out/kuairec/kuairec.inter").read_text() == (
        "user_id:token\titem_id:token\twatch_ratio:float\ttimestamp:float\n"
        "0\t3649\t1.2733965215790926\t1593878903438\n"
        "0\t9598\t1.2440823015294975\t1593879221297\n"
        "0\t5262\t0.078\t1593882025500\n"
        "14\t1963\t0.5\t1593882026000\n"
    )
    assert (workplace / "out/kuairec/kuairec.item").read_text() == (
        "item_id:token\tcategory:token_seq\n0\t8\n1963\t27 9\n3649\t27 9 3\n"
    )
    data = load("kuairec", workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 4, 4)


def test_every_millisecond_is_exact(workplace: Path) -> None:
    times = [1593878903000 + 997 * number for number in range(5000)]
    lines = [f"1,2,3,4,t,d,{time // 1000}.{time % 1000:03d},1.0" for time in times]
    (workplace / "big_matrix.csv").write_text("\n".join([MATRIX.splitlines()[0], *lines, ""]))
    done = convert(KUAIREC, [workplace / "big_matrix.csv"], workplace / "out")
    assert (done.item_rows, done.skipped) == (None, [])
    written = (workplace / "out/kuairec/kuairec.inter").read_text().splitlines()[1:]
    assert [int(line.split("\t")[3]) for line in written] == times
