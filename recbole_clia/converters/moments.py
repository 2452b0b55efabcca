"""What a column of a DataFrame says of times: numbers, dates, or text of either."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute
from numpy.typing import NDArray

from ..data.atomic import missing_words
from ..data.times import TimeFault

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


def counts(values: pd.Series) -> tuple[NDArray[Any], str]:
    """Times as int64 or float64, and their unit; the index of ``values`` counts the rows.

    Raises:
        TimeFault: for the first row that has no time, or none like the others.
    """
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
    if any(issubclass(kind, pd.Period) for kind in kind_of):  # pandas 1 makes no date of one
        moments = moments.map(lambda value: value.to_timestamp() if isinstance(value, pd.Period) else value)
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
