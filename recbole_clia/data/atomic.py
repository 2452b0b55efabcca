"""Read RecBole's atomic files: a header of ``field:type``, then one row a line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as pc
from numpy.typing import NDArray

from ..errors import UsageError
from .times import TimeFault, Times, check_times, parse_dates

TYPES = ("token", "token_seq", "float", "float_seq")
_EXAMPLE = "user_id:token, item_id:token and timestamp:float"
_WHOLE = re.compile(r"[-+]?\d{1,19}")  # nanoseconds since 1970 have 19 digits
_BOM = "\ufeff"


class _Column:
    """A column that grows block by block within memory that is there from the beginning.

    Of tokens it holds codes; those of each block count into the block's own words, until they are unified.
    """

    def __init__(self, kind: Any, most: int) -> None:
        self.is_coded = pa.types.is_dictionary(kind)
        dtype = np.int32 if self.is_coded else object if pa.types.is_string(kind) else kind.to_pandas_dtype()
        self._room = np.empty(most, dtype=dtype)
        self._end = 0
        self._known = pa.array([], pa.string())  # the words of all blocks but the last ones
        self._begin = 0  # of the last ones
        self._ends: list[int] = []
        self._words: list[pa.Array] = []

    @property
    def values(self) -> NDArray[Any]:
        return self._room[: self._end]

    def append(self, block: pa.Array) -> None:
        end = self._end + len(block)
        if self.is_coded:
            codes = block.indices.fill_null(-1) if block.null_count else block.indices
            self._room[self._end : end] = codes.to_numpy()
            self._words.append(block.dictionary)
            self._ends.append(end)
            if sum(map(len, self._words)) > max(len(self._known), 1 << 13):
                self._merge()
        elif block.null_count and self._room.dtype.kind == "i":
            raise pa.ArrowInvalid("conversion error: a whole number is missing")
        else:
            self._room[self._end : end] = block.to_numpy(zero_copy_only=False)
        self._end = end

    def _merge(self) -> None:
        """Let the codes of the last blocks count into the words of all."""
        words = pa.concat_arrays([self._known, *self._words], memory_pool=pa.system_memory_pool())
        encoded = compute.dictionary_encode(words, memory_pool=pa.system_memory_pool())  # known words keep their codes
        numbers = encoded.indices.to_numpy().astype(np.int32)
        first = len(self._known)
        for words, end in zip(self._words, self._ends, strict=True):
            of_all = np.append(numbers[first : first + len(words)], np.int32(-1))  # the last is for a missing value
            self._room[self._begin : end] = of_all[self._room[self._begin : end]]
            self._begin, first = end, first + len(words)
        self._known = encoded.dictionary
        self._words, self._ends = [], []

    def unify(self) -> pd.Index:
        """All words, each once; the codes count into them from now on, -1 for a missing value."""
        if self._words:
            self._merge()
        words, self._known = self._known.to_numpy(zero_copy_only=False), pa.array([], pa.string())
        give_back()
        return pd.Index(words, dtype=object)


@dataclass(frozen=True)
class AtomicFile:
    """An atomic file and how it is written.

    Attributes:
        path: where it lies.
        separator: the one character between two fields.
        encoding: of its text.
    """

    path: Path
    separator: str = "\t"
    encoding: str = "utf-8"

    def header(self) -> dict[str, str]:
        """Type of each field, in the file's order.

        Raises:
            UsageError: if the file is empty, is not text of its encoding, has Windows line ends or a byte-order mark,
                or if a field has no type, an unknown one, or the name of another.
        """
        if len(self.separator) != 1:
            raise UsageError(f"field_separator must be one character, not {self.separator!r}")
        try:
            with self.path.open(encoding=self.encoding, newline="") as lines:
                line = lines.readline()
        except UnicodeError:
            raise UsageError(self._undecodable()) from None
        except LookupError:
            raise UsageError(f"encoding: {self.encoding!r} is not known; utf-8 is, for instance") from None
        except OSError as error:
            raise UsageError(f"{self.path}: it cannot be read: {error.strerror}") from None
        if not line.strip(f"{_BOM}\r\n "):
            raise UsageError(
                f"{self.path}: it is empty; its first line must name the fields with their types, such as {_EXAMPLE}"
            )
        if line.startswith(_BOM):
            raise UsageError(f"{self.path}, line 1: it begins with a byte-order mark; save it as UTF-8 without one")
        if line.endswith("\r\n"):
            raise UsageError(
                f"{self.path}, line 1: it has Windows line ends; save it with line ends of one character (\\n)"
            )
        fields: dict[str, str] = {}
        for text in line.rstrip("\n").split(self.separator):
            name, colon, kind = text.partition(":")
            if not colon or not name:
                raise UsageError(
                    f"{self.path}, line 1: the field {text!r} has no type; write a name and one of "
                    f"{', '.join(TYPES)}, such as {_EXAMPLE}, with {self.separator!r} between them"
                )
            if kind not in TYPES:
                hint = f"; {self.separator!r} separates two fields, see field_separator" if ":" in kind else ""
                raise UsageError(
                    f"{self.path}, line 1: the type {kind!r} of the field {name!r} must be one of "
                    f"{', '.join(TYPES)}{hint}"
                )
            if name in fields:
                raise UsageError(f"{self.path}, line 1: the field {name!r} is there twice; a name may stand once")
            fields[name] = kind
        return fields

    def read(
        self, fields: Iterable[str], time_field: str | None = None, time_unit: str = "auto"
    ) -> tuple[pd.DataFrame, str | None]:
        """The chosen fields of all rows.

        Args:
            fields: names of the fields.
            time_field: the one among them that holds times.
            time_unit: unit of the times, as in :func:`check_times`.

        Returns:
            A frame and the unit of the times.  Tokens are a ``Categorical``, floats float64, sequences text;
            missing values are as pandas reads them.  Times are int64 or float64, and never missing.

        Raises:
            UsageError: naming file and line, for a row of too few or too many fields, a value that is no number,
                a time that cannot be one, or text that is not of the encoding.
        """
        header = self.header()
        wanted = [name for name in header if name in set(fields)]
        kinds = {name: _arrow_type(header[name]) for name in wanted}
        if time_field not in wanted:
            columns = self._columns(header, kinds)
        else:
            first = self._first_value(time_field)
            dates = pa.dictionary(pa.int32(), pa.string())
            kinds[time_field] = pa.float64() if _is_number(first) or not first else dates
            whole = bool(_WHOLE.fullmatch(first))
            columns = self._columns(header, {**kinds, time_field: pa.int64()}, soft=True) if whole else {}
            columns = columns or self._columns(header, kinds)  # whole numbers at first, fractions further down
        frame: dict[str, Any] = {}
        unit = None
        for name in wanted:
            column = columns.pop(name)
            if name == time_field:
                times = self._times(column, time_unit)
                frame[name], unit = times.values, times.unit
            elif header[name] == "token":
                frame[name] = pd.Categorical.from_codes(column.values, column.unify())
            else:
                frame[name] = column.values
        return pd.DataFrame(frame, copy=False), unit

    def line_of(self, row: int) -> int:
        """The number of the line that holds row ``row`` (from 0); empty lines hold none."""
        return self.lines_of([row])[0][0]

    def lines_of(self, rows: Iterable[int]) -> list[tuple[int, str]]:
        """Number and text of the lines that hold these rows, in the order of the file."""
        asked, found, row = set(rows), [], -2
        with self.path.open(encoding=self.encoding, errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                row += bool(line.strip("\r\n"))
                if row in asked and line.strip("\r\n"):
                    found.append((number, line.rstrip("\r\n")))
                    if len(found) == len(asked):
                        break
        return found

    def repeated_line(self, field: str, tokens: set[str], fields: Iterable[str]) -> tuple[int, int] | None:
        """Numbers of the first two lines that are equal in these fields, with one of these tokens in ``field``."""
        header = self.header()
        places = {name: place for place, name in enumerate(header) if name == field or name in set(fields)}
        seen: dict[tuple[float | str, ...], int] = {}
        with self.path.open(encoding=self.encoding, errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                values = self._values(line)
                if number > 1 and len(values) == len(header) and values[places[field]] in tokens:
                    key = tuple(_comparable(values[place], header[name]) for name, place in places.items())
                    if key in seen:
                        return seen[key], number
                    seen[key] = number
        return None

    def _values(self, line: str) -> list[str]:
        """The fields of a line, without the quotes about them."""
        line = line.rstrip("\r\n")
        if '"' in line:
            try:
                return next(csv.reader([line], delimiter=self.separator))
            except csv.Error:  # a value of more than 128 KiB
                pass
        return line.split(self.separator)

    def _first_value(self, field: str) -> str:
        index = list(self.header()).index(field)
        with self.path.open(encoding=self.encoding, errors="replace") as lines:
            next(lines)
            for line in lines:
                values = self._values(line)
                if line.strip() and index < len(values):
                    return values[index]
        return ""

    def _columns(
        self, header: dict[str, str], kinds: dict[str, Any], soft: bool = False, block_size: int = 0
    ) -> dict[str, _Column]:
        """Each column as it is in the file; nothing if ``soft`` and a value is not of its type."""
        rows = self._lines()
        columns = {name: _Column(kind, rows) for name, kind in kinds.items()}
        if rows == 1:  # the header alone
            return columns
        # Small blocks need little memory beside the result, large ones give fewer words to unify.
        block_size = block_size or min(max(self.path.stat().st_size // 1024, 1 << 16), 1 << 23)
        read = pc.ReadOptions(
            column_names=list(header),
            skip_rows=1,
            block_size=block_size,
            use_threads=False,
            encoding=_arrow_name(self.encoding),
        )
        convert = pc.ConvertOptions(
            column_types=kinds, include_columns=list(kinds), null_values=missing_words(), strings_can_be_null=True
        )
        try:
            parse, pool = pc.ParseOptions(delimiter=self.separator), pa.system_memory_pool()
            # A file of Arrow's: its threads read ahead, and one that needs Python at the end of the process aborts it.
            with (
                pa.OSFile(str(self.path)) as stream,
                pc.open_csv(stream, read, parse, convert, memory_pool=pool) as batches,
            ):
                for batch in batches:
                    for name, column in columns.items():
                        column.append(batch.column(name))
        except pa.ArrowInvalid as error:
            if soft and "conversion error" in str(error):
                return {}
            if "straddling" in str(error) and block_size < self.path.stat().st_size:  # a line is longer than two blocks
                return self._columns(header, kinds, soft, block_size << 4)
            if "Empty CSV" not in str(error):
                raise UsageError(self._fault(header, kinds, error)) from error
        del batches
        give_back()
        return columns

    def _lines(self) -> int:
        """A number of lines that the file does not exceed; a carriage return ends one too."""
        with self.path.open("rb") as stream:
            return 1 + sum(block.count(b"\n") + block.count(b"\r") for block in iter(lambda: stream.read(1 << 20), b""))

    def _times(self, column: _Column, unit: str) -> Times:
        try:
            if column.is_coded:
                texts, codes = column.unify(), column.values
                if (codes < 0).any():
                    raise TimeFault(int((codes < 0).argmax()), "the time is missing")
                return parse_dates(texts, codes)
            return check_times(column.values, unit)
        except TimeFault as fault:
            raise UsageError(
                f"{self.path}, line {self.line_of(fault.row)}: {fault.complaint}; a time is a number from 0 on "
                "or an ISO date, from 1970 to 2100"
            ) from None

    def _fault(self, header: dict[str, str], kinds: dict[str, Any], error: Exception) -> str:
        """The sentence for the first line that cannot be read; it is looked for line by line."""
        try:
            with self.path.open(encoding=self.encoding, newline="\n") as lines:
                for number, line in enumerate(lines, 1):
                    if number == 1 or not line.strip("\r\n"):
                        continue
                    values = self._values(line)
                    if "\r" in line.rstrip("\r\n"):
                        return f"{self.path}, line {number}: it holds a carriage return; lines end with \\n alone"
                    if len(values) != len(header):
                        fields = self.separator.join(header)
                        return (
                            f"{self.path}, line {number}: it has {len(values)} fields, and the header names "
                            f"{len(header)} ({fields!r})"
                        )
                    for name, value in zip(header, values, strict=True):
                        floats = name in kinds and pa.types.is_floating(kinds[name])
                        if floats and value not in missing_words() and not _is_number(value):
                            return f"{self.path}, line {number}: {value!r} in the field {name!r} is not a number"
        except UnicodeError:
            return self._undecodable()
        return f"{self.path}: {' '.join(str(error).split())}"

    def _undecodable(self) -> str:
        faulty = 1
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line.decode(self.encoding)
                except UnicodeError:
                    faulty = number
                    break
        return f"{self.path}, line {faulty}: it is not {self.encoding} text; name its encoding with --encoding"


def _arrow_type(kind: str) -> Any:
    return {"token": pa.dictionary(pa.int32(), pa.string()), "float": pa.float64()}.get(kind, pa.string())


def _arrow_name(encoding: str) -> str:
    return "utf8" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _is_number(text: str) -> bool:
    """Whether Arrow reads it as a number, of what Python does."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text.isascii()


def _comparable(text: str, kind: str) -> float | str:
    if text in missing_words():
        return ""
    return float(text) if kind == "float" and _is_number(text) else text


def give_back() -> None:
    """Return memory that has been freed to the system, as far as Arrow can; kept, it would count beside the result."""
    for pool in {pa.system_memory_pool(), pa.default_memory_pool()}:
        pool.release_unused()


@cache
def missing_words() -> list[str]:
    """The words that pandas, and with it RecBole, reads as a missing value."""
    words = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"]
    words += ["NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
    read = pd.read_csv(StringIO("word,\n" + "".join(f"{word},\n" for word in words)), dtype=str, engine="python")
    return [word for word, gone in zip(words, read["word"].isna(), strict=True) if gone]
