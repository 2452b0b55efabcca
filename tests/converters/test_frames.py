"""A DataFrame is written, loaded and trained on."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import random_rows

from recbole_clia import from_pandas, run
from recbole_clia.data.atomic import AtomicFile
from recbole_clia.errors import UsageError

NO_DATE = "is no date of ISO 8601, such as 2024-01-31 or 2024-01-31T08:00:00Z; convert the column with pandas."
BAD_NAMES = ("", ".", "..", "../up", "/up", "a/", "a\\b", "a\0b", 3, None)


def frame(**columns: Any) -> pd.DataFrame:
    rows = {"who": [1, 1, 2], "what": ["a", "b", "a"], "when": [3, 1, 2]}
    return pd.DataFrame({**rows, **columns})


def with_columns(columns: dict[Any, Any]) -> pd.DataFrame:
    """Their names need not be words."""
    return pd.DataFrame({**frame(), **columns})


def objects(*values: Any) -> pd.Series:
    return pd.Series(values, dtype=object)


def arrow(values: list[Any], kind: pa.DataType) -> pd.Series:
    return pd.Series(values, dtype=pd.ArrowDtype(kind))


def written(df: pd.DataFrame, **words: Any) -> str:
    name = from_pandas(df, user="who", item="what", time="when", **words)
    return Path(f"dataset/{name}/{name}.inter").read_text()


def test_rows_are_written_in_their_order(workplace: Path) -> None:
    assert written(frame()) == "user_id:token\titem_id:token\ttimestamp:float\n1\ta\t3\n1\tb\t1\n2\ta\t2\n"


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (["2020-01-01", "2020-01-02", "1970-01-01"], ["1577836800", "1577923200", "0"]),
        (
            [pd.Timestamp("2020-01-01 00:00:00.250"), pd.Timestamp("2020-01-02"), pd.Timestamp(0)],
            ["1577836800250", None, "0"],
        ),
        (
            pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]).tz_localize("Europe/Berlin"),
            ["1577833200", None, None],
        ),
        (pd.to_datetime([1577836800000000001, 2, 3]), ["1577836800000000001", "2", "3"]),
        (np.array([1577836800123, 5, 6]), ["1577836800123", "5", "6"]),
        (np.array([0.5, 1.25, 2.0]), ["0.5", "1.25", "2"]),
        (["2020-01-01T00:00:00", "2020-01-01T01:00:00+01:00", "2020-01-01"], ["1577836800"] * 3),
        (pd.period_range("2020-01-01", periods=3, freq="D"), ["1577836800", "1577923200", "1578009600"]),
        (np.array([3, 1, 2], dtype=np.int32), ["3", "1", "2"]),
        (objects(1700000000.75, 1, np.float32(0.5)), ["1700000000.75", "1", "0.5"]),
        (objects(Decimal("1700000000.75"), 5, 2.5), ["1700000000.75", "5", "2.5"]),
        (objects(Decimal("1700000000123456789"), 1700000000123456788, 3.0), ["1700000000123456789", None, "3"]),
        (objects(20240102, 3, 2024), ["20240102", "3", "2024"]),
        (pd.array([1, 2, 3], dtype="Int64"), ["1", "2", "3"]),
        (pd.array([0.5, 2, 3], dtype="Float64"), ["0.5", "2", "3"]),
        (pd.Categorical([0.5, 2, 0.5]), ["0.5", "2", "0.5"]),
        (pd.array([Decimal("0.5"), 2, 3], dtype=pd.ArrowDtype(pa.decimal128(9, 1))), ["0.5", "2", "3"]),
        (["1700000000", "3", " 2.0"], ["1700000000", "3", "2"]),
        (["1700000000", "1700000000.75", "+1.5"], ["1700000000", "1700000000.75", "1.5"]),
        (["1700000000123456789", "1", "123456789"], ["1700000000123456789", "1", "123456789"]),
        (pd.array(["1", "123456789.5", "2"], dtype="string"), ["1", "123456789.5", "2"]),
        (["2024", "20240102", "2024-02"], ["1704067200", "1704153600", "1706745600"]),
        (["2024/01/02", "20240102T10", " 2024-1-2 "], ["1704153600", "1704189600", "1704153600"]),
        (["2024-01-02 00:00+01", "2024-01-02 00:00", "2024-01-02T0000"], ["1704150000", "1704153600", "1704153600"]),
        (
            ["2024-01-02T00:00:00.25-0100", "2024-01-02T00:00:00.5", "2024-01-02"],
            ["1704157200250", "1704153600500", None],
        ),
        (
            objects(
                datetime.date(2024, 1, 2),
                datetime.datetime(2024, 1, 2, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
                "2024-01-02",
            ),
            ["1704153600"] * 3,
        ),
        (objects(pd.Period("2024-01-02"), np.datetime64("2024-01-02"), pd.Timestamp("2024-01-02")), ["1704153600"] * 3),
        (arrow([datetime.datetime(2024, 1, 2)] * 3, pa.timestamp("us")), ["1704153600"] * 3),
        (arrow([datetime.datetime(2024, 1, 2, 0, 0, 0, 1)] * 3, pa.timestamp("us", "UTC")), ["1704153600000001"] * 3),
        (arrow([datetime.date(2024, 1, 2)] * 3, pa.date32()), ["1704153600"] * 3),
    ],
)
def test_times_are_exact(workplace: Path, when: Any, text: list[str | None]) -> None:
    times = [line.split("\t")[2] for line in written(frame(when=when)).splitlines()[1:]]
    assert all(want is None or got == want for got, want in zip(times, text, strict=True))


def test_further_columns_and_item_features(workplace: Path) -> None:
    items = pd.DataFrame({"what": list("abab"), "kind": ["x", None] * 2, "price": [1.5, np.nan] * 2})
    text = written(frame(stars=[1, 2, 3], how=["web", "app", None]), extra=["stars", "how"], items=items)
    assert text.splitlines()[0] == "user_id:token\titem_id:token\tstars:float\thow:token\ttimestamp:float"
    assert text.splitlines()[3] == "2\ta\t3\t\t2"
    assert Path("dataset/frame/frame.item").read_text() == "item_id:token\tkind:token\tprice:float\na\tx\t1.5\nb\t\t\n"


@pytest.mark.parametrize(
    ("columns", "words", "sentence"),
    [
        ({}, {"user": "nobody"}, "df has no column 'nobody'; its columns are who, what, when"),
        ({}, {"user": "what"}, "must name different columns"),
        ({"who": [1, None, 2]}, {}, "'who', row 1: an id is missing"),
        ({"who": [1, 2.5, 2]}, {}, "'who', row 1: the id 2.5 is no whole number"),
        ({"what": ["a", "b\tc", "a"]}, {}, "'what', row 1: the id 'b\\tc' cannot be written"),
        ({"what": ["a", "b", "NA"]}, {}, "'what', row 2: the id 'NA' cannot be written"),
        ({"when": [1.0, np.nan, 2.0]}, {}, "'when', row 1: the time is missing"),
        ({"when": [1.0, np.inf, 2.0]}, {}, "'when', row 1: the time is infinite"),
        ({"when": [1, 2, -3]}, {}, "'when', row 2: the time -3 is negative"),
        ({"when": ["2020-01-01", "soon", "2020-01-02"]}, {}, f"'when', row 1: the text 'soon' {NO_DATE}"),
        ({"when": ["1700000000", "soon", "3"]}, {}, f"'when', row 1: the text 'soon' {NO_DATE}"),
        ({"when": ["2024-01-13", "02/01/2024", "13/01/2024"]}, {}, f"'when', row 1: the text '02/01/2024' {NO_DATE}"),
        ({"when": ["2024-01-13", "2024-13-01", "2024"]}, {}, f"'when', row 1: the text '2024-13-01' {NO_DATE}"),
        ({"when": ["2024-01-13", "1700000000", "2024"]}, {}, f"'when', row 1: the text '1700000000' {NO_DATE}"),
        ({"when": ["3", "0.5", "12345678.5"]}, {}, f"'when', row 0: the text '3' {NO_DATE}"),
        ({"when": ["2024", "2024.05", "2024"]}, {}, f"'when', row 1: the text '2024.05' {NO_DATE}"),
        ({"when": ["2024", "202401", "2024"]}, {}, f"'when', row 1: the text '202401' {NO_DATE}"),
        ({"when": ["2024", "now", "2024"]}, {}, f"'when', row 1: the text 'now' {NO_DATE}"),
        ({"when": ["2024", "2024-02-30", "2024"]}, {}, "'when', row 1: the date '2024-02-30' is out of range"),
        ({"when": ["2024", "1969-12-31", "2024"]}, {}, "'when', row 1: the date '1969-12-31' is out of range"),
        ({"when": objects(*[datetime.datetime(9000, 1, 1)] * 3)}, {}, "row 0: the date 9000-01-01 00:00:00 is out of"),
        ({"when": pd.period_range("2099", periods=3, freq="Y")}, {}, "'when', row 1: the date 2100 is out of range"),
        ({"when": ["2024", "NaT", "2024"]}, {}, "'when', row 1: the time is missing"),
        ({"when": ["1700000000", "", "3"]}, {}, "'when', row 1: the time is missing"),
        ({"when": objects(0.5, None, 2)}, {}, "'when', row 1: the time is missing"),
        ({"when": pd.array([1, None, 2], dtype="Int64")}, {}, "'when', row 1: the time is missing"),
        ({"when": objects(1, Decimal("inf"), 2)}, {}, "'when', row 1: the time is infinite"),
        ({"when": ["1", "-123456789", "2"]}, {}, "'when', row 1: the time -123456789 is negative"),
        ({"when": [True, False, True]}, {}, "'when', row 0: True cannot be a time"),
        ({"when": objects(1, True, 2)}, {}, "'when', row 1: True cannot be a time"),
        ({"when": [1j, 2, 3]}, {}, "'when', row 0: 1j cannot be a time"),
        ({"when": objects(1, 2j, 3)}, {}, "'when', row 1: 2j cannot be a time"),
        ({"when": pd.to_timedelta([1, 2, 3], unit="D")}, {}, "'when', row 0: 1 days 00:00:00 cannot be a time"),
        ({"when": objects([1], [2], [3])}, {}, "'when', row 0: [1] cannot be a time"),
        ({"when": objects(1, "2024", 3)}, {}, "'when', row 1: the time '2024' is no number, and the one in row 0 is"),
        ({"when": objects("2024", 1, 3)}, {}, "'when', row 1: the time 1 is a number, and the one in row 0 is none"),
        ({"who": objects(1, [2], 2)}, {}, "'who', row 1: the id [2] is neither a number nor text"),
        ({"what": objects("a", ("b", ["c"]), "a")}, {}, "'what', row 1: the id ('b', ['c']) is neither a number nor"),
        ({"what": arrow([["a"], ["b"], ["a"]], pa.list_(pa.string()))}, {}, "'what', row 0: the id ['a'] is neither"),
        ({"when": ["2020-01-01", None, "2020-01-02"]}, {}, "'when', row 1: the time is missing"),
        ({"who": [1, np.inf, 2]}, {}, "'who', row 1: the id inf is no whole number, or none that a float holds"),
        ({"who": [1, 2.0**63, 2]}, {}, "'who', row 1: the id 9.22337203685477"),
        *(({}, {"name": name}, f"name must be a plain word, not {name!r}") for name in BAD_NAMES),
        ({}, {"folder": 3}, "folder must be a path, not 3"),
        ({}, {"items": {"what": ["a"]}}, "items must be a DataFrame of pandas, not a dict"),
        ({}, {"user": ["who"]}, "user, item, time and each of extra must name one column, not ['who']"),
        ({}, {"extra": "when"}, "extra must be a list of columns, not 'when'"),
        (
            {},
            {"items": pd.DataFrame({"what": ["b", "a", "b", "a"], "kind": ["x", "y", "x", None]})},
            "items has two rows of the item 'a' that differ, 1 and 3; each item must have one row",
        ),
        ({}, {"items": pd.DataFrame({"what": [1, 1], "price": [0.5, np.nan]})}, "of the item '1' that differ, 0 and 1"),
        (
            {"user_id": [7, 8, 9]},
            {"extra": ["user_id"]},
            "the columns 'who' and 'user_id' would both become the field 'user_id'",
        ),
        (
            {"timestamp": [7, 8, 9]},
            {"extra": ["timestamp"]},
            "the columns 'timestamp' and 'when' would both become the field 'timestamp'",
        ),
        (
            {},
            {"items": pd.DataFrame({"what": ["a", "b"], "item_id": [1, 2]})},
            "the columns 'what' and 'item_id' would both become the field 'item_id'",
        ),
        ({"a:b": [1, 2, 3]}, {"extra": ["a:b"]}, "a column's name must be text without ':', tabs and line ends"),
        ({3: [1, 2, 3]}, {"extra": [3]}, "a column's name must be text without ':', tabs and line ends, which 3 is"),
    ],
)
def test_bad_frames_are_refused_and_nothing_is_left(
    workplace: Path, columns: dict[str, Any], words: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        from_pandas(with_columns(columns), **{"user": "who", "item": "what", "time": "when", **words})
    assert sentence in str(refusal.value)
    assert not list(workplace.iterdir())


@pytest.mark.parametrize("df", [[1, 2], {"who": [1]}, pd.Series([1])])
def test_only_a_frame_is_taken(workplace: Path, df: Any) -> None:
    with pytest.raises(UsageError, match=f"^from_pandas: df must be a DataFrame of pandas, not a {type(df).__name__}$"):
        from_pandas(df)
    assert not list(workplace.iterdir())


@pytest.mark.parametrize(("folder", "there"), [("here", "here"), ("here/below", "here"), ("up", "up/frame")])
def test_a_file_is_no_folder(workplace: Path, folder: str, there: str) -> None:
    Path(there).parent.mkdir(exist_ok=True)
    Path(there).touch()
    with pytest.raises(UsageError, match=f"^from_pandas: {there} is a file; it must be a folder$"):
        from_pandas(frame(), "who", "what", "when", folder=folder)
    assert [path for path in workplace.rglob("*") if path.is_file()] == [workplace / there]


def test_no_rows_and_an_existing_dataset(workplace: Path) -> None:
    with pytest.raises(UsageError, match="df has no rows"):
        written(frame().iloc[:0])
    written(frame())
    with pytest.raises(UsageError, match="is already there"):
        written(frame(when=[9, 9, 9]))
    assert written(frame(when=[9, 8, 7]), replace=True).endswith("2\ta\t7\n")


def test_a_frame_is_trained_on(workplace: Path) -> None:
    rows = pd.DataFrame(random_rows(3), columns=["who", "what", "when"])
    name = from_pandas(rows, user="who", item="what", time="when", name="mine")
    settings = {"epochs": 1, "embedding_size": 8, "hidden_size": 8, "show_progress": False, "state": "ERROR"}
    assert run("CLIA", name, config_dict=settings)["test_result"]
    header, unit = AtomicFile(Path("dataset/mine/mine.inter")).header(), "step"
    assert AtomicFile(Path("dataset/mine/mine.inter")).read(header, "timestamp")[1] == unit


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_five_lines_of_the_readme(workplace: Path, kind: str) -> None:
    rows = pd.DataFrame(random_rows(3), columns=["customer", "product", "ordered_at"])
    getattr(rows, f"to_{kind}")(f"orders.{kind}", index=False)
    log = getattr(pd, f"read_{kind}")(f"orders.{kind}")
    from_pandas(log, user="customer", item="product", time="ordered_at", name="shop")
    read, _ = AtomicFile(Path("dataset/shop/shop.inter")).read(["user_id", "item_id", "timestamp"], "timestamp")
    want = rows.astype({"customer": str, "product": str})
    assert read["user_id"].tolist() == want["customer"].tolist()
    assert read["item_id"].tolist() == want["product"].tolist()
    assert read["timestamp"].tolist() == want["ordered_at"].tolist()
