"""Dropout drops at the rate asked for, and keeps the mean."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from recbole_clia.nn import BitDropout, dropout_of


@pytest.mark.parametrize("p", [0.1, 0.5, 0.6, 0.95])
@pytest.mark.parametrize("size", [10_001, 65_536])
def test_rate_and_scale(p: float, size: int) -> None:
    torch.manual_seed(0)
    output = BitDropout(p)(torch.ones(size))
    kept = int((output != 0).sum())
    assert scipy.stats.binomtest(kept, size, 1 - p).pvalue > 1e-3
    # the probability is rounded to a multiple of 2^-16
    torch.testing.assert_close(output[output != 0], torch.full((kept,), 1 / (1 - p)), rtol=2**-16 / (1 - p), atol=0)


def test_the_four_elements_of_a_draw_are_independent() -> None:
    torch.manual_seed(0)
    kept = (BitDropout(0.5)(torch.ones(40_000)) != 0).view(-1, 4)
    patterns = torch.bincount((kept * torch.tensor([1, 2, 4, 8])).sum(1), minlength=16)
    assert scipy.stats.chisquare(patterns.numpy()).pvalue > 1e-3


def test_hardly_anything_is_left_just_below_one() -> None:
    torch.manual_seed(0)
    assert (BitDropout(1 - 2**-20)(torch.ones(65_536)) > 0).sum() < 20


@pytest.mark.parametrize("p", [0.4, 0.999, 0.9999])
def test_the_mean_is_kept_at_the_rounded_probability(p: float) -> None:
    """What is kept is worth the inverse of the share that is kept, whatever was asked for."""
    torch.manual_seed(0)
    output = BitDropout(p)(torch.ones(2**21))
    worth = float(output.max())
    share = round(2**16 / worth)
    assert worth == pytest.approx(2**16 / share, rel=1e-6)
    assert scipy.stats.binomtest(int((output != 0).sum()), 2**21, share / 2**16).pvalue > 1e-3


def test_the_gradient_passes_where_the_value_does() -> None:
    x = torch.randn(3, 5, requires_grad=True)
    output = BitDropout(0.5)(x)
    output.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), output.detach())


def test_follows_the_seed() -> None:
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(BitDropout(0.5)(torch.ones(100)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_keeps_the_type_and_shape(dtype: torch.dtype) -> None:
    output = BitDropout(0.3)(torch.ones(2, 3, 7, dtype=dtype))
    assert output.dtype is dtype
    assert output.shape == (2, 3, 7)


def test_does_nothing_in_evaluation_or_at_zero() -> None:
    x = torch.randn(4)
    assert BitDropout(0.5).eval()(x) is x
    assert BitDropout(0.0)(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_refuses_a_probability_outside_its_range(p: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        BitDropout(p)


def test_the_dropout_of_a_log_is_a_half_while_it_is_sparse_and_falls_with_the_root_of_its_density() -> None:
    for targets_per_item in (0.0, 1e-3, 10.0, 60.0):
        assert dropout_of(targets_per_item) == 0.5
    for targets_per_item in (60.0, 130.0, 1e6):
        assert dropout_of(4 * targets_per_item) == pytest.approx(dropout_of(targets_per_item) / 2, rel=1e-12)
