"""Recent popularity, against a plain loop over interactions, and that nothing is known before it happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recbole_clia.nn import Trend
from recbole_clia.nn import trend as module
from recbole_clia.nn.trend import PRIOR, moments, occurrences, recent_counts

HALF_LIVES = [0.5, 2.0, 7.0]
ITEMS = 6


def made_log(seed: int = 0, number: int = 60, span: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Many interactions share a time."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, span, number).astype(np.float64), rng.integers(1, ITEMS, number)


def recent(times: Any, items: Any, ends: Any, half_lives: list[float]) -> np.ndarray:
    return recent_counts(*occurrences(times, items, ITEMS, ends), ITEMS, len(ends), half_lives)


def period_of(time: float, ends: Any) -> int:
    return sum(1 for end in ends if end < time)


def counts_by_loop(times: Any, items: Any, ends: Any, half_lives: list[float]) -> np.ndarray:
    counts = np.zeros((len(half_lives), len(ends) + 1, ITEMS))
    for f, half_life in enumerate(half_lives):
        for g in range(len(ends) + 1):
            for time, item in zip(times, items, strict=True):
                age = g - 1 - period_of(time, ends)
                if age >= 0:
                    counts[f, g, item] += 0.5 ** (age / half_life)
    return counts


# ----- moments


@pytest.mark.parametrize("number", [1, 2, 7, 100])
@pytest.mark.parametrize("seed", range(3))
def test_moments_are_times_of_the_log_and_its_end(number: int, seed: int) -> None:
    times, _ = made_log(seed)
    ends = moments(times, number)
    assert 1 <= len(ends) <= number
    assert (np.diff(ends) > 0).all()
    assert ends[-1] == times.max()
    assert set(ends) <= set(times)


@pytest.mark.parametrize("number", [1, 4, 10, 50])
def test_periods_hold_equally_many_where_no_times_are_tied(number: int) -> None:
    times = np.random.default_rng(0).permutation(np.arange(200.0)) ** 2
    ends = moments(times, number)
    sizes = np.bincount([period_of(t, ends) for t in times], minlength=number)
    assert len(sizes) == len(ends) == number
    assert sizes.sum() == 200
    assert abs(sizes - 200 / number).max() <= 1


def test_one_time_is_one_period_and_an_empty_log_too() -> None:
    assert moments(np.full(9, 5.0), 4).tolist() == [5.0]
    assert moments(np.zeros(0), 4).tolist() == [0.0]


def test_times_of_today_are_kept_to_the_second() -> None:
    times = 1.7e9 + np.arange(100.0)
    assert set(moments(times, 30)) <= set(times)
    trend = Trend(2, times, np.ones(100, dtype=np.int64), 2, 100, [0.1])
    assert trend.ends.dtype == torch.float64
    assert trend.ends.tolist() == times.tolist()


# ----- recent_counts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("periods", [1, 2, 9, 60])
def test_counts_equal_a_loop(seed: int, periods: int) -> None:
    times, items = made_log(seed)
    ends = moments(times, periods)
    got = recent(times, items, ends, HALF_LIVES)
    assert got.dtype == np.float32
    assert got.shape == (3, len(ends) + 1, ITEMS)
    np.testing.assert_allclose(got, counts_by_loop(times, items, ends, HALF_LIVES), rtol=1e-6, atol=0)
    assert (got[:, :, 0] == 0).all()


def test_one_interaction_halves_after_each_half_life() -> None:
    got = recent(np.array([1.0]), np.array([2]), np.array([0.0, 1.0, 2.0, 3.0, 4.0]), [1.0, 2.0])
    assert got[0, :, 2].tolist() == [0, 0, 1, 0.5, 0.25, 0.125]
    assert got[1, [2, 4], 2].tolist() == [1, 0.5]
    assert (np.delete(got, 2, axis=2) == 0).all()


def test_an_interaction_at_an_end_belongs_to_the_period_that_ends() -> None:
    ends = np.array([10.0, 20.0])
    at, after = (recent(np.array([t]), np.array([1]), ends, [1.0])[0, :, 1] for t in (10.0, 10.5))
    assert at.tolist() == [0, 1, 0.5]
    assert after.tolist() == [0, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_counts_before_it_happens(seed: int) -> None:
    """What happens in a period or later changes no feature of that period or of one before it."""
    times, items = made_log(seed)
    ends = moments(times, 9)
    before = recent(times, items, ends, HALF_LIVES)
    period = np.array([period_of(t, ends) for t in times])
    rng = np.random.default_rng(1)
    for g in range(len(ends)):
        late = period >= g
        other = np.where(late, rng.integers(1, ITEMS, len(items)), items)
        changed = recent(times, other, ends, HALF_LIVES)
        dropped = recent(times[~late], items[~late], ends, HALF_LIVES)
        assert np.array_equal(changed[:, : g + 1], before[:, : g + 1])
        assert np.array_equal(dropped[:, : g + 1], before[:, : g + 1])
        assert (dropped[:, g + 1].sum(1) < before[:, g + 1].sum(1)).all()


def test_the_order_of_the_interactions_is_irrelevant() -> None:
    times, items = made_log()
    order = np.random.default_rng(1).permutation(len(times))
    ends = moments(times, 9)
    assert np.array_equal(ends, moments(times[order], 9))
    one, other = (recent(times[o], items[o], ends, HALF_LIVES) for o in (np.arange(len(times)), order))
    assert np.array_equal(one, other)


def test_an_empty_log_counts_nothing() -> None:
    none = np.zeros(0)
    assert (recent(none, none.astype(np.int64), np.zeros(1), [1.0]) == 0).all()
    trend = Trend(2, none, none.astype(np.int64), ITEMS, 8, [0.1])
    assert (trend.features == 0).all()
    period, weight = trend(torch.zeros(3, 2), torch.tensor([-1.0, 0.0, 1e9]).double())
    assert (period < trend.features.shape[1]).all()
    assert weight.isfinite().all()


def test_a_log_of_one_item() -> None:
    trend = Trend(2, np.arange(10.0), np.ones(10, dtype=np.int64), 2, 5, [0.2])
    np.testing.assert_allclose(trend.features[:, :, 1].numpy(), 0, atol=1e-6)  # the mean is its own
    assert trend.features.isfinite().all()


# ----- Trend


def test_features_are_logarithms_over_the_mean() -> None:
    times, items = made_log(1)
    parts = [0.02, 0.3]
    trend = Trend(4, times, items, ITEMS, 12, parts)
    ends = moments(times, 12)
    assert trend.ends.tolist() == ends.tolist()
    counts = counts_by_loop(times, items, ends, [len(ends) * part for part in parts])
    mean = counts[:, :, 1:].mean(2, keepdims=True)
    np.testing.assert_allclose(trend.features.numpy(), np.log((counts + PRIOR) / (mean + PRIOR)), rtol=0, atol=1e-5)
    assert trend.features.dtype == torch.float32
    assert (trend.features[:, 0] == 0).all()  # nothing is known at the beginning


@pytest.mark.parametrize("seed", range(3))
def test_a_row_sees_exactly_what_is_in_periods_before_its_own(seed: int) -> None:
    times, items = made_log(seed)
    trend = Trend(4, times, items, ITEMS, 12, [0.1])
    ends = trend.ends.tolist()
    now = [-5.0, 0.0, *ends, *(end - 0.25 for end in ends), *(end + 0.25 for end in ends), 1e12]
    period, weight = trend(torch.zeros(len(now), 4), torch.tensor(now, dtype=torch.float64))
    assert weight.shape == (len(now), 1)
    assert period.tolist() == [period_of(t, ends) for t in now]
    assert period.max() == len(ends) == trend.features.shape[1] - 1
    for n, g in zip(now, period.tolist(), strict=True):
        known = [time for time in times if period_of(time, ends) < g]
        assert all(time < n for time in known)


def test_the_weights_follow_the_state_and_start_as_a_mean() -> None:
    times, items = made_log()
    trend = Trend(4, times, items, ITEMS, 12, [0.1, 0.2, 0.3, 0.4]).double()
    state = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    now = torch.arange(5.0).double()
    torch.testing.assert_close(trend(state, now)[1], torch.full((5, 4), 0.25, dtype=torch.float64))
    with torch.no_grad():
        trend.weight.weight.normal_(generator=torch.Generator().manual_seed(1))
    want = state @ trend.weight.weight.T + trend.weight.bias
    torch.testing.assert_close(trend(state, now)[1], want)


@pytest.mark.parametrize("memory", [1, 4 * ITEMS * 2 * 3, 4 * ITEMS * 2 * 7 + 5, 1 << 30])
def test_features_of_the_periods_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(module, "MEMORY", memory)
    rng = np.random.default_rng(0)
    trend = Trend(4, np.arange(300.0), rng.integers(1, ITEMS, 300), ITEMS, 20, [0.1, 0.5])
    most = max(1, min(20, memory // (4 * ITEMS * 2)))
    assert len(trend.ends) == most
    assert trend.features.shape == (2, most + 1, ITEMS)


def test_features_in_other_numbers_are_made_once() -> None:
    times, items = made_log()
    trend = Trend(4, times, items, ITEMS, 12, [0.1, 0.4])
    assert trend.features_in(torch.float32) is trend.features
    coarse = trend.features_in(torch.bfloat16)
    assert torch.equal(coarse, trend.features.bfloat16())
    assert trend.features_in(torch.bfloat16) is coarse
    assert trend.features_in(torch.float64).dtype == torch.float64
    double = trend.double()
    assert double.features_in(torch.float64) is double.features
    assert "features" not in double.state_dict()


def test_features_are_no_weights() -> None:
    times, items = made_log()
    trend = Trend(4, times, items, ITEMS, 12, [0.1])
    assert set(dict(trend.named_parameters())) == {"weight.weight", "weight.bias"}
    assert not trend.features.requires_grad


def test_what_is_kept_gives_the_features_again_without_the_data() -> None:
    times, items = made_log()
    trend = Trend(4, times, items, ITEMS, 12, [0.1, 0.3])
    kept = trend.state_dict()
    assert "features" not in kept
    assert int(kept["count"].sum()) == len(times)
    empty = Trend(4, np.zeros(0), np.zeros(0, dtype=np.int64), ITEMS, 12, [0.1, 0.3])
    assert not torch.equal(empty.ends, trend.ends)
    empty.load_state_dict(kept)
    assert torch.equal(empty.features, trend.features)
    assert torch.equal(empty.ends, trend.ends)


@pytest.mark.parametrize(("periods", "half_lives"), [(0, [0.1]), (-1, [0.1]), (3, []), (3, [0.1, 0.0]), (3, [-1.0])])
def test_bad_settings_are_refused(periods: int, half_lives: list[float]) -> None:
    times, items = made_log()
    with pytest.raises(ValueError, match="trend needs a period and positive half-lives"):
        Trend(4, times, items, ITEMS, periods, half_lives)
