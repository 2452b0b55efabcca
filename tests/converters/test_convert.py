"""The laws of converting: whole files or none, nothing dropped in silence, text that cannot break a line."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from recbole_clia.converters.convert import Converter, Files, Part, convert, sort_files
from recbole_clia.converters.raw import TEXT, WHOLE
from recbole_clia.converters.writer import AtomicWriter
from recbole_clia.errors import UsageError

INTER = {"user_id": "token", "item_id": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
LOG = "user_id,item_id,timestamp\nu1,i1,1\nu1,i2,2\nu2,i1,3\n"
ITEMS = "item_id,category\ni1,a\ni2,b\ni1,c\n"


def read_inter(files: Files) -> Iterator[pa.Table]:
    for file in files["log"]:
        yield from file.tables({"user_id": TEXT, "item_id": TEXT, "timestamp": WHOLE})


def read_item(files: Files) -> Iterator[pa.Table]:
    for file in files["items"]:
        yield from file.tables({"item_id": TEXT, "category": TEXT})


def shop(
    inter: Callable[[Files], Iterator[pa.Table]] = read_inter, item: Callable[[Files], Iterator[pa.Table]] = read_item
) -> Converter:
    parts = {
        "log": Part(r"log(_\d+)?\.csv(\.gz)?", "log.csv", many=True),
        "items": Part(r"items\.csv", "items.csv", required=False),
    }
    return Converter("shop", parts, INTER, inter, ITEM, item)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path / "log.csv"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path / "items.csv"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_first_row_of_each_item_is_kept(log: Path, items: Path, tmp_path: Path) -> None:
    done = convert(shop(), [items, log], tmp_path / "new" / "out")
    assert (done.users, done.items, done.interactions, done.item_rows, done.skipped) == (2, 2, 3, 2, [])
    assert done.folder == tmp_path / "new" / "out" / "shop"
    assert (done.folder / "shop.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1\nu1\ti2\t2\nu2\ti1\t3\n"
    )
    assert (done.folder / "shop.item").read_text() == "item_id:token\tcategory:token\ni1\ta\ni2\tb\n"
    assert files_in(done.folder) == ["shop.inter", "shop.item"]


def test_the_first_row_is_kept_across_blocks(log: Path, tmp_path: Path) -> None:
    def item(files: Files) -> Iterator[pa.Table]:
        yield pa.table({"item_id": ["i1", "i1"], "category": ["a", "b"]})
        yield pa.table({"item_id": ["i2", "i1"], "category": ["c", "d"]})

    done = convert(shop(item=item), [log], tmp_path / "out")
    assert (done.folder / "shop.item").read_text().splitlines()[1:] == ["i1\ta", "i2\tc"]


def test_a_block_may_be_empty(log: Path, tmp_path: Path) -> None:
    def item(files: Files) -> Iterator[pa.Table]:
        empty = pa.table({"item_id": pa.array([], pa.string()), "category": pa.array([], pa.string())})
        yield empty
        yield pa.table({"item_id": ["i1"], "category": ["a"]})
        yield empty

    assert convert(shop(item=item), [log], tmp_path / "out").item_rows == 1


def test_without_item_data_there_is_no_item_file(log: Path, tmp_path: Path) -> None:
    done = convert(shop(), [log], tmp_path / "out")
    assert done.item_rows is None
    assert files_in(done.folder) == ["shop.inter"]


def fails(error: BaseException) -> Callable[[Files], Iterator[pa.Table]]:
    """Reading that breaks off after some rows were written."""

    def read(files: Files) -> Iterator[pa.Table]:
        yield pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1]})
        raise error

    return read


def fails_at_items(error: BaseException) -> Callable[[Files], Iterator[pa.Table]]:
    def read(files: Files) -> Iterator[pa.Table]:
        yield pa.table({"item_id": ["i1"], "category": ["a"]})
        raise error

    return read


@pytest.mark.parametrize("error", [UsageError("bad"), OSError("gone"), RuntimeError("bug"), KeyboardInterrupt()])
def test_nothing_is_left_when_reading_breaks_off(log: Path, tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        convert(shop(inter=fails(error)), [log], tmp_path / "out")
    assert files_in(tmp_path / "out") == []
    with pytest.raises(type(error)):
        convert(shop(item=fails_at_items(error)), [log], tmp_path / "out")
    assert files_in(tmp_path / "out") == []
    assert not (tmp_path / "out" / "shop").exists()


@pytest.mark.parametrize("error", [UsageError("bad"), KeyboardInterrupt()])
def test_what_was_there_stays_when_a_replacement_breaks_off(log: Path, tmp_path: Path, error: BaseException) -> None:
    done = convert(shop(), [log], tmp_path / "out")
    before = (done.folder / "shop.inter").read_text()
    with pytest.raises(type(error)):
        convert(shop(inter=fails(error)), [log], tmp_path / "out", force=True)
    assert (done.folder / "shop.inter").read_text() == before
    assert files_in(done.folder) == ["shop.inter"]


@pytest.mark.parametrize("there", ["shop.inter", "shop.item"])
def test_files_that_are_there_are_replaced_only_by_force(log: Path, items: Path, tmp_path: Path, there: str) -> None:
    folder = tmp_path / "out" / "shop"
    folder.mkdir(parents=True)
    (folder / there).write_text("mine")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=rf"{there} is already there; .*--force"):
        convert(shop(), [log, items], tmp_path / "out")
    assert (folder / there).read_text() == "mine"
    assert files_in(folder) == sorted([there, "notes.txt"])
    convert(shop(), [log, items], tmp_path / "out", force=True)
    assert (folder / "shop.inter").read_text().count("\n") == 4
    assert (folder / "shop.item").read_text().count("\n") == 3
    assert (folder / "notes.txt").read_text() == "mine"


def test_files_are_told_apart_by_their_names(log: Path, items: Path, tmp_path: Path) -> None:
    second = tmp_path / "LOG_2.CSV"
    second.write_text("user_id,item_id,timestamp\nu3,i9,4\n")
    assert sort_files(shop(), [second, items, log]) == {"log": [second, log], "items": [items]}
    done = convert(shop(), [second, log], tmp_path / "out")
    assert (done.users, done.items, done.interactions) == (3, 3, 4)
    assert (done.folder / "shop.inter").read_text().splitlines()[1] == "u3\ti9\t4"


def test_files_that_do_not_belong_are_refused(log: Path, items: Path, tmp_path: Path) -> None:
    other = tmp_path / "catalog.csv"
    other.write_text(LOG)
    twice = tmp_path / "again" / "items.csv"
    twice.parent.mkdir()
    twice.write_text(ITEMS)
    for paths, sentence in (
        ([tmp_path / "log_7.csv"], f"{tmp_path / 'log_7.csv'}: there is no such file"),
        ([tmp_path], f"{tmp_path}: there is no such file"),
        ([log, other], f"{other}: its name is none of shop's files, which are log.csv, items.csv (optional)"),
        ([items], "shop: the file log.csv is missing; it needs log.csv, items.csv (optional)"),
        ([], "shop: the file log.csv is missing; it needs log.csv, items.csv (optional)"),
        ([log, items, twice], f"shop: {items} and {twice} are both items.csv"),
    ):
        with pytest.raises(UsageError) as told:
            convert(shop(), paths, tmp_path / "out")
        assert str(told.value) == sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Empty CSV file"),
        ("user_id,item_id,timestamp\n", "not one interaction was found; are they the right files?"),
        ("user_id,item_id\nu,i\n", "timestamp"),
        ("user_id,item_id,timestamp\nu,i\n", "2 fields instead of 3 (first at line 2)"),
    ],
)
def test_a_file_without_interactions_is_refused(log: Path, tmp_path: Path, text: str, sentence: str) -> None:
    log.write_text(text)
    with pytest.raises(UsageError) as told:
        convert(shop(), [log], tmp_path / "out")
    assert str(log) in str(told.value)
    assert sentence in str(told.value)
    assert files_in(tmp_path / "out") == []


def test_a_gzip_file_must_be_whole(tmp_path: Path) -> None:
    raw = tmp_path / "log.csv.gz"
    whole = gzip.compress((LOG + "".join(f"u{n},i{n * 7919 % 977},{n}\n" for n in range(20_000))).encode())
    raw.write_bytes(whole)
    assert convert(shop(), [raw], tmp_path / "whole").interactions == 20_003
    for broken in (whole[: len(whole) // 2], whole[:-4], b"user_id,item_id,timestamp\nu,i,1\n"):
        raw.write_bytes(broken)
        with pytest.raises(UsageError, match="not a whole gzip file"):
            convert(shop(), [raw], tmp_path / "out")
        assert files_in(tmp_path / "out") == []


def test_bytes_that_are_not_utf8_cost_their_line(log: Path, tmp_path: Path) -> None:
    log.write_bytes(LOG.encode() + "Ré,i3,4\n".encode("latin-1") + "Ré,i3,5\n".encode())
    done = convert(shop(), [log], tmp_path / "out")
    assert done.skipped == ["log.csv: 1 line left out, not utf-8 text (first at line 5)"]
    assert (done.folder / "shop.inter").read_text(encoding="utf-8").splitlines()[-1] == "Ré\ti3\t5"


def test_a_byte_order_mark_and_carriage_returns_are_no_text(log: Path, tmp_path: Path) -> None:
    log.write_bytes(b"\xef\xbb\xbf" + LOG.replace("\n", "\r\n").encode())
    done = convert(shop(), [log], tmp_path / "out")
    assert done.skipped == []
    assert (done.folder / "shop.inter").read_bytes().splitlines()[1:] == [b"u1\ti1\t1", b"u1\ti2\t2", b"u2\ti1\t3"]


def test_a_last_line_without_an_end_counts(log: Path, tmp_path: Path) -> None:
    log.write_text(LOG.rstrip("\n"))
    assert convert(shop(), [log], tmp_path / "out").interactions == 3


def test_the_lines_left_out_add_up(log: Path, tmp_path: Path) -> None:
    good = bad = 0
    lines = ["user_id,item_id,timestamp"]
    for number in range(3000):
        kind = number * 7 % 11
        lines.append({0: "u,i", 1: "u,i,x", 2: ",i,1", 3: "u,i,1,2"}.get(kind, f"u{number},i,{number}"))
        bad += kind < 4
        good += kind >= 4
    log.write_text("\n".join(lines) + "\n")
    done = convert(shop(), [log], tmp_path / "out")
    told = {sentence.split(", ", 1)[1]: int(sentence.split()[1]) for sentence in done.skipped}
    assert (done.interactions, sum(told.values())) == (good, bad)
    first = {kind: 2 + next(n for n in range(3000) if n * 7 % 11 == kind) for kind in range(4)}
    assert set(told) == {
        f"2 fields instead of 3 (first at line {first[0]})",
        f"timestamp is not a whole number (first at line {first[1]})",
        f"no user_id (first at line {first[2]})",
        f"4 fields instead of 3 (first at line {first[3]})",
    }


def test_what_would_break_a_line_becomes_a_space(tmp_path: Path) -> None:
    path = tmp_path / "a.item"
    with AtomicWriter(path, ITEM, distinct="item_id") as writer:
        writer.write(pa.table({"item_id": ['"i"\t1', "i\r\n2"], "category": ["plain", '\t"\n']}))
        assert (writer.rows, writer.distinct("item_id")) == (2, 2)
    assert path.read_bytes() == b"item_id:token\tcategory:token\n i 1\tplain\ni 2\t \n"


def test_numbers_are_written_in_full(tmp_path: Path) -> None:
    path = tmp_path / "a.inter"
    table = pa.table(
        {
            "user_id": ["u", "v"],
            "item_id": pa.array([7, 10**15]),
            "timestamp": pa.array([1396867869277, -1], pa.int64()),
        }
    )
    with AtomicWriter(path, INTER) as writer:
        writer.write(table)
        assert (writer.distinct("user_id"), writer.distinct("item_id")) == (2, 2)
    assert path.read_text().splitlines()[1:] == ["u\t7\t1396867869277", "v\t1000000000000000\t-1"]


def test_the_columns_must_be_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.inter"
    table = pa.table({"item_id": ["i"], "user_id": ["u"], "timestamp": [1]})
    with pytest.raises(ValueError, match="the columns are"), AtomicWriter(path, INTER) as writer:
        writer.write(table)
    assert files_in(tmp_path) == []


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.inter"
    with AtomicWriter(path, INTER) as writer:
        writer.write(pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1]}))
        assert not path.exists()
    assert files_in(tmp_path) == ["a.inter"]
    with AtomicWriter(path.with_name("b.inter"), INTER) as writer:
        writer.discard()
    assert files_in(tmp_path) == ["a.inter"]
