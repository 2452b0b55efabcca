"""Raw files of a publisher: read from beginning to end, once, however large."""

from __future__ import annotations

import ast
import gzip
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as pc

from ..errors import UsageError

BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 100_000
# What json and ast.literal_eval raise of a line that is not theirs.
_UNREADABLE = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
_Lines: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
_WHOLE = r"^-?[0-9]{1,18}$"
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?$"


@dataclass(frozen=True)
class Period:
    """The time that the data are of, both days included; times outside it are not believed.

    Attributes:
        first, last: the days, such as ``2012-04-01``.
        ticks: what is counted, in a second: 1 where times are seconds, 1000 where they are milliseconds.
    """

    first: str
    last: str
    ticks: int = 1

    @property
    def low(self) -> int:
        return (date.fromisoformat(self.first) - date(1970, 1, 1)).days * 86400 * self.ticks

    @property
    def high(self) -> int:
        return ((date.fromisoformat(self.last) - date(1970, 1, 1)).days + 1) * 86400 * self.ticks - 1


@dataclass(frozen=True)
class Column:
    """One column that is read; a line whose value does not fit is skipped.

    Attributes:
        type: ``pa.string()``, ``pa.int64()`` or ``pa.float64()``.
        needed: whether a line without a value is skipped; kept otherwise, with nothing in its place.
        within: for times, the time that the data are of.
        forms: for times in words, how they may be written, as for ``strptime``; they are read as UTC and become
            seconds since 1970.
    """

    type: pa.DataType
    needed: bool = True
    within: Period | None = None
    forms: tuple[str, ...] = ()


TEXT = Column(pa.string())  # such as an id: text that is not empty
NUMBER = Column(pa.float64())
WHOLE = Column(pa.int64())
ANY_TEXT = Column(pa.string(), needed=False)


class RawFile:
    """One raw file, plain or gzipped.

    Attributes:
        path: where it lies.
        skipped: how many lines were left out, by reason.
        first_skipped: the number of the first line that was left out, by reason.
    """

    def __init__(self, path: Path, advance: Callable[[int], Any] = lambda count: None) -> None:
        """``advance`` is told of the bytes that have been read from disk since the last time."""
        self.path = path
        self.skipped: Counter[str] = Counter()
        self.first_skipped: dict[str, int] = {}
        self._advance = advance
        self._told = 0

    def skip(self, line: int, reason: str, count: int = 1) -> None:
        """Leave out ``count`` lines from line ``line`` on, and remember why."""
        self.skipped[reason] += count
        self.first_skipped[reason] = min(line, self.first_skipped.get(reason, line))

    def again(self) -> RawFile:
        """The same file for a second reading: what was skipped in the first is not counted again."""
        return _SecondReading(self)

    def _tell(self, disk: BinaryIO | pa.NativeFile) -> None:
        position = disk.tell()
        self._advance(position - self._told)
        self._told = position

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The file on the disk, and what is in it."""
        with self.path.open("rb") as disk, self._whole(disk) as gzipped:
            yield disk, io.BufferedReader(gzip.GzipFile(fileobj=disk), 1 << 20) if gzipped else disk

    @contextmanager
    def _open_for_arrow(self) -> Iterator[tuple[pa.NativeFile, pa.NativeFile]]:
        """Likewise, as files of Arrow's: its threads read ahead, and one that needs Python at the end aborts all."""
        with pa.OSFile(str(self.path)) as disk, self._whole(disk) as gzipped:
            yield disk, pa.CompressedInputStream(disk, "gzip") if gzipped else disk

    @contextmanager
    def _whole(self, disk: BinaryIO | pa.NativeFile) -> Iterator[bool]:
        """Whether the file is compressed; one that cannot be read to its end is told."""
        gzipped = self.path.suffix.lower() == ".gz"
        try:
            yield gzipped
        except (EOFError, OSError, zlib.error) as error:
            if not gzipped:
                raise
            raise UsageError(f"{self.path}: it is not a whole gzip file ({error}); fetch it again") from error
        self._tell(disk)

    def lines(self, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
        """Number (from 1) and text of each line, without its end; a line that is not text is skipped."""
        with self._open() as (disk, stream):
            for number, line in enumerate(stream, 1):
                if number % 4096 == 0:
                    self._tell(disk)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                try:
                    yield number, line.decode(encoding).rstrip("\r\n")
                except UnicodeError:
                    self.skip(number, f"not {encoding} text")

    def records(self, literals: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and object of each line of a file with one JSON object a line; other lines are skipped.

        Args:
            literals: whether a line may be a Python dictionary instead, as Python 2 printed it.
        """
        for number, line in self.lines():
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except _UNREADABLE:
                try:
                    record = ast.literal_eval(line.strip()) if literals else None
                except _UNREADABLE:
                    record = None
                if record is None:
                    self.skip(number, "neither JSON nor a Python literal" if literals else "not JSON")
                    continue
            if isinstance(record, dict):
                yield number, record
            else:
                self.skip(number, "neither a JSON object nor a Python dictionary" if literals else "not a JSON object")

    def record_tables(self, columns: Mapping[str, Column], literals: bool = False) -> Iterator[pa.Table]:
        """The chosen keys of a file with one JSON object a line, block by block; see :meth:`records`."""
        keys = list(columns)
        rows = ((number, [record.get(key) for key in keys]) for number, record in self.records(literals))
        return self.row_tables(columns, rows)

    def row_tables(
        self, columns: Mapping[str, Column], rows: Iterable[tuple[int, Sequence[Any]]]
    ) -> Iterator[pa.Table]:
        """Rows of values, each with the number of its line, as tables of bounded size; what does not fit is skipped.

        Values are texts or numbers; anything else counts as missing.
        """
        numbers: list[int] = []
        values: list[list[bytes]] = [[] for _ in columns]
        for number, row in rows:
            numbers.append(number)
            for column, value in zip(values, row, strict=True):
                column.append(_as_text(value))
            if len(numbers) == BLOCK_ROWS:
                yield self._checked(columns, [pa.array(v, pa.binary()) for v in values], np.array(numbers))
                numbers, values = [], [[] for _ in columns]
        if numbers:
            yield self._checked(columns, [pa.array(v, pa.binary()) for v in values], np.array(numbers))

    def tables(
        self,
        columns: Mapping[str, pa.DataType | Column],
        delimiter: str = ",",
        names: Sequence[str] | None = None,
        encoding: str = "utf8",
        quoted: bool = True,
    ) -> Iterator[pa.Table]:
        """The chosen columns of a file of separated values, block by block.

        Lines with another number of fields, and lines with a value that is not of its column's type, are
        skipped.  Their numbers do not count empty lines, nor ends of lines within quotes.

        Args:
            columns: name and type of each column that is wanted; a plain ``pa.string()`` may be empty.
            delimiter: one character.
            names: names of all columns, where the file has no header line.
            encoding: of the file.
            quoted: whether double quotes enclose values.

        Raises:
            UsageError: if the header lacks a column, or the file is empty or not of this form at all.
        """
        wanted = {
            name: kind if isinstance(kind, Column) else Column(kind, needed=not pa.types.is_string(kind))
            for name, kind in columns.items()
        }
        ragged: list[int] = []

        def leave_out(row: Any) -> str:
            ragged.append(row.number)
            self.skip(row.number, f"{row.actual_columns} fields instead of {row.expected_columns}")
            return "skip"

        read = pc.ReadOptions(
            column_names=list(names) if names else None, block_size=BLOCK_BYTES, use_threads=False, encoding=encoding
        )
        parse = pc.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            invalid_row_handler=leave_out,
            newlines_in_values=quoted,
        )
        # Read as bytes: a single value of another type would end the reading.
        convert = pc.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.binary()), include_columns=list(wanted), strings_can_be_null=False
        )
        before = 0 if names else 1  # the line of a row, if no line had been left out, is its number and this
        rows = 0
        with self._open_for_arrow() as (disk, stream):
            try:
                with pc.open_csv(stream, read, parse, convert) as reader:
                    for batch in reader:
                        self._tell(disk)
                        # Each line left out was followed by the row of this number.
                        left_out = np.array(ragged, dtype=np.int64) - before - np.arange(len(ragged))
                        row = np.arange(rows + 1, rows + batch.num_rows + 1)
                        line = row + before + np.searchsorted(left_out, row, side="right")
                        rows += batch.num_rows
                        yield self._checked(wanted, batch.columns, line)
            except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
                raise UsageError(f"{self.path}: {' '.join(str(error).split())}") from error

    def _checked(self, columns: Mapping[str, Column], values: Sequence[Any], lines: _Lines) -> pa.Table:
        """The values, which are bytes, as what they should be; rows that do not fit are skipped."""
        block = _Block(self, pa.table(dict(zip(columns, values, strict=True))), lines)
        for name, column in columns.items():
            block.decode(name)
            is_text = pa.types.is_string(column.type) and not column.forms
            if column.needed:
                block.skip(compute.equal(compute.utf8_trim_whitespace(block[name]), ""), f"no {name}")
            if is_text:
                continue
            text = compute.utf8_trim_whitespace(block[name])
            block[name] = compute.if_else(compute.equal(text, ""), pa.scalar(None, pa.string()), text)
            if column.forms:
                block.read_times(name, column.forms)
            else:
                block.read_numbers(name, column.type)
            if column.within is not None:
                block.bound(name, column.within)
        return block.table


class _Block:
    """Some rows of a file, and the numbers of their lines."""

    def __init__(self, file: RawFile, table: pa.Table, lines: _Lines) -> None:
        self.file, self.table, self.lines = file, table, lines

    def __getitem__(self, name: str) -> Any:
        return self.table.column(name)

    def __setitem__(self, name: str, values: Any) -> None:
        self.table = self.table.set_column(self.table.column_names.index(name), name, values)

    def skip(self, bad: Any, reason: str) -> None:
        where = np.asarray(bad)
        if where.any():
            self.file.skip(int(self.lines[where][0]), reason, int(where.sum()))
            self.table, self.lines = self.table.filter(pa.array(~where)), self.lines[~where]

    def decode(self, name: str) -> None:
        try:
            self[name] = self[name].cast(pa.string())
        except pa.ArrowInvalid:
            self.skip([not _is_text(value) for value in self[name].to_pylist()], "not utf-8 text")
            self[name] = self[name].cast(pa.string())

    def read_times(self, name: str, forms: Sequence[str]) -> None:
        text, found = self[name], pa.scalar(None, pa.timestamp("s"))
        for form in forms:
            times = compute.strptime(text, format=form, unit="s", error_is_null=True)
            # strptime takes a 31st of February, or a 2 where 02 belongs.
            same = compute.equal(compute.strftime(times, format=form), text)
            found = compute.coalesce(found, compute.if_else(same, times, pa.scalar(None, pa.timestamp("s"))))
        self[name] = found.cast(pa.int64())
        self.skip(compute.and_(compute.is_valid(text), compute.is_null(found)), f"{name} is not a time")

    def read_numbers(self, name: str, kind: pa.DataType) -> None:
        whole, text = pa.types.is_integer(kind), self[name]
        fits = compute.match_substring_regex(text, pattern=_WHOLE if whole else _NUMBER)
        self[name] = numbers = compute.if_else(fits, text, pa.scalar(None, pa.string())).cast(kind)
        fits = compute.and_(fits, compute.is_finite(numbers))  # 1e999 is not
        bad = compute.and_(compute.is_valid(text), compute.invert(compute.fill_null(fits, False)))
        self.skip(bad, f"{name} is not a {'whole ' if whole else ''}number")

    def bound(self, name: str, period: Period) -> None:
        outside = compute.or_(compute.less(self[name], period.low), compute.greater(self[name], period.high))
        self.skip(compute.fill_null(outside, False), f"{name} is not from {period.first} to {period.last}")


class _SecondReading(RawFile):
    def __init__(self, first: RawFile) -> None:
        super().__init__(first.path)
        self._first, self._known = first, set(first.skipped)

    def skip(self, line: int, reason: str, count: int = 1) -> None:
        if reason not in self._known:
            self._first.skip(line, reason, count)


def text_tables(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[pa.Table]:
    """Rows of texts as tables of bounded size."""
    block: list[Sequence[str]] = []

    def table() -> pa.Table:
        columns = zip(*block, strict=True)
        return pa.table(
            {
                name: pa.array([value.encode("utf-8", "replace") for value in column], pa.binary()).cast(pa.string())
                for name, column in zip(names, columns, strict=True)
            }
        )

    for row in rows:
        block.append(row)
        if len(block) == BLOCK_ROWS:
            yield table()
            block = []
    if block:
        yield table()


def words(categories: Iterable[Any]) -> str:
    """Categories as a token sequence: each once, in their order, with hyphens for the spaces within them."""
    found = ("-".join(category.split()) for category in categories if isinstance(category, str))
    return " ".join(dict.fromkeys(category for category in found if category))


def _as_text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")  # half a surrogate pair is found not to be text later
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return b""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return str(value).encode()


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
