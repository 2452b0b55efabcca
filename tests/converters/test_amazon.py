"""Amazon's reviews in the McAuley Lab's own forms."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from loading import numbers

from recbole_clia.converters import raw
from recbole_clia.converters.amazon import CONVERTERS
from recbole_clia.converters.convert import convert, sort_files
from recbole_clia.errors import UsageError

BY_NAME = {converter.name: converter for converter in CONVERTERS}
HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM_HEAD = "item_id:token\tcategory:token_seq\tbrand:token\n"


def gzipped(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def inter(folder: Path, name: str) -> str:
    return (folder / name / f"{name}.inter").read_text()


def item(folder: Path, name: str) -> str:
    return (folder / name / f"{name}.item").read_text()


def test_every_dataset() -> None:
    assert sorted(BY_NAME) == [
        "amazon-all-beauty-18",
        "amazon-all-beauty-23",
        "amazon-beauty",
        "amazon-beauty-personal-care-23",
        "amazon-books",
        "amazon-books-18",
        "amazon-books-23",
        "amazon-luxury-beauty-18",
        "amazon-sports-outdoors",
        "amazon-sports-outdoors-18",
        "amazon-sports-outdoors-23",
        "amazon-toys-games",
        "amazon-toys-games-18",
        "amazon-toys-games-23",
    ]


def test_ratings_of_2014(workplace: Path) -> None:
    (workplace / "ratings_Beauty.csv").write_text(
        "A39HTATAQ9V7YF,0205616461,5.0,1369699200\n"
        "A3JM6GV9MNOF9X,0558925278,3.0,-1\n"
        "A3JM6GV9MNOF9X,0558925278,3.0,1355443200\n"
        "A3JM6GV9MNOF9X,0558925278,3.0\n"
        "A3JM6GV9MNOF9X,,3.0,1355443200\n"
        "user,item,rating,timestamp\n"
        'A3JM6GV9MNOF9X,"0205616461,1.0,1404691200\n'
        "A3JM6GV9MNOF9X,0205616461,1.0,1404691200\n"
        "A3JM6GV9MNOF9X,0205616461,1.0,1404691200000\n"
    )
    done = convert(BY_NAME["amazon-beauty"], [workplace / "ratings_Beauty.csv"], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 3, 4, None)
    assert done.skipped == [
        "ratings_Beauty.csv: 1 line left out, 3 fields instead of 4 (first at line 4)",
        "ratings_Beauty.csv: 1 line left out, no item (first at line 5)",
        "ratings_Beauty.csv: 1 line left out, rating is not a number (first at line 6)",
        "ratings_Beauty.csv: 2 lines left out, timestamp is not from 1995-01-01 to 2014-12-31 (first at line 2)",
    ]
    assert inter(workplace / "out", "amazon-beauty") == (
        HEAD
        + "A39HTATAQ9V7YF\t0205616461\t5\t1369699200\n"
        + "A3JM6GV9MNOF9X\t0558925278\t3\t1355443200\n"
        + "A3JM6GV9MNOF9X\t 0205616461\t1\t1404691200\n"
        + "A3JM6GV9MNOF9X\t0205616461\t1\t1404691200\n"
    )
    assert numbers("amazon-beauty", workplace / "out") == (2, 3, 4)


def test_reviews_of_2014(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "BLOCK_ROWS", 2)
    reviews = gzipped(
        workplace / "reviews_Toys_and_Games_5.json.gz",
        '{"reviewerID": "A1VXOAVRGKGEAK", "asin": "0439893577", "reviewerName": "Angie", "helpful": [0, 0], '
        '"reviewText": "I like \\"it\\".", "overall": 5.0, "summary": "Magnets", "unixReviewTime": 1390953600}\n'
        "{'reviewerID': 'A8R62G708TSCM', 'asin': '0439893577', 'overall': 4.0, 'unixReviewTime': 1395964800}\n"
        "{'reviewerID': 'A8R62G708TSCM', 'asin': __import__('os').getcwd(), 'overall': 4.0}\n"
        '{"reviewerID": "A8R62G708TSCM", "asin": "0439893577", "overall": 4.0, "unixRevie\n'
        '["A8R62G708TSCM", "0439893577"]\n'
        '{"asin": "0439893577", "overall": 4.0, "unixReviewTime": 1395964800}\n'
        '{"reviewerID": "A8R62G708TSCM", "asin": "0486277577", "overall": NaN, "unixReviewTime": 1395964800}\n'
        '{"reviewerID": "A8R62G708TSCM", "asin": "0486277577", "overall": 2, "unixReviewTime": 1395964800.0}\n'
        '{"reviewerID": "A8R62G708TSCM", "asin": "0486277577", "overall": true, "unixReviewTime": 1395964800}\n'
        '{"reviewerID": "A8R\\ud83d", "asin": "0486277577", "overall": 2.0, "unixReviewTime": 1395964800}\n',
    )
    meta = gzipped(
        workplace / "meta_Toys_and_Games.json.gz",
        "{'asin': '0439893577', 'title': 'Magnets', 'brand': \"Melissa &amp; Doug\", "
        "'categories': [['Toys & Games', 'Learning & Education'], ['Toys & Games', 'Puzzles']]}\n"
        "{'title': 'no asin'}\n"
        "{'asin': '0486277577', 'categories': [[]]}\n",
    )
    done = convert(BY_NAME["amazon-toys-games"], [meta, reviews], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 3, 2)
    reviewed = "reviews_Toys_and_Games_5.json.gz:"
    assert sorted(done.skipped) == [
        "meta_Toys_and_Games.json.gz: 1 line left out, no asin (first at line 2)",
        f"{reviewed} 1 line left out, neither a JSON object nor a Python dictionary (first at line 5)",
        f"{reviewed} 1 line left out, no overall (first at line 9)",
        f"{reviewed} 1 line left out, no reviewerID (first at line 6)",
        f"{reviewed} 1 line left out, not utf-8 text (first at line 10)",
        f"{reviewed} 1 line left out, overall is not a number (first at line 7)",
        f"{reviewed} 2 lines left out, neither JSON nor a Python literal (first at line 3)",
    ]
    assert inter(workplace / "out", "amazon-toys-games") == (
        HEAD
        + "A1VXOAVRGKGEAK\t0439893577\t5\t1390953600\n"
        + "A8R62G708TSCM\t0439893577\t4\t1395964800\n"
        + "A8R62G708TSCM\t0486277577\t2\t1395964800\n"
    )
    assert item(workplace / "out", "amazon-toys-games") == (
        ITEM_HEAD + "0439893577\tToys-&-Games Learning-&-Education Puzzles\tMelissa & Doug\n0486277577\t\t\n"
    )
    assert numbers("amazon-toys-games", workplace / "out") == (2, 2, 3)


def test_ratings_of_2018_begin_with_the_item(workplace: Path) -> None:
    (workplace / "Luxury_Beauty.csv").write_text(
        "B00004U9V2,A1Q6MUU0B2ZDQG,2.0,1276560000\n"
        "B00004U9V2,A3HO2SQDCZIE9S,5.0,1262822400\n"
        "B00004U9V2,A3HO2SQDCZIE9S,5.0,1262822400\n"
        "B00004U9V2,A3HO2SQDCZIE9S,5.0,1562822400\n"
        "B00005A77F,A3HO2SQDCZIE9S,4.0,1262822400\n"
    )
    done = convert(BY_NAME["amazon-luxury-beauty-18"], [workplace / "Luxury_Beauty.csv"], workplace / "out")
    assert (done.users, done.items, done.interactions) == (2, 2, 4)
    assert done.skipped == [
        "Luxury_Beauty.csv: 1 line left out, timestamp is not from 1995-01-01 to 2018-12-31 (first at line 4)"
    ]
    assert inter(workplace / "out", "amazon-luxury-beauty-18") == (
        HEAD
        + "A1Q6MUU0B2ZDQG\tB00004U9V2\t2\t1276560000\n"
        + "A3HO2SQDCZIE9S\tB00004U9V2\t5\t1262822400\n" * 2
        + "A3HO2SQDCZIE9S\tB00005A77F\t4\t1262822400\n"
    )
    assert numbers("amazon-luxury-beauty-18", workplace / "out") == (2, 2, 3)  # the repeated line counts once


def test_reviews_of_2018(workplace: Path) -> None:
    reviews = gzipped(
        workplace / "All_Beauty_5.json.gz",
        '{"overall": 5.0, "verified": true, "reviewTime": "09 1, 2016", "reviewerID": "A3CIUOJXQ5VDQ2", '
        '"asin": "B0000530HU", "style": {"Size:": " 7.0 oz"}, "unixReviewTime": 1472688000}\n'
        "{'overall': 5.0, 'reviewerID': 'A3', 'asin': 'B0000530HU', 'unixReviewTime': 1472688000}\n"
        '{"overall": 5.0, "reviewerID": "A3H7T87S984REU", "asin": "B0000530HU", "unixReviewTime": "soon"}\n'
        '{"overall": 1.0, "reviewerID": "A3H7T87S984REU", "asin": "B00006L9LC", "unixReviewTime": 1471046400}\n',
    )
    meta = gzipped(
        workplace / "meta_All_Beauty.json.gz",
        "".join(
            json.dumps(record) + "\n"
            for record in (
                {"category": [], "brand": "Old\n  Spice", "main_cat": "All Beauty", "asin": "B0000530HU"},
                {"category": ["Beauty &amp; Care", "</span></span>", "Hair"], "brand": "<i>", "asin": "B1"},
                {"category": [], "main_cat": '<img src="x.png" alt="ALL BEAUTY"/>', "asin": "B2"},
                {"category": ["Hair"], "asin": "B0000530HU"},
            )
        ),
    )
    done = convert(BY_NAME["amazon-all-beauty-18"], [reviews, meta], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 2, 3)
    assert done.skipped == [
        "All_Beauty_5.json.gz: 1 line left out, not JSON (first at line 2)",
        "All_Beauty_5.json.gz: 1 line left out, unixReviewTime is not a whole number (first at line 3)",
    ]
    assert inter(workplace / "out", "amazon-all-beauty-18") == (
        HEAD + "A3CIUOJXQ5VDQ2\tB0000530HU\t5\t1472688000\nA3H7T87S984REU\tB00006L9LC\t1\t1471046400\n"
    )
    assert item(workplace / "out", "amazon-all-beauty-18") == (
        ITEM_HEAD + "B0000530HU\tAll-Beauty\tOld Spice\nB1\tBeauty-&-Care Hair\t\nB2\t\t\n"
    )
    assert numbers("amazon-all-beauty-18", workplace / "out") == (2, 2, 2)


@pytest.mark.parametrize("name", ["Books.csv", "Books.csv.gz"])
def test_ratings_of_2023(workplace: Path, name: str) -> None:
    text = (
        "user_id,parent_asin,rating,timestamp\n"
        "AGKASBHYZPGTEPO6LWZPVJWB2BVA,B006GEVB1E,5.0,1427647694000\n"
        "AFKZENTNBQ7A7V7UXW5JJI6UGRYQ,B00F2CYQ2M,4.0,1588687728923\n"
        "AGKASBHYZPGTEPO6LWZPVJWB2BVA,B00F2CYQ2N,4.0,-62135596800000\n"
    )
    (workplace / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    done = convert(BY_NAME["amazon-books-23"], [workplace / name], workplace / "out")
    assert (done.users, done.items, done.interactions) == (2, 2, 2)
    assert done.skipped == [
        f"{name}: 1 line left out, timestamp is not from 1995-01-01 to 2023-12-31 (first at line 4)"
    ]
    assert inter(workplace / "out", "amazon-books-23") == (
        HEAD
        + "AGKASBHYZPGTEPO6LWZPVJWB2BVA\tB006GEVB1E\t5\t1427647694000\n"
        + "AFKZENTNBQ7A7V7UXW5JJI6UGRYQ\tB00F2CYQ2M\t4\t1588687728923\n"
    )
    assert numbers("amazon-books-23", workplace / "out") == (2, 2, 2)


def test_reviews_of_2023(workplace: Path) -> None:
    line = (
        '{"rating": 5.0, "title": "T", "text": "Such a \\"lovely\\" scent.", "images": [], "asin": "B00YQ6X8EO", '
        '"parent_asin": "B00YQ6X8EP", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "timestamp": 1588687728923, '
        '"helpful_vote": 0, "verified_purchase": true}\n'
    )
    other = '{"rating": 0.0, "parent_asin": "B3", "user_id": "AE7", "timestamp": 1588687728000}\n'
    reviews = gzipped(workplace / "Beauty_and_Personal_Care.jsonl.gz", line + line + other)
    meta = gzipped(
        workplace / "meta_Beauty_and_Personal_Care.jsonl.gz",
        '{"main_category": "All Beauty", "store": "Howard", "categories": [], "parent_asin": "B01CUPMQZE"}\n'
        '{"main_category": null, "store": null, "categories": ["Beauty & Personal Care", "Hair Care"], '
        '"parent_asin": "B00YQ6X8EP"}\n'
        '{"main_category": null, "store": "S", "categories": [], "parent_asin": "B3"}\n',
    )
    done = convert(BY_NAME["amazon-beauty-personal-care-23"], [reviews, meta], workplace / "out")
    assert (done.users, done.items, done.interactions, done.item_rows) == (2, 2, 3, 3)
    assert done.skipped == []
    assert inter(workplace / "out", "amazon-beauty-personal-care-23") == (
        HEAD + "AGKHLEW2SOWHNMFQIJGBECAF7INQ\tB00YQ6X8EP\t5\t1588687728923\n" * 2 + "AE7\tB3\t0\t1588687728000\n"
    )
    assert item(workplace / "out", "amazon-beauty-personal-care-23") == (
        ITEM_HEAD + "B01CUPMQZE\tAll-Beauty\tHoward\nB00YQ6X8EP\tBeauty-&-Personal-Care Hair-Care\t\nB3\t\tS\n"
    )
    assert numbers("amazon-beauty-personal-care-23", workplace / "out") == (2, 2, 2)


@pytest.mark.parametrize("whole", [gzip.compress, lambda data: gzip.compress(data)[:-9], b"no gzip".__add__])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_damaged_file(workplace: Path, whole: Callable[[bytes], bytes], damaged: bool) -> None:
    text = "user_id,parent_asin,rating,timestamp\n" + "".join(
        f"A{n**5},B,5.0,{1427647694000 + n}\n" for n in range(999)
    )
    data = whole(text.encode())
    (workplace / "Books.csv.gz").write_bytes(data[:10] + bytes(9 * damaged) + data[10:])
    if whole is gzip.compress and not damaged:
        assert convert(BY_NAME["amazon-books-23"], [workplace / "Books.csv.gz"], workplace / "out").interactions == 999
        return
    with pytest.raises(UsageError, match=r"Books\.csv\.gz: it is not a whole gzip file .*; fetch it again"):
        convert(BY_NAME["amazon-books-23"], [workplace / "Books.csv.gz"], workplace / "out")
    assert not (workplace / "out/amazon-books-23").exists()


def test_another_header(workplace: Path) -> None:
    (workplace / "Books.csv").write_text("user,item,rating,timestamp\nA,B,5.0,1427647694000\n")
    with pytest.raises(UsageError, match=r"Books\.csv: .*user_id"):
        convert(BY_NAME["amazon-books-23"], [workplace / "Books.csv"], workplace / "out")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("amazon-beauty", "reviews_Beauty.json.gz"),
        ("amazon-sports-outdoors", "ratings_Sports_and_Outdoors.csv"),
        ("amazon-books-18", "Books.json.gz"),
        ("amazon-sports-outdoors-18", "Sports_and_Outdoors_5.json"),
        ("amazon-all-beauty-23", "All_Beauty.jsonl"),
        ("amazon-toys-games-23", "Toys_and_Games.csv.gz"),
    ],
)
def test_names_of_files(tmp_path: Path, name: str, file: str) -> None:
    (tmp_path / file).touch()
    assert sort_files(BY_NAME[name], [tmp_path / file])["reviews"] == [tmp_path / file]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("amazon-beauty", "ratings_Luxury_Beauty.csv"),
        ("amazon-books-18", "Books.jsonl"),
        ("amazon-books-23", "Books.json"),
    ],
)
def test_files_of_another_release(tmp_path: Path, name: str, file: str) -> None:
    (tmp_path / file).touch()
    with pytest.raises(UsageError, match="its name is none of"):
        sort_files(BY_NAME[name], [tmp_path / file])
