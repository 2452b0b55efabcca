"""A pandas DataFrame becomes an atomic file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..data.atomic import missing_words
from ..data.times import TimeFault, check_times
from ..errors import UsageError
from .moments import counts
from .writer import AtomicWriter

ROWS_AT_ONCE = 1 << 20


def from_pandas(
    df: pd.DataFrame,
    user: str = "user_id",
    item: str = "item_id",
    time: str = "timestamp",
    name: str = "frame",
    folder: str | Path = "dataset",
    extra: Sequence[str] = (),
    items: pd.DataFrame | None = None,
    replace: bool = False,
) -> str:
    """Write a DataFrame as a dataset that any RecBole model trains on.

    ::

        run("CLIA", from_pandas(pd.read_csv("orders.csv"), user="customer", item="product", time="ordered_at"))

    Args:
        df: one interaction a row, in any order; rows of a user at the same time keep this order.
        user, item, time: its columns.  Times are numbers, dates of pandas or Python, or text; they are written to
            the resolution that they have.  Text is dates of ISO 8601, or decimal numbers of which at least one has
            nine digits or more before the point: ``2024`` and ``20240131`` are dates, ``1700000000.5`` is a number.
        name: of the dataset, a plain word.
        folder: where datasets lie; another one than ``dataset`` is RecBole's ``data_path``.
        extra: further columns to keep, numbers as ``float`` and all else as ``token``.
        items: features of items, one item a row, with the column ``item`` among others; a row that is there
            again is left out.
        replace: whether a dataset of that name is replaced.

    Returns:
        The dataset's name, for :func:`recbole_clia.run`.  Its files are ``folder/name/name.inter`` and, with
        ``items``, ``name.item``; their fields are ``user_id``, ``item_id``, the extra ones and ``timestamp``.

    Raises:
        UsageError: if an argument is of a wrong type, a column or a value is missing, a time cannot be one, an id
            cannot be written, an item has two rows that differ, or the dataset is already there.
    """
    for what, frame in {"df": df, **({} if items is None else {"items": items})}.items():
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(f"from_pandas: {what} must be a DataFrame of pandas, not a {type(frame).__name__}")
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise UsageError(f"from_pandas: name must be a plain word, not {name!r}")
    if not isinstance(folder, (str, Path)):
        raise UsageError(f"from_pandas: folder must be a path, not {folder!r}")
    if isinstance(extra, str) or not pd.api.types.is_list_like(extra):
        raise UsageError(f"from_pandas: extra must be a list of columns, not {extra!r}")
    for column in (user, item, time, *extra):
        if not pd.api.types.is_hashable(column):
            raise UsageError(f"from_pandas: user, item, time and each of extra must name one column, not {column!r}")
    target = Path(folder) / name / f"{name}.inter"
    for path in target.parents:
        if path.exists() and not path.is_dir():
            raise UsageError(f"from_pandas: {path} is a file; it must be a folder")
    if target.exists() and not replace:
        raise UsageError(f"from_pandas: {target} is already there; choose another name, or set replace=True")
    renamed = {user: "user_id", item: "item_id", **{field: field for field in extra}, time: "timestamp"}
    if len(renamed) < 3 + len(extra):
        raise UsageError("from_pandas: user, item, time and extra must name different columns")
    _check_fields(renamed)
    columns = _columns(df, renamed, "df")
    if items is not None:
        of_items = {item: "item_id", **{column: str(column) for column in items.columns if column != item}}
        _check_fields(of_items)
        features = _columns(items, of_items, "items")
        _check_items(features)
    with AtomicWriter(target, {field: kind for field, (kind, _) in columns.items()}) as writer:
        _write(writer, columns, len(df))
    if items is not None:
        kinds = {field: kind for field, (kind, _) in features.items()}
        with AtomicWriter(target.with_suffix(".item"), kinds, distinct="item_id") as writer:
            _write(writer, features, len(items))
    elif replace:
        target.with_suffix(".item").unlink(missing_ok=True)
    return name


def _check_fields(renamed: Mapping[Any, str]) -> None:
    """Refuse columns that would become one field, and names that a header cannot hold."""
    by_field: dict[str, Any] = {}
    for column, field in renamed.items():
        if field in by_field:
            raise UsageError(
                f"from_pandas: the columns {by_field[field]!r} and {column!r} would both become the field {field!r}; "
                "rename or leave out one of them"
            )
        if not isinstance(field, str) or not field or set(field) & set(":\t\r\n"):
            raise UsageError(
                f"from_pandas: a column's name must be text without ':', tabs and line ends, which {column!r} is not"
            )
        by_field[field] = column


def _check_items(features: Mapping[str, tuple[str, Any]]) -> None:
    rows = pa.table({field: values for field, (_, values) in features.items()}).to_pandas().drop_duplicates()
    again = rows["item_id"].duplicated()
    if again.any():
        item = rows["item_id"][again].iloc[0]
        first, second = rows.index[rows["item_id"] == item][:2]
        raise UsageError(
            f"from_pandas: items has two rows of the item {item!r} that differ, {first} and {second}; "
            "each item must have one row"
        )


def _columns(frame: pd.DataFrame, renamed: Mapping[str, str], what: str) -> dict[str, tuple[str, Any]]:
    """Type and values of each field to be written."""
    if len(frame) == 0:
        raise UsageError(f"from_pandas: {what} has no rows")
    found: dict[str, tuple[str, Any]] = {}
    for column, field in renamed.items():
        if column not in frame:
            raise UsageError(
                f"from_pandas: {what} has no column {column!r}; its columns are {', '.join(map(str, frame.columns))}"
            )
        values = frame[column]
        if isinstance(values, pd.DataFrame):
            raise UsageError(f"from_pandas: {what} has several columns {column!r}; a name may stand once")
        if field == "timestamp":
            found[field] = "float", _times(values, column)
        elif field in ("user_id", "item_id"):
            found[field] = "token", _ids(values, column)
        elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            found[field] = "float", pa.array(values.astype(np.float64), from_pandas=True)
        else:
            found[field] = "token", pa.array(values.astype(str).where(values.notna(), None), pa.string())
    return found


def _ids(values: pd.Series, column: str) -> pa.Array:
    def refuse(faulty: Any, complaint: str) -> None:
        if faulty.any():
            row = int(np.asarray(faulty).argmax())
            raise UsageError(f"from_pandas: the column {column!r}, row {row}: {complaint.format(values.iloc[row])}")

    refuse(values.isna(), "an id is missing; each row must have one")
    if pd.api.types.is_float_dtype(values):
        whole = (values == values.round()) & (values.abs() < 2**53)  # beyond, a float holds not every one
        refuse(~whole, "the id {} is no whole number, or none that a float holds; use whole numbers or text")
        values = values.astype(np.int64)
    try:
        distinct = pd.Series(values.unique()).astype(str)
    except (TypeError, NotImplementedError):  # a list, or Arrow's
        refuse(~values.map(pd.api.types.is_hashable), "the id {!r} is neither a number nor text")
        raise
    bad = distinct.str.contains('[\t\r\n"]') | distinct.isin(missing_words())
    if bad.any():
        refuse(
            values.astype(str).isin(distinct[bad]),
            "the id {!r} cannot be written; rename it (no tab, no quote, not NA)",
        )
    return pa.array(values.astype(str), pa.string())


def _times(values: pd.Series, column: str) -> pa.Array:
    try:
        return pa.array(check_times(*counts(values.reset_index(drop=True))).values)
    except TimeFault as fault:
        raise UsageError(
            f"from_pandas: the column {column!r}, row {fault.row}: {fault.complaint}; a time is a number from 0 on "
            "or a date from 1970 to 2100"
        ) from None


def _write(writer: AtomicWriter, columns: Mapping[str, tuple[str, Any]], rows: int) -> None:
    table = pa.table({field: values for field, (_, values) in columns.items()})
    for begin in range(0, rows, ROWS_AT_ONCE):
        writer.write(table.slice(begin, ROWS_AT_ONCE))
