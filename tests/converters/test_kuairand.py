"""KuaiRand's logs in Kuaishou's own form, in three sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import load

from recbole_clia.converters.convert import convert
from recbole_clia.converters.kuairand import CONVERTERS
from recbole_clia.errors import UsageError

BY_NAME = {converter.name: converter for converter in CONVERTERS}
HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag\n"
)


def row(user: int, video: int | str, time: int | str, click: int | str = 1, rand: int = 0) -> str:
    return f"{user},{video},20220408,400,{time},{click},0,0,0,0,0,1,5000,10400,0,0,0,{rand},1\n"


def test_pure(workplace: Path) -> None:
    early, late = (workplace / f"log_standard_4_{name}_pure.csv" for name in ("08_to_4_21", "22_to_5_08"))
    random, videos = workplace / "log_random_4_22_to_5_08_pure.csv", workplace / "video_features_basic_pure.csv"
    early.write_text(HEADER + row(0, 3822, 1649375041301) + row(0, 5, 1649375041302, 0) + row(1, "", 1649375041302))
    late.write_text(HEADER + row(1, 3822, 1650585801301) + row(1, 5, "x") + row(1, 5, 1650585801309, "yes"))
    random.write_text(HEADER + row(1, 7, 1650585801400, rand=1))
    videos.write_text(
        VIDEOS
        + "5,8,NORMAL,2022-03-17,LongImport,1.0,10566.0,720,1280,3350323409,9.0,39\n"
        + '7,8,AD,2022-03-17,LongImport,1.0,,720,1280,3350323409,9.0,"12,65"\n'
        + "8,9,NORMAL,2022-03-17,LongImport,1.0,10566.0,720,1280,3350323409,9.0,\n"
    )
    done = convert(BY_NAME["kuairand-pure"], [videos, random, late, early], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 3, 4, 3)
    assert done.skipped == [
        "log_standard_4_22_to_5_08_pure.csv: 1 line left out, is_click is not a whole number (first at line 4)",
        "log_standard_4_22_to_5_08_pure.csv: 1 line left out, time_ms is not a whole number (first at line 3)",
        "log_standard_4_08_to_4_21_pure.csv: 1 line left out, no video_id (first at line 4)",
    ]
    assert (workplace / "out/kuairand-pure/kuairand-pure.inter").read_text() == (
        "user_id:token\titem_id:token\tis_click:float\tlong_view:float\tis_rand:float\ttimestamp:float\n"
        "1\t3822\t1\t1\t0\t1650585801301\n"
        "0\t3822\t1\t1\t0\t1649375041301\n"
        "0\t5\t0\t1\t0\t1649375041302\n"
        "1\t7\t1\t1\t1\t1650585801400\n"
    )
    assert (workplace / "out/kuairand-pure/kuairand-pure.item").read_text() == (
        "item_id:token\tcategory:token_seq\tauthor:token\n5\t39\t8\n7\t12 65\t8\n8\t\t9\n"
    )
    data = load("kuairand-pure", workplace / "out")  # clicks only
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 2, 3)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("kuairand-27k", "log_standard_4_08_to_4_21_27k_part2.csv"),
        ("kuairand-1k", "log_standard_4_22_to_5_08_1k.csv"),
    ],
)
def test_the_other_sizes(workplace: Path, name: str, file: str) -> None:
    (workplace / file).write_text(HEADER + row(0, 3822, 1649375041301) + row(1, 5, 1649375041302))
    done = convert(BY_NAME[name], [workplace / file], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 2, None)
    data = load(name, workplace / "out")
    assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (2, 2, 2)


def test_a_size_refuses_the_files_of_another(workplace: Path) -> None:
    (workplace / "log_standard_4_22_to_5_08_1k.csv").write_text(HEADER + row(0, 1, 1649375041301))
    with pytest.raises(UsageError, match="is none of kuairand-pure's files"):
        convert(BY_NAME["kuairand-pure"], [workplace / "log_standard_4_22_to_5_08_1k.csv"], workplace / "out")
