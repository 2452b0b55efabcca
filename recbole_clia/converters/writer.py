"""Write one atomic file, block by block, so that it is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as pc

# Would break a line or a field, or enclose a value.
_UNSAFE = '[\t\r\n"]+'


class AtomicWriter:
    """A context that writes ``path`` and counts what it writes.

    Args:
        path: the atomic file.
        fields: its fields and their types (``token``, ``token_seq``, ``float``).
        distinct: a field of which only the first row of each value is kept.
    """

    def __init__(self, path: Path, fields: Mapping[str, str], distinct: str | None = None) -> None:
        self.path, self.fields, self._key = path, fields, distinct
        self.rows = 0
        self._seen: dict[str, set[str]] = {name: set() for name in ("user_id", "item_id") if name in fields}
        self._part = path.with_name(path.name + ".part")
        self._keep = True

    def __enter__(self) -> AtomicWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        self._file.write(("\t".join(f"{name}:{kind}" for name, kind in self.fields.items()) + "\n").encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._keep:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)
        if kind is None and not self._keep:
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave no file after all, and none of an earlier time either."""
        self._keep = False

    def distinct(self, name: str) -> int:
        """How many values of ``user_id`` or ``item_id`` were written."""
        return len(self._seen[name])

    def write(self, table: pa.Table) -> None:
        """Append rows; tabs, line ends and double quotes in text become one space."""
        if table.column_names != list(self.fields):
            raise ValueError(f"{self.path}: the columns are {table.column_names}, not {list(self.fields)}")
        if self._key is not None:
            table = self._first_rows(table, self._key)
        if table.num_rows == 0:
            return
        for index, name in enumerate(table.column_names):
            column = table.column(index)
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                column = compute.replace_substring_regex(column, pattern=_UNSAFE, replacement=" ")
                table = table.set_column(index, name, column)
            if name in self._seen:
                self._seen[name].update(map(str, compute.unique(column).to_pylist()))
        pc.write_csv(table, self._file, pc.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))
        self.rows += table.num_rows

    def _first_rows(self, table: pa.Table, key: str) -> pa.Table:
        fresh, seen = [], set(self._seen[key])
        for value in map(str, table.column(key).to_pylist()):
            fresh.append(value not in seen)
            seen.add(value)
        return table.filter(pa.array(fresh, pa.bool_()))
