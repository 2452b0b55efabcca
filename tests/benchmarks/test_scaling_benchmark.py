"""Made logs, the clock of batches, exponents of power laws, and what the tables say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import recbole_clia
from recbole_clia.errors import UsageError

sys.path.append(str(Path(recbole_clia.__file__).resolve().parent.parent / "benchmarks"))

import scaling
from scaling import AXES, OVER, Clocked, Point


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_the_exponent_of_an_exact_power_is_found(exponent: float) -> None:
    x = np.array([1e3, 1e4, 3e5, 1e6])
    fit = scaling.fit_exponent(x, 0.7 * x**exponent)
    assert fit is not None
    assert fit.exponent == pytest.approx(exponent, abs=1e-12)
    assert fit.error == pytest.approx(0, abs=1e-7)
    assert fit.factor == pytest.approx(0.7)


def test_the_error_of_an_exponent_is_that_of_least_squares() -> None:
    """Deviations d of the logarithms: the error is sqrt(sum r^2 / (n - 2) / sum (u - mean u)^2)."""
    u, d = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, -0.1, -0.1, 0.1])  # of no slope of their own
    fit = scaling.fit_exponent(np.exp(u), np.exp(1.5 * u + d))
    assert fit is not None
    assert fit.exponent == pytest.approx(1.5)
    assert fit.error == pytest.approx(np.sqrt(0.04 / 2 / 5))


def test_there_is_no_exponent_of_one_size_and_no_error_of_two() -> None:
    assert scaling.fit_exponent([], []) is None
    assert scaling.fit_exponent([10, 10], [1, 2]) is None
    assert scaling.fit_exponent([10, 100], [1, 0]) is None  # 0 has no logarithm
    fit = scaling.fit_exponent([10, 100], [1, 10])
    assert fit is not None
    assert str(fit) == "1.00"


def test_a_made_log_is_as_large_as_it_says() -> None:
    point = Point(interactions=10_000, items=50, length=20)
    log = scaling.made_log(point)
    each = point.length + scaling.HELD_OUT
    assert point.interactions - each < len(log["user_id"]) == point.users * each <= point.interactions
    assert (np.bincount(log["user_id"]) == each).all()
    assert (np.diff(log["timestamp"].reshape(-1, each)) > 0).all()  # so that no row is there twice
    again = scaling.made_log(point)
    assert all(np.array_equal(log[name], again[name]) for name in log)


def test_items_follow_zipfs_law() -> None:
    items, size = 40, 20_000
    count = np.bincount(scaling.zipf(np.random.default_rng(1), items, size), minlength=items)
    expected = 1 / np.arange(1, items + 1)
    assert len(count) == items
    assert scipy.stats.chisquare(count, size * expected / expected.sum()).pvalue > 0.01


def test_what_is_made_is_trained_with_full_histories_and_the_whole_catalogue(workplace: Path) -> None:
    """Also items that nobody had count, and every pair of a training history is there."""
    point = Point(interactions=400, items=600, length=5)
    settings = {
        "data_path": str(workplace),
        "data_cache": None,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
        "MAX_ITEM_LIST_LENGTH": 5,
        "state": "ERROR",
        "use_gpu": False,
        "embedding_size": 4,
        "hidden_size": 4,
    }
    task = {"point": asdict(point), "settings": settings, "device": "cpu", "batches": 2, "seconds": 60.0}
    scaling.prepare_here(task)
    found = scaling.measure_here(task)
    assert (found["interactions"], found["items"], found["length"]) == (point.users * 8, 600, 5)
    assert found["pairs"] == point.users * 5
    assert (found["batches"], found["of"]) == (1, 1)
    assert found["seconds"] > 0
    assert found["peak_mib"] >= found["growth_mib"] >= 0


class Clock:
    """Time that only batches take: 5 s until the first one is there, and then 2 s each."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def loader(self, count: int) -> Iterator[int]:
        self.time += 5
        for number in range(count):
            yield number
            self.time += 2


@pytest.mark.parametrize(
    ("there", "most", "seconds", "count"), [(9, 4, 60.0, 4), (3, 4, 60.0, 3), (9, 9, 3.0, 2), (0, 4, 60.0, 0)]
)
def test_batches_are_timed_without_the_opening(there: int, most: int, seconds: float, count: int) -> None:
    clock = Clock()
    clocked = Clocked(clock.loader(there), most, seconds, clock.now)
    assert list(clocked) == list(range(count))
    assert (clocked.count, clocked.seconds, clocked.opening) == (count, 2.0 * count, 5.0 if count else 0.0)


def test_points_are_the_axes_own_or_those_named() -> None:
    found = scaling.points_of(["items=10,1e3"], ["items", "length"])
    assert [point.items for point in found["items"]] == [10, 1000]
    assert [point.length for point in found["length"]] == list(AXES["length"].values)
    for axis in AXES.values():
        assert all(getattr(axis.point(value), axis.name) == value for value in axis.values)


@pytest.mark.parametrize("word", ["items", "items=", "items=0", "items=1.5", "items=a", "users=3", "length=1e9"])
def test_wrong_points_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--points"):
        scaling.points_of([word], ["items", "length"])


def made_result(items: int) -> dict[str, Any]:
    sizes = {"interactions": 100, "items": items, "length": 5, "pairs": 50, "batches": 3, "of": 9}
    costs = {"seconds": items / 100, "peak_mib": 400 + items**0.5, "growth_mib": items**0.5}
    return {**sizes, **costs, "threads": 1, "device": "CPU"}


def test_tables_and_drawing_say_what_was_measured_and_what_was_not(tmp_path: Path) -> None:
    sizes = (100, 10_000, 1_000_000)
    results: dict[str, list[tuple[Point, dict[str, Any]]]] = {
        "items": [(Point(100, size, 5), made_result(size)) for size in sizes],
        "length": [(Point(100, 10, 7), {"not_run": OVER, "limit": 1.0})],
    }
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in scaling.markdown(results).splitlines()
        if line.startswith("|")
    ]
    assert ["items", "100", "10,000", "5", "50", "100", "3 of 9", "500", "100"] in lines
    assert ["length", "100", "10", "7", "", OVER, "", "", ""] in lines
    assert ["items", "3", "1.00 ± 0.00", "0.50 ± 0.00"] in lines
    assert ["length", "0", "-", "-"] in lines
    scaling.draw(results, tmp_path / "docs" / "scaling.svg")
    text = (tmp_path / "docs" / "scaling.svg").read_text()  # matplotlib says in comments what its glyphs spell
    assert text.count("exponent 1.00") == text.count("exponent 0.50") == 1
