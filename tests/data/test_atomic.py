"""Files are read as pandas reads them for RecBole, and faults are told with their line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_clia.data.atomic import AtomicFile
from recbole_clia.errors import UsageError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
FIELDS = ["user_id", "item_id", "timestamp"]
WORDS = [
    "a",
    "b b",
    " c ",
    "é",
    "",
    "NA",
    "null",
    "None",
    "nan",
    "1",
    "01",
    "1.0",
    '"q"',
    '"t\tt"',
    'in"side',
    "-",
    "日",
]
NUMBERS = ["0", "1", "-2.5", "1e3", ".5", "5.", "+7", " 8", "", "NaN", "NA", "inf", "-inf", '"9"', "123456789"]
FUNCTION_SCOPED = [HealthCheck.function_scoped_fixture]


def write(folder: Path, *rows: str, header: str = HEADER, end: str = "\n") -> AtomicFile:
    """A file of these rows."""
    (folder / "made.inter").write_bytes(("\n".join([header, *rows]) + end).encode())
    return AtomicFile(folder / "made.inter")


def fault(file: AtomicFile, fields: list[str] = FIELDS, time: str | None = "timestamp") -> str:
    """What is said of it, without its folder."""
    with pytest.raises(UsageError) as error:
        file.read(fields, time)
    return str(error.value).replace(f"{file.path.parent}/", "")


@settings(max_examples=80, deadline=None, suppress_health_check=FUNCTION_SCOPED)
@given(
    st.lists(st.tuples(*[st.sampled_from(WORDS)] * 2, st.sampled_from(NUMBERS), st.booleans()), min_size=1, max_size=20)
)
def test_values_are_those_that_pandas_reads(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    lines = [line for *values, blank in rows for line in (["\t".join(values)] + [""] * blank)]
    file = write(tmp_path, *lines, header="a:token\tb:token_seq\tc:float")
    want = pd.read_csv(
        file.path, delimiter="\t", dtype={"a:token": str, "b:token_seq": str, "c:float": np.float64}, engine="python"
    )
    got, unit = file.read(["a", "b", "c"])
    assert unit is None
    for name, theirs in zip("abc", want, strict=True):
        ours = got[name].astype(object if name != "c" else np.float64)
        assert [None if pd.isna(v) else v for v in ours] == [None if pd.isna(v) else v for v in want[theirs]]


def test_the_words_of_many_blocks_are_unified(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [f"item-{number:07}" for number in rng.integers(0, 60_000, 120_000)]
    words[::1000] = [""] * len(words[::1000])
    file = write(tmp_path, *(f"{word}\tu{n % 300}" for n, word in enumerate(words)), header="a:token\tb:token")
    frame, _ = file.read(["a", "b"])
    assert frame["a"].astype(object).where(frame["a"].notna(), "").tolist() == words
    assert frame["b"].tolist() == [f"u{n % 300}" for n in range(len(words))]
    assert frame["a"].cat.categories.tolist() == list(dict.fromkeys(filter(None, words)))


@pytest.mark.parametrize("length", [100_000, 1_000_000])
def test_a_long_line_is_read(tmp_path: Path, length: int) -> None:
    file = write(
        tmp_path, *[f"{n}\tx" for n in range(40_000)], "1\t" + "w" * length, "2\ty", header="a:token\tb:token_seq"
    )
    frame, _ = file.read(["a", "b"])
    assert len(frame) == 40_002
    assert frame["b"].iloc[-2:].tolist() == ["w" * length, "y"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_the_last_line_needs_no_end(tmp_path: Path, end: str) -> None:
    frame, unit = write(tmp_path, "u\ti\t5", "v\tj\t6", end=end).read(FIELDS, "timestamp")
    assert frame["timestamp"].tolist() == [5, 6]
    assert unit == "step"
    assert len(write(tmp_path, end=end).read(FIELDS, "timestamp")[0]) == 0


def test_a_carriage_return_ends_a_line_too(tmp_path: Path) -> None:
    file = write(tmp_path, "\r".join(f"u{n}\ti\t{n}" for n in range(9)), "v\ti\t9\r")
    assert file.read(FIELDS, "timestamp")[0]["timestamp"].tolist() == list(range(10))


def test_only_the_chosen_fields_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, "u\ti\tlater", "v\tj\tsoon", header="user_id:token\titem_id:token\twhen:float")
    assert file.read(["item_id"])[0].to_dict("list") == {"item_id": ["i", "j"]}
    assert "'later' in the field 'when' is not a number" in fault(file, ["item_id", "when"], None)


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        (["1700000000000000001", "1700000000000000000"], "i"),
        (["9007199254740993", "9007199254740992"], "i"),
        (["5.0", "6."], "i"),
        (["5", "6.5"], "f"),
        (["0.1", "0.30000000000000004"], "f"),
    ],
)
def test_times_are_read_without_loss(tmp_path: Path, times: list[str], kind: str) -> None:
    frame, _ = write(tmp_path, *(f"u\ti\t{time}" for time in times)).read(FIELDS, "timestamp")
    assert frame["timestamp"].dtype.kind == kind
    want = (
        [int(float(time)) if "." in time else int(time) for time in times] if kind == "i" else list(map(float, times))
    )
    assert frame["timestamp"].tolist() == want


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["u\ti\t5", "", "u\ti"], "made.inter, line 4: it has 2 fields, and the header names 3 ('user_id"),
        (["", "", "u\ti\t5", "u\ti\t5\t6"], "made.inter, line 5: it has 4 fields"),
        (["u,i,5"], "made.inter, line 2: it has 1 fields"),
        (["u\ti\t5", "", "u\ti\tsoon"], "made.inter, line 4: 'soon' in the field 'timestamp' is not a number"),
        (["u\ti\tsoon"], "made.inter, line 2: 'soon' is neither a number nor an ISO date"),
        (["u\ti\t5", "", "u\ti\t-1"], "made.inter, line 4: the time -1 is negative; a time is a number from 0 on"),
        (["u\ti\t5", "", "u\ti\t"], "made.inter, line 4: the time is missing"),
        (["u\ti\t", "u\ti\t5"], "made.inter, line 2: the time is missing"),
        (["u\ti\t5.5", "u\ti\tinf"], "made.inter, line 3: the time is infinite"),
        (["u\ti\t2020-01-01", "", "u\ti\t"], "made.inter, line 4: the time is missing"),
        (["u\ti\t2020-01-01", "", "u\ti\t7"], "made.inter, line 4: '7' is neither a number nor an ISO date"),
        (["u\ti\t7", "u\ti\t2020-01-01"], "made.inter, line 3: '2020-01-01' in the field 'timestamp' is not a number"),
        (['u\t"i\ti"\t5', "u\ti\tsoon"], "made.inter, line 3: 'soon' in the field 'timestamp' is not a number"),
        (['u\t"i\t5', "u\ti\t6"], "made.inter, line 2: it has 2 fields"),
        (["u\ti\t٤", "u\ti\t6"], "made.inter, line 2: '٤' is neither a number nor an ISO date"),
        (["u\ti\r\ti\t5"], "made.inter, line 2: it holds a carriage return"),
        (["u\ti\ri\t5"], "made.inter, line 2: it holds a carriage return"),
    ],
)
def test_the_faulty_line_is_told(tmp_path: Path, rows: list[str], told: str) -> None:
    assert fault(write(tmp_path, *rows)).startswith(told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "made.inter: it is empty; its first line must name the fields"),
        (b"\n\n", "made.inter: it is empty"),
        (b"\xef\xbb\xbfa:token\n", "made.inter, line 1: it begins with a byte-order mark"),
        (b"a:token\tb:token\r\n", "made.inter, line 1: it has Windows line ends"),
        (b"a:token\tb\n", "made.inter, line 1: the field 'b' has no type"),
        (b"a:token,b:token\n", "made.inter, line 1: the type 'token,b:token' of the field 'a' must be one of token,"),
        (
            b"a:token\tb:string\n",
            "made.inter, line 1: the type 'string' of the field 'b' must be one of token, token_seq",
        ),
        (b"a:token\ta:float\n", "made.inter, line 1: the field 'a' is there twice"),
        (b"\xe9:token\n", "made.inter, line 1: it is not utf-8 text; name its encoding with --encoding"),
    ],
)
def test_a_faulty_header_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "made.inter").write_bytes(content)
    assert fault(AtomicFile(tmp_path / "made.inter")).startswith(told)


def test_other_encodings_are_read_by_name(tmp_path: Path) -> None:
    rows = [f"u{n}\ti\t{n}" for n in range(9000)]
    content = "\n".join([HEADER, *rows, "été\ti\t1"])
    path = tmp_path / "made.inter"
    path.write_bytes(content.encode("latin-1"))
    assert fault(AtomicFile(path)) == "made.inter, line 9002: it is not utf-8 text; name its encoding with --encoding"
    assert "'utf-99' is not known" in fault(AtomicFile(path, encoding="utf-99"))
    assert "it is not utf-16 text; name its encoding with --encoding" in fault(AtomicFile(path, encoding="utf-16"))
    for encoding in ("latin-1", "utf-8", "utf-16"):
        path.write_bytes(content.encode(encoding))
        assert AtomicFile(path, encoding=encoding).read(FIELDS)[0]["user_id"].iloc[-1] == "été"


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "made.inter").mkdir()
    assert fault(AtomicFile(tmp_path / "made.inter")) == "made.inter: it cannot be read: Is a directory"
    assert "must be one character" in fault(AtomicFile(tmp_path / "made.inter", separator="::"))


def test_lines_are_counted_without_empty_ones(tmp_path: Path) -> None:
    file = write(tmp_path, "a\ti\t1", "", "b\ti\t2", "", "", "c\ti\t3")
    assert [file.line_of(row) for row in range(3)] == [2, 4, 7]
    assert file.lines_of([2, 0]) == [(2, "a\ti\t1"), (7, "c\ti\t3")]


@pytest.mark.parametrize(
    ("rows", "fields", "twice"),
    [
        (["a\ti\t1", "b\ti\t1", "", "a\ti\t1"], FIELDS, (2, 5)),
        (["a\ti\t1", "a\tj\t1"], FIELDS, None),
        (["a\ti\t1", "a\ti\t2"], ["user_id", "item_id"], (2, 3)),  # they differ in what is not loaded
        (["a\ti\t1", '"a"\ti\t1.0'], FIELDS, (2, 3)),  # the same values, written in two ways
        (["a\ti\t1", "c\ti\t1", "c\ti\t1"], FIELDS, None),  # not among the tokens
    ],
)
def test_the_repeated_line_is_found(
    tmp_path: Path, rows: list[str], fields: list[str], twice: tuple[int, int] | None
) -> None:
    assert write(tmp_path, *rows).repeated_line("user_id", {"a", "b"}, fields) == twice
