"""Each statistic against a plain loop over the rows."""

from __future__ import annotations

import math
import statistics as plain
import struct
from collections import Counter, defaultdict
from datetime import datetime, timezone
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_clia.data import statistics
from recbole_clia.data.drawing import draw
from recbole_clia.data.statistics import Spread, Statistics, describe, duration, exact_step, moment

Row = tuple[int, int, int]  # user, item, time in ticks


def random_rows(seed: int, rows: int = 200, users: int = 12, items: int = 15, times: int = 60) -> list[Row]:
    """Rows in no order with ties and repeats; ids leave gaps; the times are those of 2014, in steps of 7."""
    rng = np.random.default_rng(seed)
    return [
        (2 * int(rng.integers(users)) + 1, 3 * int(rng.zipf(1.5) % items), 1_400_000_001 + 7 * int(rng.integers(times)))
        for _ in range(rows)
    ]


def columns(rows: list[Row], tick: Fraction = Fraction(1)) -> tuple[Any, Any, Any]:
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    if tick != 1:
        time = np.array([float(t * tick) for t in time.tolist()])  # as they are read from a file
    return user.astype(np.int32), item.astype(np.int32), time


def float32(number: float) -> float:
    return struct.unpack("f", struct.pack("f", number))[0]


def spread(values: list[int], scale: float = 1.0) -> Spread:
    quartiles = plain.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    numbers = (min(values), *quartiles, max(values), plain.fmean(values))
    return Spread(*(pytest.approx(number * scale) for number in numbers))


def octaves(values: list[int], step: int) -> list[int]:
    found = Counter((value // step).bit_length() - 1 for value in values)
    return [found[k] for k in range(max(found, default=-1) + 1)]


def expected(rows: list[Row], tick: Fraction = Fraction(1)) -> dict[str, Any]:
    """What :func:`describe` must find, computed row by row."""
    by_user: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for user, item, time in rows:
        by_user[user].append((time, item))
    backward = dict.fromkeys(("file", "float32"), 0)
    ties = repeats = immediate = repeated_rows = not_last = 0
    gaps, distances = [], []
    for history in by_user.values():
        rounded = sorted(history, key=lambda row: float32(float(row[0] * tick)))
        backward["file"] += sum(b[0] < a[0] for a, b in pairwise(history))
        backward["float32"] += sum(b[0] < a[0] for a, b in pairwise(rounded))
        not_last += rounded[-1][0] != max(time for time, _ in history)
        history.sort(key=lambda row: row[0])
        gaps += [b[0] - a[0] for a, b in pairwise(history)]
        ties += sum(b[0] == a[0] for a, b in pairwise(history))
        immediate += sum(b[1] == a[1] for a, b in pairwise(history))
        repeated_rows += len(history) - len(set(history))
        last_seen: dict[int, int] = {}
        for position, (_, item) in enumerate(history):
            if item in last_seen:
                repeats += 1
                distances.append(position - last_seen[item])
            last_seen[item] = position
    number = sorted(Counter(item for _, item, _ in rows).values(), reverse=True)
    lengths = sorted(len(history) for history in by_user.values())
    times = [time for _, _, time in rows]
    resolution = reduce(math.gcd, (time - times[0] for time in times))
    apart = sum(abs(a - b) for a in number for b in number)
    return {
        "users": len(by_user),
        "items": len(number),
        "interactions": len(rows),
        "density": pytest.approx(len(rows) / len(by_user) / len(number)),
        "lengths": spread(lengths),
        "popularity": spread(number),
        "gini": pytest.approx(apart / (2 * len(number) * len(rows))),
        "top_1": pytest.approx(sum(number[: math.ceil(len(number) / 100)]) / len(rows)),
        "top_10": pytest.approx(sum(number[: math.ceil(len(number) / 10)]) / len(rows)),
        "first": min(times) * tick,
        "last": max(times) * tick,
        "resolution": resolution * tick,
        "gaps": spread(gaps, float(tick)) if gaps else None,
        "neighbours": len(rows) - len(by_user),
        "ties": ties,
        "repeats": repeats,
        "immediate": immediate,
        "repeated_rows": repeated_rows,
        "backward_in_file": backward["file"],
        "backward_float32": backward["float32"],
        "not_last": not_last,
        "length_of_user": lengths,
        "number_of_item": number,
        "gap_octaves": octaves([gap for gap in gaps if gap], resolution or 1),
        "repeat_octaves": octaves(distances, 1),
    }


def check(found: Statistics, rows: list[Row], tick: Fraction = Fraction(1)) -> None:
    for name, value in expected(rows, tick).items():
        given = getattr(found, name)
        assert (given.tolist() if isinstance(given, np.ndarray) else given) == value, name
    counts = [0] * len(found.over_time)
    for _, _, time in rows:
        counts[int((time * tick - found.bin_start) // found.bin_width)] += 1
    assert found.over_time.tolist() == counts
    assert counts[0] > 0
    assert counts[-1] > 0


@pytest.mark.parametrize("seed", range(6))
def test_all_numbers_are_those_of_a_plain_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "BLOCK", (1 << 20, 1, 7, 64, 199, 200)[seed])
    rows = random_rows(seed)
    found = describe(*columns(rows), "s")
    check(found, rows)
    for name in ("ties", "repeats", "immediate", "repeated_rows", "backward_in_file", "backward_float32", "not_last"):
        assert getattr(found, name) > 0, f"{name}: these rows test nothing"


@pytest.mark.parametrize("digits", [1, 3, 6])
def test_decimals_count_in_their_last_digit(digits: int) -> None:
    tick = Fraction(1, 10**digits)
    rows = random_rows(digits)
    found = describe(*columns(rows, tick), "s")
    check(found, rows, tick)
    assert found.resolution == 7 * tick


def test_nanoseconds_are_exact() -> None:
    rows = [(user, item, time * 10**9 + time % 97) for user, item, time in random_rows(3)]
    found = describe(*columns(rows), "ns")
    check(found, rows)
    assert found.last == max(time for _, _, time in rows)


def test_numbers_without_a_last_digit_have_no_resolution() -> None:
    user, item, _ = columns(random_rows(1))
    time = np.random.default_rng(0).random(len(user))
    found = describe(user, item, time, "step")
    assert found.resolution is None
    assert (float(found.first), float(found.last)) == (time.min(), time.max())
    assert found.gaps is not None
    assert found.gap_step == pytest.approx(found.gaps.least)
    assert found.gap_octaves.sum() == found.neighbours
    assert found.over_time.sum() == len(user)


def test_rows_in_any_order_differ_only_in_the_faults_of_the_order() -> None:
    rows = random_rows(2)
    found, ordered = (describe(*columns(some), "s") for some in (rows, sorted(rows, key=lambda row: row[2])))
    assert ordered.backward_in_file == ordered.backward_float32 == ordered.not_last == 0
    assert found.backward_float32 > 0
    assert (found.gaps, found.ties, found.gini) == (ordered.gaps, ordered.ties, ordered.gini)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 5)],
        [(user, user % 3, 1_500_000_000 + 86_400 * user) for user in range(9)],
        [(user % 4, user % 3, 1_500_000_000) for user in range(30)],
        [(0, 0, 1_500_000_000)] * 5,
        [(7, 1, time) for time in (1_500_000_200, 1_500_000_000, 1_500_000_100)],
    ],
    ids=["one row", "one interaction a user", "all ties", "one row again and again", "one user, one item"],
)
def test_degenerate_logs(rows: list[Row], tmp_path: Path) -> None:
    found = describe(*columns(rows), "s")
    check(found, rows)
    draw(found, "made", tmp_path / "made.svg")
    assert (tmp_path / "made.svg").read_text().rstrip().endswith("</svg>")


def test_extremes_of_the_gini_coefficient() -> None:
    user, time = np.zeros(1000, dtype=np.int32), np.arange(1000)
    equal, one = (describe(user, item.astype(np.int32), time, "step") for item in (time % 50, np.maximum(time, 801)))
    assert equal.gini == 0
    assert equal.top_10 == pytest.approx(0.1)
    assert one.gini == pytest.approx((802 - 1) * (199 - 1) / (199 * 1000))
    assert one.top_1 == pytest.approx((802 + 1) / 1000)


@pytest.mark.parametrize("unit", ["s", "ms", "d", "step"])
def test_bins_of_time_are_few_and_of_whole_steps(unit: str) -> None:
    rows = [(user, item, 20_000 + time % 5000) for user, item, time in random_rows(4)]
    found = describe(*columns(rows), unit)
    assert len(found.over_time) <= statistics.MOST_BINS + 1
    assert found.resolution is not None
    assert found.bin_width % found.resolution == 0


@pytest.mark.parametrize(
    ("amount", "unit", "words"),
    [
        (0, "ms", "0 s"),
        (1, "s", "1 s"),
        (90, "s", "1.5 min"),
        (0.0014, "s", "1.4 ms"),
        (5400_000, "ms", "1.5 h"),
        (1, "d", "1 day"),
        (86_400 * 12.5, "s", "12.5 days"),
        (731, "d", "2 years"),
        (7, "ns", "7 ns"),
        (1, "step", "1 step"),
        (2345.4, "step", "2,345 steps"),
    ],
)
def test_durations_in_words(amount: float, unit: str, words: str) -> None:
    assert duration(amount, unit) == words


@pytest.mark.parametrize(
    ("amount", "unit", "words"),
    [
        (Fraction(86_400), "s", "1 day"),
        (Fraction(604_800), "s", "7 days"),
        (Fraction(30), "s", "30 s"),
        (Fraction(5400), "s", "90 min"),
        (Fraction(1, 1000), "s", "1 ms"),
        (Fraction(1), "ms", "1 ms"),
        (Fraction(1000), "ms", "1 s"),
        (Fraction(1, 2), "d", "12 h"),
        (Fraction(1), "ns", "1 ns"),
        (Fraction(50), "step", "50 steps"),
        (Fraction(1, 100), "step", "0.01 steps"),
    ],
)
def test_steps_in_words(amount: Fraction, unit: str, words: str) -> None:
    assert exact_step(amount, unit) == words


def test_moments_in_words() -> None:
    when = datetime(2014, 7, 23, 5, 6, 7, tzinfo=timezone.utc)
    seconds = Fraction(int(when.timestamp()))
    assert moment(seconds, "s", Fraction(1)) == "2014-07-23 05:06:07 UTC"
    assert moment(seconds * 1000 + 25, "ms", Fraction(1)) == "2014-07-23 05:06:07.025 UTC"
    assert moment(Fraction(16_274), "d", Fraction(1)) == "2014-07-23 UTC"
    assert moment(Fraction(16_274 * 86_400), "s", Fraction(1)) == "2014-07-23 00:00:00 UTC"
    assert moment(Fraction(2276), "step", Fraction(1)) == "2,276"
