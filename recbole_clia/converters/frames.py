"""A pandas DataFrame becomes an atomic file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute
from numpy.typing import NDArray

from ..data.atomic import missing_words
from ..data.times import TimeFault, check_times
from ..errors import UsageError
from .writer import AtomicWriter

ROWS_AT_ONCE = 1 << 20
_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # nanoseconds
_PLAIN = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_LONG = r"[-+]?[0-9]{9}.*"  # no date, of which the longest is 20240131
_MONTH, _DAY = "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12][0-9]|3[01])"
_DATES = "|".join(f"[0-9]{{4}}{mark}{_MONTH}{mark}{_DAY}" for mark in ("-", "/", r"\.", ""))
_LOCAL = rf"(?:{_DATES})[T ][0-9][0-9:]*(?:\.[0-9]+)?"  # with a time of day and without a zone
_ISO = rf"[0-9]{{4}}|[0-9]{{4}}-{_MONTH}|{_DATES}|{_LOCAL}(?: ?(?:Z|[-+][0-9:]+))?"
_NO_DATE = (
    "the text {} is no date of ISO 8601, such as 2024-01-31 or 2024-01-31T08:00:00Z; convert the column with "
    "pandas.to_datetime or pandas.to_numeric first"
)
# Without the format, the first pandas guesses each text by itself, and later ones all by the first.
_FORMAT = {} if pd.__version__.startswith("1.") else {"format": "ISO8601"}


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
        return pa.array(check_times(*_counts(values.reset_index(drop=True))).values)
    except TimeFault as fault:
        raise UsageError(
            f"from_pandas: the column {column!r}, row {fault.row}: {fault.complaint}; a time is a number from 0 on "
            "or a date from 1970 to 2100"
        ) from None


def _counts(values: pd.Series) -> tuple[NDArray[Any], str]:
    """Times as int64 or float64, and their unit; the index of ``values`` counts the rows."""
    _refuse(values.isna(), values, "the time is missing")
    if isinstance(values.dtype, pd.PeriodDtype):
        _refuse(~values.dt.year.between(1970, 2099), values, "the date {} is out of range")
        return _since_1970(values.dt.to_timestamp(), values)
    if pd.api.types.is_datetime64_any_dtype(values):
        return _since_1970(values, values)
    numbers = values.to_numpy()
    if numbers.dtype.kind in "iuf":
        return _as_numbers(numbers), "step"
    values = values.astype(object)
    kind_of = {kind: _kind(kind) for kind in set(map(type, values))}
    kinds = pd.Series([kind_of[type(value)] for value in values])
    _refuse(kinds == "", values, "{} cannot be a time")
    is_number = kinds == "number"
    if is_number.all():
        return _as_numbers(values.to_numpy()), "step"
    are = "no number, and the one in row 0 is" if is_number[0] else "a number, and the one in row 0 is none"
    _refuse(is_number != is_number[0], values, f"the time {{}} is {are}")
    is_text = kinds == "text"
    texts = pa.array(values[is_text], pa.string())
    texts = pd.Series(compute.utf8_trim_whitespace(texts).to_pandas(), dtype=object).set_axis(values.index[is_text])
    _refuse(texts.isin([*missing_words(), "NaT"]), values, "the time is missing")
    no_date = ~_fits(texts, _ISO)
    if no_date.any():
        plain = _fits(texts, _PLAIN)
        if is_text.all() and plain.all() and _fits(texts, _LONG).any():
            return _parsed(texts), "step"
        _refuse(no_date & ~plain if (no_date & ~plain).any() else no_date, values, _NO_DATE)
    if _fits(texts, ".*[T ].*[-+].*").any():  # pandas would give such a zone to later texts that have none
        texts = texts.where(~_fits(texts, _LOCAL), texts + "Z")
    moments = values.where(~is_text, texts)
    return _since_1970(pd.to_datetime(moments, utc=True, errors="coerce", **_FORMAT), values)


def _fits(texts: pd.Series, pattern: str) -> pd.Series:
    """Whether the pattern matches each text as a whole."""
    found = compute.match_substring_regex(pa.array(texts, pa.string()), pattern=f"^(?:{pattern})$")
    return pd.Series(found.to_numpy(zero_copy_only=False), texts.index)


def _refuse(faulty: pd.Series, values: pd.Series, complaint: str) -> None:
    if faulty.any():
        row = int(faulty.idxmax())
        value = values[row]
        raise TimeFault(row, complaint.format(repr(value) if isinstance(value, str) else value))


def _kind(of: type) -> str:
    if issubclass(of, str):
        return "text"
    if issubclass(of, (date, np.datetime64, pd.Period)):
        return "date"
    is_number = issubclass(of, (Real, Decimal)) and not issubclass(of, (bool, np.timedelta64))
    return "number" if is_number else ""


def _parsed(texts: pd.Series) -> NDArray[Any]:
    try:
        return pa.array(texts, pa.string()).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:  # some have a point, a plus, or too many digits
        return _as_numbers(texts.map(Decimal).to_numpy())


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """int64 if all are whole, otherwise float64, as in a column of numbers."""
    if values.dtype.kind == "f" or (values.dtype.kind in "iu" and int(values.max()) <= np.iinfo(np.int64).max):
        return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    try:
        whole = [int(value) for value in values]
        if all(number == value for number, value in zip(whole, values, strict=True)):
            return np.array(whole, dtype=np.int64)
    except (OverflowError, ValueError):  # one is infinite, beyond int64, or no number
        pass
    return np.array([_as_float(value) for value in values])


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _since_1970(moments: pd.Series, values: pd.Series) -> tuple[NDArray[np.int64], str]:
    """The largest unit that holds all dates exactly, and their numbers of it."""
    moments = pd.to_datetime(moments, utc=True)
    _refuse(~moments.dt.year.between(1970, 2099), values, "the date {} is out of range")
    nanoseconds = moments.dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
    unit = next(unit for unit, size in _PER_UNIT.items() if (nanoseconds % size == 0).all())
    return nanoseconds // _PER_UNIT[unit], unit


def _write(writer: AtomicWriter, columns: Mapping[str, tuple[str, Any]], rows: int) -> None:
    table = pa.table({field: values for field, (_, values) in columns.items()})
    for begin in range(0, rows, ROWS_AT_ONCE):
        writer.write(table.slice(begin, ROWS_AT_ONCE))
