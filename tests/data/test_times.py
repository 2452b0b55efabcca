"""Units are found, faults are told, and differences stay what they are in the file."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_clia.data.times import LATEST, SECONDS, TimeFault, Times, check_times, find_unit, parse_dates

YEAR = 365.25 * 86_400


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["s", "ms", "us", "ns"]), st.floats(10, 129), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_the_unit_of_times_since_1980_is_found(unit: str, years: float, rows: int, seed: int) -> None:
    seconds = np.random.default_rng(seed).uniform((years - 5) * YEAR, years * YEAR, rows)
    assert find_unit((seconds / SECONDS[unit]).astype(np.int64)) == unit
    assert find_unit(np.array([], dtype=np.int64)) == "step"


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([17_498, 17_500], "d"),  # days of the year 2017
        ([20171125, 20171203], "date"),
        ([20171125, 20171232], "step"),  # no 32nd of a month
        ([0, 1, 2], "step"),
        ([1, 17_500], "step"),
    ],
)
def test_days_dates_and_counts_are_told_apart(values: list[int], unit: str) -> None:
    assert find_unit(np.array(values)) == unit


def test_dates_become_days() -> None:
    times = check_times(np.array([20171125, 19700101, 20240229]), "date")
    want = [(datetime(*day) - datetime(1970, 1, 1)).days for day in [(2017, 11, 25), (1970, 1, 1), (2024, 2, 29)]]
    assert times.values.tolist() == want
    assert times.unit == "d"


@pytest.mark.parametrize(
    ("values", "unit", "row", "complaint"),
    [
        ([1.0, np.nan], "auto", 1, "the time is missing"),
        ([1.0, np.inf], "auto", 1, "the time is infinite"),
        ([1.0, 2.0, -0.5], "auto", 2, "the time -0.5 is negative"),
        ([5, -1], "step", 1, "the time -1 is negative"),
        ([1_500_000_000] * 3 + [10_413_792_000], "auto", 3, "after the year 2100 in the unit 's'"),
        ([1_500_000_000] * 3 + [10**18], "auto", 3, "after the year 2100 in the unit 's'"),
        ([1_500_000_000_000], "s", 0, "after the year 2100 in the unit 's'"),
        ([20171125, 20170229], "date", 1, "the time 20170229 is no date"),
        ([20171125, 21000101], "date", 1, "the time 21000101 is no date"),
        ([20171125.5], "date", 0, "no date"),
    ],
)
def test_a_time_that_cannot_be_one_is_told_with_its_row(
    values: list[float], unit: str, row: int, complaint: str
) -> None:
    with pytest.raises(TimeFault, match=complaint.replace("(", r"\(")) as fault:
        check_times(np.array(values), unit)
    assert fault.value.row == row


def test_a_named_unit_is_believed() -> None:
    for unit in SECONDS:
        day_before, day_after = (int((LATEST + day * 86_400) / SECONDS[unit]) for day in (-1, 1))
        assert check_times(np.array([1, day_before]), unit).unit == unit
        with pytest.raises(TimeFault):
            check_times(np.array([1, day_after]), unit)
    assert check_times(np.array([10**18]), "step").unit == "step"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4 * 10**18), st.lists(st.integers(0, 2**52), min_size=2, max_size=20))
def test_differences_of_whole_times_are_exact(first: int, steps: list[int]) -> None:
    times = Times(np.array([first + step for step in steps]), "ns")
    exact = times.exact()
    assert exact.dtype == np.float64
    assert [int(a) - int(exact[0]) for a in exact] == [step - steps[0] for step in steps]
    assert [int(a) + times.origin for a in exact] == times.values.tolist()
    assert times.origin == 0 or times.values.max() > 2**53


ZONES = [timezone.utc, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9, minutes=-30))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30)),
            st.sampled_from([None, *ZONES]),
            st.sampled_from(["date", "minutes", "seconds", "milliseconds", "microseconds"]),
            st.sampled_from(" T"),
        ),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_iso_dates_are_read_as_python_reads_them(chosen: list[tuple], write_z: bool) -> None:
    texts = []
    for moment, zone, precision, separator in chosen:
        if precision == "date":
            texts.append(moment.date().isoformat())
            continue
        text = moment.replace(tzinfo=zone).isoformat(separator, precision)
        texts.append(text.replace("+00:00", "Z") if write_z else text)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    moments = [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in texts]
    moments = [moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc) for moment in moments]
    want = [(moment - epoch) // timedelta(microseconds=1) for moment in moments]
    words = sorted(set(texts), reverse=True)
    times = parse_dates(words, np.array([words.index(text) for text in texts], dtype=np.int32))
    scale = {"s": 10**6, "us": 1}[times.unit]
    assert (times.values * scale).tolist() == want


@pytest.mark.parametrize(
    ("texts", "row", "complaint"),
    [
        (["2020-01-01", "yesterday"], 1, "'yesterday' is neither a number nor an ISO date"),
        (["2020-01-01", "1500000000"], 1, "'1500000000' is neither"),
        (["2020-02-30"], 0, "'2020-02-30' is neither"),
        (["2020-01-01", "1969-12-31"], 1, "'1969-12-31' is before 1970"),
        (["2020-01-01 00:00:00Z", "2300-01-01"], 1, "'2300-01-01' is after the year 2100"),
    ],
)
def test_text_that_is_no_date_is_told_with_its_row(texts: list[str], row: int, complaint: str) -> None:
    with pytest.raises(TimeFault, match=complaint) as fault:
        parse_dates(texts, np.arange(len(texts), dtype=np.int32))
    assert fault.value.row == row
