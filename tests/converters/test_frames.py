"""A DataFrame is written, loaded and trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import random_rows

from recbole_clia import from_pandas, run
from recbole_clia.data.atomic import AtomicFile
from recbole_clia.errors import UsageError


def frame(**columns: Any) -> pd.DataFrame:
    rows = {"who": [1, 1, 2], "what": ["a", "b", "a"], "when": [3, 1, 2]}
    return pd.DataFrame({**rows, **columns})


def with_columns(columns: dict[Any, Any]) -> pd.DataFrame:
    """Their names need not be words."""
    return pd.DataFrame({**frame(), **columns})


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
    ],
)
def test_times_are_exact(workplace: Path, when: Any, text: list[str | None]) -> None:
    times = [line.split("\t")[2] for line in written(frame(when=when)).splitlines()[1:]]
    assert all(want is None or got == want for got, want in zip(times, text, strict=True))


def test_further_columns_and_item_features(workplace: Path) -> None:
    items = pd.DataFrame({"what": ["a", "b", "a"], "kind": ["x", None, "z"], "price": [1.5, np.nan, 2.0]})
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
        ({"when": ["2020-01-01", "soon", "2020-01-02"]}, {}, "'when' holds no times"),
        ({"when": ["2020-01-01", None, "2020-01-02"]}, {}, "'when', row 1: the time is missing"),
        ({"who": [1, np.inf, 2]}, {}, "'who', row 1: the id inf is no whole number, or none that a float holds"),
        ({"who": [1, 2.0**63, 2]}, {}, "'who', row 1: the id 9.22337203685477"),
        ({}, {"name": "../up"}, "name must be a plain word"),
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
    assert not list(workplace.rglob("*.inter*"))


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
