"""Times exactly as they stand in a file, and what one unit of them is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from numpy.typing import NDArray

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
LATEST = 4_102_444_800  # seconds: the year 2100
LARGEST_EXACT = 2**53  # a float64 holds every whole number up to here


class TimeFault(ValueError):
    """A time that cannot be one: ``row`` is its position, ``complaint`` what is wrong with it."""

    def __init__(self, row: int, complaint: str) -> None:
        super().__init__(f"row {row}: {complaint}")
        self.row, self.complaint = row, complaint


@dataclass(frozen=True)
class Times:
    """The times of a log.

    Attributes:
        values: ``[N]``, int64 where the file has whole numbers or dates, float64 otherwise; never negative.
        unit: a key of :data:`SECONDS`, or ``step`` where they are no times of the calendar.
    """

    values: NDArray[Any]
    unit: str

    @property
    def origin(self) -> int:
        """What :meth:`exact` counts from: 0, unless a float64 is too coarse for the file's own count."""
        if self.values.dtype.kind == "f" or not len(self.values) or self.values.max() <= LARGEST_EXACT:
            return 0
        return int(self.values.min())

    def exact(self) -> NDArray[np.float64]:
        """``[N]`` float64, in the file's unit since :attr:`origin`; differences are those of the file.

        Nanoseconds since 1970 do not fit into a float64, so they count from the earliest time, and are exact for
        104 days from there; the order of a log is that of :attr:`values`, which is exact throughout.
        """
        values = self.values - self.origin if self.origin else self.values
        return values.astype(np.float64, copy=False)


def check_times(values: NDArray[Any], unit: str = "auto") -> Times:
    """Numbers as times.

    Args:
        values: ``[N]`` int64 or float64.
        unit: a key of :data:`SECONDS`; ``date`` for whole numbers such as 20171125; ``step`` for counts that
            are no times; or ``auto`` to find it by :func:`find_unit`.

    Raises:
        TimeFault: for a time that is missing, infinite, negative, no date, or after the year 2100.
    """
    if values.dtype.kind == "f":
        _refuse(np.isnan(values), "the time is missing")
        _refuse(np.isinf(values), "the time is infinite")
    _refuse(values < 0, lambda row: f"the time {values[row]} is negative")
    if values.dtype.kind == "f" and _are_whole(values):
        values = values.astype(np.int64)
    if unit == "auto":
        unit = find_unit(values)
    if unit == "date":
        return Times(_days(values), "d")
    if unit != "step":
        late = values >= LATEST / SECONDS[unit]
        _refuse(late, lambda row: f"the time {values[row]} is after the year 2100 in the unit {unit!r}; see time_unit")
    return Times(values, unit)


def find_unit(values: NDArray[Any]) -> str:
    """The unit that puts the middle of the times (of a sample) between 1973 and 2100, or ``step`` if there is none.

    Days are told from counts by lying between 1990 and 2100 all of them, dates such as 20171125 by
    being dates all of them.
    """
    if not len(values):
        return "step"
    middle = float(np.median(values[:: max(1, len(values) // 100_000)]))
    for unit in ("ns", "us", "ms", "s"):
        if 1e8 <= middle * SECONDS[unit] < LATEST:
            return unit
    if values.dtype.kind == "f":
        return "step"
    if values.min() >= 19_700_101 and values.max() < 21_000_101 and _are_dates(values).all():
        return "date"
    return "d" if values.min() >= 7_305 and values.max() < LATEST / SECONDS["d"] else "step"


def parse_dates(texts: Any, codes: NDArray[np.int32]) -> Times:
    """ISO dates, with or without time of day, as seconds since 1970, or as microseconds if they have fractions.

    Local times count as UTC; with an offset from UTC they are converted.

    Args:
        texts: the dates that occur, each once.
        codes: ``[N]`` which of them each row has.

    Raises:
        TimeFault: for text that is no ISO date, or a date before 1970 or after 2100.
    """
    moments = _microseconds(pa.array(texts, pa.string()), codes)
    values = moments[codes]
    _refuse(values < 0, lambda row: f"the time {texts[codes[row]]!r} is before 1970")
    _refuse(values >= LATEST * 10**6, lambda row: f"the time {texts[codes[row]]!r} is after the year 2100")
    if (moments % 10**6 == 0).all():
        return Times(values // 10**6, "s")
    return Times(values, "us")


def _microseconds(texts: pa.Array, codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """``texts`` as microseconds since 1970."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        try:
            return compute.cast(texts, kind).cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
    parsed, faulty = [], set()
    for index, text in enumerate(texts.to_pylist()):  # one by one, since they are of several forms
        value = next(filter(None, (_one(text, kind) for kind in ("us", "utc"))), None)
        parsed.append(0 if value is None else value.value)
        if value is None:
            faulty.add(index)
    if faulty:
        row = int(np.isin(codes, list(faulty)).argmax())
        raise TimeFault(row, f"{texts[int(codes[row])].as_py()!r} is neither a number nor an ISO date")
    return np.array(parsed, dtype=np.int64)


def _one(text: str, kind: str) -> Any:
    try:
        return pa.scalar(text).cast(pa.timestamp("us", tz="UTC" if kind == "utc" else None))
    except pa.ArrowInvalid:
        return None


def _are_whole(values: NDArray[np.float64]) -> bool:
    if len(values) and values.max() >= 2**62:
        return False
    blocks = range(0, len(values), 1 << 16)
    return all((values[b : b + (1 << 16)] == np.floor(values[b : b + (1 << 16)])).all() for b in blocks)


def _are_dates(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    month, day = values // 100 % 100, values % 100
    return (values >= 19_700_101) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (values < 21_000_101)


def _days(values: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers such as 20171125 as days since 1970."""
    no_date = "the time {} is no date such as 20171125, from 1970 to 2100"
    whole = values.dtype.kind == "i"
    _refuse(~_are_dates(values) if whole else np.ones(len(values), bool), lambda row: no_date.format(values[row]))
    distinct, codes = np.unique(values, return_inverse=True)
    days = []
    for value in distinct:
        try:
            days.append(np.datetime64(f"{value // 10000:04}-{value // 100 % 100:02}-{value % 100:02}", "D"))
        except ValueError:  # the 31st of a short month
            raise TimeFault(int((values == value).argmax()), no_date.format(value)) from None
    return np.array(days, dtype="datetime64[D]").astype(np.int64)[codes]


def _refuse(faulty: NDArray[np.bool_], complaint: Any) -> None:
    if faulty.any():
        row = int(faulty.argmax())
        raise TimeFault(row, complaint if isinstance(complaint, str) else complaint(row))
