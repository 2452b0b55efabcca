"""A faulty file gets one sentence that names it, its line and what is allowed, and code 2; nothing is left behind."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_clia.cli.main import run_train

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
QUIET = ["--dataset=made", "--data_path=dataset", "--show_progress=False", "--state=CRITICAL"]
SMALL = ["--epochs=1", "--embedding_size=8", "--hidden_size=8", "--MAX_ITEM_LIST_LENGTH=4", "--topk=[3]"]
SMALL += ["--valid_metric=NDCG@3", "--train_batch_size=64"]
A_TIME = "a time is a number from 0 on or an ISO date, from 1970 to 2100"


def good_rows(time: Callable[[int], Any] = lambda n: 1_500_000_000 + 60 * n) -> list[str]:
    """Histories of twelve items each."""
    return [f"u{n % 4}\ti{n % 13}\t{time(n)}" for n in range(48)]


def text(*rows: str, header: str = HEADER, end: str = "\n") -> bytes:
    return ("\n".join([header, *rows]) + end).encode()


def with_row(number: int, row: str, rows: list[str] | None = None) -> bytes:
    """Good rows with another one as line ``number``."""
    rows = good_rows() if rows is None else rows
    return text(*rows[: number - 2], row, *rows[number - 2 :])


def with_time(time: str, rows: list[str] | None = None) -> bytes:
    return with_row(7, f"u9\ti9\t{time}", rows)


@pytest.fixture
def made(workplace: Path) -> Path:
    """Where the file of interactions belongs."""
    folder = workplace / "dataset" / "made"
    folder.mkdir(parents=True)
    return folder / "made.inter"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence with which a command ends."""
    before = set(Path().rglob("*"))
    assert run_train([*QUIET, *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("recbole-clia: ")
    assert len(printed.err.strip().splitlines()) == 1, printed.err
    assert "validation" not in printed.out
    left = set(Path().rglob("*")) - before
    assert {path.parts[0] for path in left} <= {"log", "log_tensorboard"}, left
    return printed.err.removeprefix("recbole-clia: ").strip()


HEADERS = {
    "no such column": (
        text(*good_rows(), header="user_id:token\titem_id:token\twhen:float"),
        "made.inter, line 1: there is no field 'timestamp' among user_id, item_id, when; name the column with",
    ),
    "no type": (
        text(*good_rows(), header="user_id\titem_id:token\ttimestamp:float"),
        "made.inter, line 1: the field 'user_id' has no type; write a name and one of token, token_seq, float,",
    ),
    "unknown type": (
        text(*good_rows(), header="user_id:token\titem_id:token\ttimestamp:int"),
        "made.inter, line 1: the type 'int' of the field 'timestamp' must be one of token, token_seq, float, float_seq",
    ),
    "twice": (
        text(*good_rows(), header="user_id:token\tuser_id:token\ttimestamp:float"),
        "made.inter, line 1: the field 'user_id' is there twice; a name may stand once",
    ),
    "another separator": (
        text(*(row.replace("\t", ",") for row in good_rows()), header=HEADER.replace("\t", ",")),
        "made.inter, line 1: the type 'token,item_id:token,timestamp:float' of the field 'user_id' must be one of "
        "token, token_seq, float, float_seq; '\\t' separates two fields, see field_separator",
    ),
    "users of numbers": (
        text(*good_rows(), header="user_id:float\titem_id:token\ttimestamp:float"),
        "made.inter, line 1: the type of the field 'user_id' must be token, not float",
    ),
    "items of sequences": (
        text(*good_rows(), header="user_id:token\titem_id:token_seq\ttimestamp:float"),
        "made.inter, line 1: the type of the field 'item_id' must be token, not token_seq",
    ),
    "byte-order mark": (
        b"\xef\xbb\xbf" + text(*good_rows()),
        "made.inter, line 1: it begins with a byte-order mark; save",
    ),
    "Windows": (
        text(*good_rows()).replace(b"\n", b"\r\n"),
        "made.inter, line 1: it has Windows line ends; save it with",
    ),
    "not UTF-8": (
        text(*good_rows(), header=HEADER + "\tdur\xe9e:float").decode().encode("latin-1"),
        "made.inter, line 1: it is not utf-8 text; name its encoding with --encoding",
    ),
    "empty": (
        b"",
        "made.inter: it is empty; its first line must name the fields with their types, such as user_id:token",
    ),
    "blank": (b"\n \n", "made.inter: it is empty; its first line must name the fields"),
    "no header": (text(*good_rows()[1:], header=good_rows()[0]), "made.inter, line 1: the field 'u0' has no type"),
}

ROWS = {
    "too few fields": (
        with_row(7, "u9\ti9"),
        "made.inter, line 7: it has 2 fields, and the header names 3 ('user_id\\titem_id\\ttimestamp')",
    ),
    "too many fields": (with_row(7, "u9\ti9\t5\t6"), "made.inter, line 7: it has 4 fields, and the header names 3"),
    "separated by a space": (with_row(7, "u9 i9 5"), "made.inter, line 7: it has 1 fields, and the header names 3"),
    "after blank lines": (with_row(7, "\n\nu9\ti9"), "made.inter, line 9: it has 2 fields"),
    "quoted, and short": (with_row(7, '"u\t9"\ti9'), "made.inter, line 7: it has 2 fields"),
    "an open quote": (with_row(7, '"u9\ti9\t1500000000'), "made.inter, line 7: it has 1 fields"),
    "text for a time": (
        with_time("soon"),
        "made.inter, line 7: 'soon' in the field 'timestamp' is not a number",
    ),
    "text for the first time": (
        with_row(2, "u9\ti9\tsoon"),
        f"made.inter, line 2: 'soon' is neither a number nor an ISO date; {A_TIME}",
    ),
    "no time": (with_time(""), f"made.inter, line 7: the time is missing; {A_TIME}"),
    "no time, as pandas writes it": (with_time("NaN"), f"made.inter, line 7: the time is missing; {A_TIME}"),
    "infinite": (with_time("inf"), f"made.inter, line 7: the time is infinite; {A_TIME}"),
    "negative": (with_time("-60"), f"made.inter, line 7: the time -60 is negative; {A_TIME}"),
    "negative after blank lines": (with_row(7, "\n\nu9\ti9\t-60"), "made.inter, line 9: the time -60 is negative"),
    "the year 2300": (
        with_time("10413792000"),
        "made.inter, line 7: the time 10413792000 is after the year 2100 in the unit 's'; see time_unit; " + A_TIME,
    ),
    "nanoseconds among seconds": (
        with_time("1e18"),
        "made.inter, line 7: the time 1000000000000000000 is after the year",
    ),
    "more than any number": (with_time("1" + "0" * 30), "made.inter, line 7: the time 1e+30 is after the year 2100"),
    "a date among numbers": (
        with_time("2017-07-14"),
        "made.inter, line 7: '2017-07-14' in the field 'timestamp' is not a",
    ),
    "a number among dates": (
        with_time("1500000000", good_rows(lambda n: f"2017-07-{n % 28 + 1:02}")),
        f"made.inter, line 7: '1500000000' is neither a number nor an ISO date; {A_TIME}",
    ),
    "a date that never was": (
        with_time("2017-02-30", good_rows(lambda n: f"2017-07-{n % 28 + 1:02}")),
        "made.inter, line 7: '2017-02-30' is neither a number nor an ISO date",
    ),
    "a date before 1970": (
        with_time("1969-12-31", good_rows(lambda n: f"2017-07-{n % 28 + 1:02}")),
        "made.inter, line 7: the time '1969-12-31' is before 1970",
    ),
    "twice": (
        with_row(9, good_rows()[1]),
        "made.inter, line 9: it repeats line 3 in all that is loaded (user_id, item_id, timestamp); set "
        "duplicate_rows to 'first' to count such rows once, or to 'keep'",
    ),
    "not UTF-8": (
        with_row(7, "u\xe9\ti9\t1500000000").decode().encode("latin-1"),
        "made.inter, line 7: it is not utf-8 text; name its encoding with --encoding",
    ),
    "not UTF-8, far down": (
        text(*[f"u{n % 9}\ti{n}\t{n}" for n in range(9000)], "u\xe9\ti9\t5").decode().encode("latin-1"),
        "made.inter, line 9002: it is not utf-8 text; name its encoding with --encoding",
    ),
    "a carriage return": (with_row(7, "u9\ti\r9\t5"), "made.inter, line 7: it holds a carriage return"),
    "header only": (text(), "made.inter: it holds no interaction; each line after the first must be one"),
    "header only, without an end": (text(end=""), "made.inter: it holds no interaction"),
    "one user": (text(*(f"u\ti{n}\t{n}" for n in range(9))), "made.inter: one user is all that is left of it; two are"),
    "one item": (
        text(*(f"u{n % 3}\ti\t{n}" for n in range(9))),
        "made.inter: one item is all that is left of it; two are",
    ),
    "no user": (text(*(f"\ti{n}\t{n}" for n in range(9))), "made.inter: no interaction passes the filters"),
}


@pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
@pytest.mark.parametrize("fault", [*HEADERS, *(f"row: {fault}" for fault in ROWS)])
def test_a_faulty_file_is_refused_in_one_sentence(
    made: Path, capsys: pytest.CaptureFixture[str], fault: str, model: str
) -> None:
    content, sentence = ROWS[fault[5:]] if fault.startswith("row: ") else HEADERS[fault]
    made.write_bytes(content)
    told = refused(capsys, f"--model={model}")
    assert told.startswith(f"dataset/made/{sentence}"), told


@pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
@pytest.mark.parametrize("split", ["{'LS':'valid_and_test'}", "{'RS':[8,1,1]}", "{'TS':[0.8,0.1,0.1]}"])
def test_histories_that_are_too_short_are_refused(
    made: Path, capsys: pytest.CaptureFixture[str], model: str, split: str
) -> None:
    made.write_bytes(text(*(f"u{n}\ti{n}\t{n}" for n in range(9))))
    eval_args = f"{{'split':{split},'order':'TO','group_by':'user','mode':'full'}}"
    assert run_train([*QUIET, f"--model={model}", f"--eval_args={eval_args}"]) == 2
    printed = capsys.readouterr().err
    assert "made.inter: all histories are too short, and nothing is left to train on; a user counts with" in printed
    assert len(printed.strip().splitlines()) == 1
    assert not list(Path().rglob("*.part"))


def test_a_folder_in_place_of_the_file_is_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.mkdir()
    assert refused(capsys) == "dataset 'made': there is no file dataset/made/made.inter"


@pytest.mark.parametrize(
    ("suffix", "header", "rows", "sentence"),
    [
        (
            "item",
            "item_id:token\tprice:float",
            ["i1\t5", "", "i2\tcheap"],
            "line 4: 'cheap' in the field 'price' is not a",
        ),
        ("item", "item_id:token\tprice:float", ["i1\t5", "i2"], "line 3: it has 1 fields, and the header names 2"),
        (
            "item",
            "item_id:token\tprice:money",
            ["i1\t5"],
            "line 1: the type 'money' of the field 'price' must be one of",
        ),
        ("user", "user_id:token\tage", ["u1\t5"], "line 1: the field 'age' has no type"),
        ("item", "item:token\tprice:float", ["i1\t5"], "line 1: there is no field 'item_id' among item, price"),
        ("item", "item_id:float\tprice:float", ["1\t5"], "line 1: the type of the field 'item_id' must be token, not"),
        (
            "item",
            "item_id:token\tv:float_seq",
            ["i1\t5", "", "i2\t1 x"],
            "line 4: '1 x' in the field 'v' must be numbers",
        ),
    ],
)
def test_files_of_users_and_items_are_checked_as_well(
    made: Path, capsys: pytest.CaptureFixture[str], suffix: str, header: str, rows: list[str], sentence: str
) -> None:
    made.write_bytes(text(*good_rows()))
    made.with_suffix(f".{suffix}").write_bytes(text(*rows, header=header))
    told = refused(capsys, "--load_col=None")
    assert told.startswith(f"dataset/made/made.{suffix}, {sentence}")


@pytest.mark.parametrize("setting", ["numerical_features=['timestamp']", "threshold={'timestamp':5}"])
def test_settings_that_would_replace_the_times_are_refused(
    made: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    made.write_bytes(text(*good_rows()))
    told = refused(capsys, f"--{setting}")
    assert told.endswith("'timestamp' (TIME_FIELD) orders the log and stays as it is")


GOOD = {
    "no end of the last line": (text(*good_rows(), end=""), []),
    "blank lines": (text(*good_rows()[:9], "", "", *good_rows()[9:], "", ""), []),
    "Windows line ends after the first": (text(*(row + "\r" for row in good_rows())), []),
    "quoted fields": (text(*(f'"{row.split(chr(9))[0]}"\t' + row.split("\t", 1)[1] for row in good_rows())), []),
    "another order of rows": (text(*random.Random(0).sample(good_rows(), 48)), []),
    "latin-1": (with_row(7, "u\xe9\ti9\t1500000000").decode().encode("latin-1"), ["--encoding=latin-1"]),
    "commas": (text(*good_rows()).replace(b"\t", b","), ["--field_separator=','"]),
    "rows that repeat, once": (with_row(9, good_rows()[1]), ["--duplicate_rows=first"]),
    "rows that repeat, all": (with_row(9, good_rows()[1]), ["--duplicate_rows=keep"]),
    "ids that are missing": (with_row(9, "\ti1\t1500000000"), []),
    "ISO dates": (text(*good_rows(lambda n: f"2017-07-14T02:40:{n:02}Z")), []),
    "dates as numbers": (text(*good_rows(lambda n: 20170701 + n % 28)), []),
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_no_fault_trains(made: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    content, words = GOOD[kind]
    made.write_bytes(content)
    assert run_train([*QUIET, *SMALL, *words]) == 0, capsys.readouterr().err
    assert "ndcg@3" in capsys.readouterr().out


def test_a_mended_file_trains_after_it_was_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.write_bytes(with_time("soon"))
    refused(capsys)
    made.write_bytes(text(*good_rows()))
    assert run_train([*QUIET, *SMALL]) == 0


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([*good_rows(), good_rows()[1]], "it repeats line 3 in all that is loaded (user_id, item_id"),
        ([row for row in good_rows() if row.startswith("u0\t")], "one user is all that is left of it"),
    ],
)
def test_a_general_model_gets_the_same_sentences(
    workplace: Path, capsys: pytest.CaptureFixture[str], lines: list[str], sentence: str
) -> None:
    (workplace / "dataset/made").mkdir(parents=True)
    (workplace / "dataset/made/made.inter").write_bytes(text(*lines))
    assert run_train(["--model=BPR", "--dataset=made", "--state=CRITICAL", "--show_progress=False"]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["compare", "convert"])
def test_a_process_that_refuses_a_file_ends_with_code_2(made: Path, command: str) -> None:
    """Also while Arrow's threads are still reading ahead in it."""
    if command == "compare":
        made.write_bytes(text())
        words = ["compare", "--models", "CLIA", "--datasets", "made", "--data_path=dataset"]
    else:
        made.with_name("Books.csv.gz").write_bytes(gzip.compress(b"a,b,c\n" + b"1,2,3\n" * 3_000_000))
        words = ["convert", "amazon-books-23", str(made.with_name("Books.csv.gz")), "out"]
    ended = subprocess.run(
        [sys.executable, "-m", "recbole_clia.cli.main", *words], capture_output=True, text=True, timeout=300
    )
    told = ended.stderr.strip().splitlines()[-1]
    assert told.startswith("recbole-clia: "), ended.stderr
    assert ended.returncode == 2
