"""What a log looks like: sizes, popularity, times, repeats and the faults of its order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .order import count_ids, order_by_user_and_time
from .times import LARGEST_EXACT, SECONDS

BLOCK = 1 << 20  # rows at once
MOST_DIGITS = 9  # decimal ones of a time
MOST_BINS = 250  # of the interactions over time
SECONDS_OF = {unit: Fraction(seconds).limit_denominator(10**9) for unit, seconds in SECONDS.items()}  # exactly
_NAMES = [*reversed(SECONDS_OF.items())]  # the longest first
_DAY = 86400
_BIN_SECONDS = [1, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, _DAY, 7 * _DAY, 28 * _DAY, 91 * _DAY, 364 * _DAY]


@dataclass(frozen=True)
class Spread:
    """The smallest of some numbers, their quartiles (interpolated linearly), the largest, and their mean."""

    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float
    mean: float

    @classmethod
    def of(cls, values: NDArray[Any], scale: float = 1.0) -> Spread:
        """Of ``values [N]``, N > 0, times ``scale``; they are reordered."""
        mean = float(values.mean(dtype=np.float64)) * scale
        five = np.percentile(values, [0, 25, 50, 75, 100], overwrite_input=True) * scale
        least, quarter, median, three_quarters, most = map(float, five)
        return cls(least, quarter, median, three_quarters, most, mean)


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of a log.  Neighbours are two interactions of a user, one right after the other in time.

    Attributes:
        lengths: interactions of a user.
        popularity: interactions of an item.
        gini: Gini coefficient of the popularity, from 0, where all items are equal, to 1.
        top_1, top_10: share of the interactions that the most popular 1 % and 10 % of the items have, rounded up
            to whole items.
        unit: of the times, a key of :data:`SECONDS_OF`, or ``step``.
        first, last: the earliest and the latest time, in ``unit``.
        resolution: the largest step that divides all differences of times, in ``unit``; 0 if all are the same,
            ``None`` if they have more decimal digits than a float64 can vouch for.
        gaps: time between neighbours, in ``unit``; ``None`` if there are none.
        neighbours: pairs of neighbours.
        ties: those of the same time.
        repeats: interactions with an item that the user had before.
        immediate: those where it was the user's item right before.
        repeated_rows: interactions that equal an earlier one in user, item and time.
        backward_in_file: interactions that are earlier than the one before them of the same user in the file.
        backward_float32: the same in the order by user and time, where times are float32 and ties keep the file's
            order.
        not_last: users whose last interaction in that order is earlier than another one of theirs.
        length_of_user: ``[users]`` ascending.
        number_of_item: ``[items]`` descending.
        gap_octaves: number of gaps from ``gap_step * 2**k`` up to twice that, for k = 0, 1, ...; ties are in none.
        gap_step: in ``unit``: the resolution, or the smallest gap.
        repeat_octaves: number of repeats ``2**k`` up to ``2**(k + 1) - 1`` interactions after the user had the
            item before; 1 is right after it.
        over_time: interactions in each bin of time.
        bin_start, bin_width: of these bins, in ``unit``.
    """

    users: int
    items: int
    interactions: int
    lengths: Spread
    popularity: Spread
    gini: float
    top_1: float
    top_10: float
    unit: str
    first: Fraction
    last: Fraction
    resolution: Fraction | None
    gaps: Spread | None
    neighbours: int
    ties: int
    repeats: int
    immediate: int
    repeated_rows: int
    backward_in_file: int
    backward_float32: int
    not_last: int
    length_of_user: NDArray[np.int64]
    number_of_item: NDArray[np.int64]
    gap_octaves: NDArray[np.int64]
    gap_step: float
    repeat_octaves: NDArray[np.int64]
    over_time: NDArray[np.int64]
    bin_start: Fraction
    bin_width: Fraction

    @property
    def density(self) -> float:
        """Interactions for each pair of a user and an item; repeats count."""
        return self.interactions / (self.users * self.items)


def describe(user: NDArray[Any], item: NDArray[Any], time: NDArray[Any], unit: str) -> Statistics:
    """The statistics of a log in the order of its file.

    The memory needed beside the arguments is about 40 bytes a row.

    Args:
        user, item: ``[N]`` ids from 0, N > 0; those that do not occur do not count.
        time: ``[N]`` int64 or float64, none of them missing.
        unit: of the times, a key of :data:`SECONDS_OF`, or ``step``.
    """
    length, number = (count_ids(ids, int(ids.max()) + 1) for ids in (user, item))
    users = len(length)
    last_of_user = (np.cumsum(length) - 1)[length > 0]
    length, number = np.sort(length[length > 0]), np.sort(number[number > 0])

    ticks, tick = _ticks(time)
    order = order_by_user_and_time(user, np.broadcast_to(np.int8(0), len(user)), users)
    backward_in_file = _backward(user, ticks, order)
    order = order_by_user_and_time(user, _as_float32(time), users)
    backward_float32 = _backward(user, ticks, order)
    held_out = ticks[order[last_of_user]]
    del order
    order = order_by_user_and_time(user, ticks, users)
    not_last = int((held_out < ticks[order[last_of_user]]).sum())
    first, last = ticks.min(), ticks.max()
    resolution = _common_step(ticks) if ticks.dtype.kind == "i" else None
    if tick is None:
        tick = Fraction(1)

    user, item, ticks = user[order], item[order], ticks[order]
    del order
    over_time, bin_start, bin_width = _over_time(ticks, first, last, resolution, tick * SECONDS_OF.get(unit, 0))
    repeats = _repeats(user, item, ticks, users)
    gap = ticks[1:] - ticks[:-1]
    gap = gap[user[1:] == user[:-1]]
    del user, item, ticks
    ties = len(gap) - int(np.count_nonzero(gap))
    gap_step = resolution or (gap[gap > 0].min() if ties < len(gap) else 1)
    return Statistics(
        users=len(length),
        items=len(number),
        interactions=int(length.sum()),
        lengths=Spread.of(length.copy()),
        popularity=Spread.of(number.copy()),
        gini=_gini(number),
        top_1=_share_of_top(number, 100),
        top_10=_share_of_top(number, 10),
        unit=unit,
        first=_exactly(first) * tick,
        last=_exactly(last) * tick,
        resolution=None if resolution is None else resolution * tick,
        gap_octaves=_octaves(gap, gap_step),
        gap_step=float(_exactly(gap_step) * tick),
        gaps=Spread.of(gap, float(tick)) if len(gap) else None,
        neighbours=len(gap),
        ties=ties,
        backward_in_file=backward_in_file,
        backward_float32=backward_float32,
        not_last=not_last,
        length_of_user=length,
        number_of_item=number[::-1],
        over_time=over_time,
        bin_start=_exactly(bin_start) * tick,
        bin_width=_exactly(bin_width) * tick,
        **repeats,
    )


def duration(amount: float, unit: str) -> str:
    """``amount`` of ``unit`` in the unit that suits it, to three digits: ``90 s`` is ``1.5 min``."""
    if unit not in SECONDS_OF:
        return f"{amount:,.0f} steps" if amount >= 1000 else f"{amount:.3g} {'step' if amount == 1 else 'steps'}"
    seconds = amount * float(SECONDS_OF[unit])
    if seconds == 0:
        return "0 s"
    if seconds >= 365.25 * _DAY:
        return _counted(f"{seconds / (365.25 * _DAY):.3g}", "year")
    name, size = next(((n, s) for n, s in _NAMES if seconds >= s), _NAMES[-1])
    return _counted(f"{seconds / float(size):.3g}", name)


def exact_step(amount: Fraction, unit: str) -> str:
    """``amount`` of ``unit`` in the largest unit of which it is a whole number: ``1 day``, ``30 s``."""
    if unit not in SECONDS_OF:
        return f"{_short(float(amount))} {'step' if amount == 1 else 'steps'}"
    seconds = amount * SECONDS_OF[unit]
    name, size = next(((n, s) for n, s in _NAMES if seconds % s == 0), _NAMES[-1])
    return _counted(_short(float(seconds / size)), name)


def moment(time: Fraction, unit: str, resolution: Fraction | None) -> str:
    """A time as a date (UTC), with the time of day unless that is midnight to the ``resolution`` of the log."""
    if unit not in SECONDS_OF:
        return _short(float(time))
    seconds = time * SECONDS_OF[unit]
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=int(seconds * 10**6))
    whole_days = resolution is not None and resolution * SECONDS_OF[unit] % _DAY == 0
    if whole_days and seconds % _DAY == 0:
        return f"{when:%Y-%m-%d} UTC"
    fraction = f".{when:%f}".rstrip("0").rstrip(".")
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction} UTC"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.6g}"


def _counted(amount: str, name: str) -> str:
    if name == "d":
        name = "day"
    return f"{amount} {name}s" if name in ("day", "year") and amount != "1" else f"{amount} {name}"


def _exactly(number: Any) -> Fraction:
    """A number of NumPy's or Python's as a fraction."""
    return Fraction(number.item() if isinstance(number, np.generic) else number)


def _blocks(count: int, overlap: int = 0) -> Iterator[slice]:
    return (slice(begin, begin + BLOCK + overlap) for begin in range(0, count - overlap, BLOCK))


def _ticks(time: NDArray[Any]) -> tuple[NDArray[Any], Fraction | None]:
    """Times as whole numbers of their last decimal digit, and what that digit is worth.

    Without a decimal digit that holds them all, they stay as they are, and it is ``None``.
    """
    if time.dtype.kind == "i":
        return time, Fraction(1)
    largest = float(np.abs(time).max())
    for digits in range(MOST_DIGITS + 1):
        scale = 10.0**digits
        if largest * scale >= LARGEST_EXACT:
            break
        if all((np.rint(time[b] * scale) / scale == time[b]).all() for b in _blocks(len(time))):
            ticks = np.empty(len(time), dtype=np.int64)
            for b in _blocks(len(time)):
                ticks[b] = np.rint(time[b] * scale)
            return ticks, Fraction(1, 10**digits)
    return time, None


def _as_float32(time: NDArray[Any]) -> NDArray[np.float32]:
    """As reading them into float64 and storing them as float32 leaves them."""
    single = np.empty(len(time), dtype=np.float32)
    for b in _blocks(len(time)):
        single[b] = time[b].astype(np.float64)
    return single


def _backward(user: NDArray[Any], ticks: NDArray[Any], order: NDArray[Any]) -> int:
    """Steps from an interaction of a user to an earlier one, in this order of the rows."""
    found = 0
    for b in _blocks(len(order), overlap=1):
        who, when = user[order[b]], ticks[order[b]]
        found += int(((when[1:] < when[:-1]) & (who[1:] == who[:-1])).sum())
    return found


def _common_step(ticks: NDArray[np.int64]) -> int:
    """The greatest common divisor of all differences; 0 if there are none."""
    step = 0
    for b in _blocks(len(ticks)):
        step = int(np.gcd(step, np.gcd.reduce(ticks[b] - ticks[0])))
        if step == 1:
            break
    return step


def _gini(number: NDArray[np.int64]) -> float:
    """Gini coefficient of numbers in ascending order: half their mean absolute difference over their mean."""
    count, total = len(number), int(number.sum())
    weighted = int((np.arange(1, count + 1) * number).sum())
    return (2 * weighted - (count + 1) * total) / (count * total)


def _share_of_top(number: NDArray[np.int64], part: int) -> float:
    """Share of the sum that the largest one in ``part`` have, of numbers in ascending order."""
    return float(number[-len(number) // part :].sum() / number.sum())


def _octaves(values: NDArray[Any], step: Any) -> NDArray[np.int64]:
    """How many of the values above 0 are from ``step * 2**k`` up to twice that, for k = 0, 1, ..."""
    found = np.zeros(2100, dtype=np.int64)  # more than a float64 has
    for b in _blocks(len(values)):
        block = values[b]
        steps = block[block > 0] / step
        found += np.bincount(np.maximum(np.frexp(steps)[1] - 1, 0), minlength=len(found))
    return np.trim_zeros(found, "b")


def _repeats(user: NDArray[Any], item: NDArray[Any], ticks: NDArray[Any], users: int) -> dict[str, Any]:
    """What is to be said of the repeats of a log in order of user and time."""
    order = order_by_user_and_time(user, item, users)
    repeats = immediate = repeated_rows = 0
    octaves = np.zeros(64, dtype=np.int64)
    for b in _blocks(len(order), overlap=1):
        here = order[b]
        who, what, when = user[here], item[here], ticks[here]
        again = (who[1:] == who[:-1]) & (what[1:] == what[:-1])
        apart = np.diff(here)[again]
        repeats += len(apart)
        immediate += int((apart == 1).sum())
        repeated_rows += int((again & (when[1:] == when[:-1])).sum())
        found = _octaves(apart, 1)
        octaves[: len(found)] += found
    octaves = np.trim_zeros(octaves, "b")
    return {
        "repeats": repeats,
        "immediate": immediate,
        "repeated_rows": repeated_rows,
        "repeat_octaves": octaves,
    }


def _over_time(
    ticks: NDArray[Any], first: Any, last: Any, resolution: int | None, seconds: Fraction
) -> tuple[NDArray[np.int64], Any, Any]:
    """Interactions in bins of time, where these begin and how wide they are, in ticks of so many ``seconds``.

    At most about ``MOST_BINS``, of a round width where ticks are times of the calendar.
    """
    first, last = first.item(), last.item()
    if resolution is None:
        start, width = first, (last - first) / MOST_BINS or 1.0
    else:
        step = resolution or 1
        width = step * max(1, -((first - last) // (step * MOST_BINS)))
        if seconds and resolution:
            round_ones = (Fraction(s) / seconds for s in _BIN_SECONDS)
            width = next((int(w) for w in round_ones if w >= width and w % step == 0), width)
        start = first - first % width
    counts = np.zeros(int((last - start) // width) + 1, dtype=np.int64)
    for b in _blocks(len(ticks)):
        counts += np.bincount(((ticks[b] - start) // width).astype(np.int64), minlength=len(counts))[: len(counts)]
    return counts, start, width
