"""Yelp's files in its own form."""

from __future__ import annotations

from pathlib import Path

from loading import numbers

from recbole_clia.converters.convert import convert
from recbole_clia.converters.yelp import CONVERTERS

(YELP,) = CONVERTERS


def test_yelp(workplace: Path) -> None:
    (workplace / "yelp_academic_dataset_review.json").write_text(
        '\ufeff{"review_id":"KU_O5udG6zpxOg-VcAEodg","user_id":"mh_-eMZ6K5RLWhZyISBhwA",'
        '"business_id":"XQfwVwDr-v0ZS3_CbbE5Xw",'
        '"stars":3.0,"useful":0,"funny":0,"cool":0,"text":"If you eat here\\n","date":"2018-07-07 22:09:11"}\n'
        '{"review_id":"r2","user_id":"-","business_id":"c","stars":5,"date":"2012-02-29"}\n'
        '{"review_id":"r3","user_id":"u","business_id":"b","stars":5.0,"date":"2014-02-30 10:00:00"}\n'
        '{"review_id":"r4","user_id":"u","business_id":"b","stars":5.0,"date":"2014-02-3 10:00:00"}\n'
        '{"review_id":"r5","user_id":"u","business_id":null,"stars":5.0,"date":"2014-02-03 10:00:00"}\n'
        '{"review_id":"r6","user_id":"u","business_id":"b","stars":null,"date":"2014-02-03 10:00:00"}\n'
        '{"review_id":"r7","user_id":"u","busin\n'
    )
    (workplace / "yelp_academic_dataset_business.json").write_text(
        '{"business_id":"XQfwVwDr-v0ZS3_CbbE5Xw","name":"Turning Point","city":"North Wales","state":"PA",'
        '"categories":"Restaurants, Breakfast & Brunch, Food"}\n'
        '{"business_id":"b","city":"Tampa","categories":null}\n'
        '{"business_id":"c","city":null,"categories":["Ice Cream","Food"]}\n'
        '{"name":"none"}\n'
    )
    files = [workplace / f"yelp_academic_dataset_{part}.json" for part in ("business", "review")]
    done = convert(YELP, files, workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 2, 3)
    assert done.skipped == [
        "yelp_academic_dataset_review.json: 1 line left out, not JSON (first at line 7)",
        "yelp_academic_dataset_review.json: 1 line left out, no business_id (first at line 5)",
        "yelp_academic_dataset_review.json: 1 line left out, no stars (first at line 6)",
        "yelp_academic_dataset_review.json: 2 lines left out, date is not a time (first at line 3)",
        "yelp_academic_dataset_business.json: 1 line left out, no business_id (first at line 4)",
    ]
    assert (workplace / "out/yelp/yelp.inter").read_text() == (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "mh_-eMZ6K5RLWhZyISBhwA\tXQfwVwDr-v0ZS3_CbbE5Xw\t3\t1531001351\n"
        "-\tc\t5\t1330473600\n"
    )
    assert (workplace / "out/yelp/yelp.item").read_text() == (
        "item_id:token\tcategory:token_seq\tcity:token\n"
        "XQfwVwDr-v0ZS3_CbbE5Xw\tRestaurants Breakfast-&-Brunch Food\tNorth Wales\n"
        "b\t\tTampa\nc\tIce-Cream Food\t\n"
    )
    assert numbers("yelp", workplace / "out") == (2, 2, 2)
