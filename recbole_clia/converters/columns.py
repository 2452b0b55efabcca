"""What several converters do with columns beyond reading them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute

from .raw import ANY_TEXT, Column, Period, RawFile

_LINE = "number of the line"


@dataclass(frozen=True)
class BeijingPeriod(Period):
    """A period of whole days in Beijing, eight hours ahead of UTC."""

    @property
    def low(self) -> int:
        return super().low - 8 * 3600 * self.ticks

    @property
    def high(self) -> int:
        return super().high - 8 * 3600 * self.ticks


class _Numbered(RawFile):
    """The same file, whose tables have the number of each row's line as a last column."""

    def __init__(self, file: RawFile) -> None:
        super().__init__(file.path, file._advance)
        self._file = file

    def skip(self, line: int, reason: str, count: int = 1) -> None:
        self._file.skip(line, reason, count)

    def _checked(self, columns: Mapping[str, Column], values: Sequence[Any], lines: Any) -> pa.Table:
        numbers = pa.array(lines).cast(pa.string()).cast(pa.binary())
        return super()._checked({**columns, _LINE: ANY_TEXT}, [*values, numbers], lines)


class Rows:
    """Rows of a raw file, of which a converter leaves out further ones.

    Attributes:
        table: the rows that are left.
    """

    def __init__(self, file: RawFile, table: pa.Table) -> None:
        self.table = table.drop_columns([_LINE])
        self._file, self._lines = file, table.column(_LINE)

    def __getitem__(self, name: str) -> Any:
        return self.table.column(name)

    def __setitem__(self, name: str, values: Any) -> None:
        self.table = self.table.set_column(self.table.column_names.index(name), name, values)

    def keep(self, mask: Any, reason: str) -> None:
        """Leave out the rows for which ``mask`` is not true."""
        mask = compute.fill_null(mask, False)
        count = len(mask) - (compute.sum(mask).as_py() or 0)
        if count:
            self._file.skip(int(self._lines[compute.index(mask, False).as_py()].as_py()), reason, count)
            self.table, self._lines = self.table.filter(mask), self._lines.filter(mask)

    def name_codes(self, column: str, words: Mapping[str, str]) -> None:
        """Codes become words; rows with another code are left out."""
        codes = compute.index_in(self[column], pa.array(list(words), pa.string()))
        self[column] = compute.take(pa.array(list(words.values())), codes)
        self.keep(compute.is_valid(self[column]), f"{column} is none of {', '.join(words)}")

    def milliseconds(self, column: str) -> None:
        """Times such as ``2014-04-07T10:51:09.277Z`` become milliseconds since 1970."""
        # The cast below would end at the first text that is no time at all.
        form = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,3})?Z$"
        reason = f"{column} is not a time"
        self.keep(compute.match_substring_regex(self[column], pattern=form), reason)
        day = compute.utf8_slice_codeunits(self[column], 0, 10)
        parsed = compute.strptime(day, format="%Y-%m-%d", unit="s", error_is_null=True)
        self.keep(compute.equal(compute.strftime(parsed, format="%Y-%m-%d"), day), reason)  # not a 31st of February
        self[column] = compute.cast(compute.cast(self[column], pa.timestamp("ms", "UTC")), pa.int64())


def rows_of(
    file: RawFile,
    columns: Mapping[str, Column],
    delimiter: str = ",",
    names: Sequence[str] | None = None,
    quoted: bool = False,
) -> Iterator[Rows]:
    """Columns as :meth:`RawFile.tables` reads them, by default without quotes, for a converter to look through."""
    for table in _Numbered(file).tables(columns, delimiter=delimiter, names=names, quoted=quoted):
        yield Rows(file, table)


def first_of_each(table: pa.Table, key: str) -> pa.Table:
    """The first row of each value of ``key``, in their order."""
    numbers = pa.array(range(table.num_rows), pa.int64())
    first = pa.table({"key": table.column(key), "row": numbers}).group_by("key").aggregate([("row", "min")])
    return table.take(first.column("row_min").combine_chunks().sort())
