"""Laws of the negative sampler: what it draws, and how often."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recbole_clia.data.negatives import NegativeSampler

laws = settings(derandomize=True, deadline=None, max_examples=150)
POPULARITY = torch.tensor([0, 40, 7, 0, 90, 1, 13, 0, 22, 5])
DRAWS = 40_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(item_num, sample_num=1):
    return NegativeSampler(item_num, sample_num, "uniform", torch.zeros(item_num, dtype=torch.int64), 1.0)


def popular(popularity, sample_num=1, alpha=1.0):
    return NegativeSampler(len(popularity), sample_num, "popularity", torch.as_tensor(popularity), alpha)


def check_frequencies(sampler, weight, target):
    """A chi-square test of many draws for one target against its weights, the target's own left out."""
    expected = np.array(weight, dtype=np.float64)
    expected[[0, target]] = 0
    drawn = sampler(torch.full((DRAWS // sampler.sample_num,), target), generator(target))
    counts = np.bincount(drawn.flatten().numpy(), minlength=len(expected))
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    expected = expected[possible] / expected.sum() * counts.sum()
    assert expected.min() > 5
    assert chisquare(counts[possible], expected).pvalue > 1e-3


@pytest.mark.parametrize("target", [1, 2, 5, 9])
@pytest.mark.parametrize("sample_num", [1, 4])
def test_uniform_is_uniform_over_the_other_items(target, sample_num):
    check_frequencies(uniform(10, sample_num), np.ones(10), target)


@pytest.mark.parametrize("target", range(10))
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.75, 1.5])
def test_popularity_is_proportional_to_its_power_over_the_other_items(target, alpha):
    weight = POPULARITY.numpy().astype(np.float64) ** alpha
    check_frequencies(popular(POPULARITY, alpha=alpha), weight, target)


def test_alpha_zero_is_uniform():
    check_frequencies(popular([0, 9, 5, 1, 70], alpha=0.0), np.ones(5), 2)


def test_several_negatives_of_a_target_are_independent():
    drawn = uniform(4, 2)(torch.full((DRAWS,), 3), generator())
    counts = np.bincount((drawn[:, 0] * 2 + drawn[:, 1] - 3).numpy(), minlength=4)  # (1, 1) (1, 2) (2, 1) (2, 2)
    assert chisquare(counts).pvalue > 1e-3


@st.composite
def samplers(draw):
    item_num = draw(st.integers(3, 12))
    if draw(st.booleans()):
        return item_num, uniform(item_num, 20)
    counts = draw(st.lists(st.integers(0, 10**6), min_size=item_num, max_size=item_num))
    if sum(c > 0 for c in counts[1:]) < 2:
        counts[1] = counts[item_num - 1] = 3
    return item_num, popular(counts, 20, draw(st.sampled_from([0.5, 0.75, 1.0, 1.7])))


@laws
@given(samplers(), st.integers(0, 2**31))
def test_neither_the_target_nor_padding_nor_an_item_of_no_weight(case, seed):
    item_num, sampler = case
    target = torch.arange(1, item_num)
    drawn = sampler(target, generator(seed))
    assert (drawn != target.unsqueeze(-1)).all()
    assert ((drawn >= 1) & (drawn < item_num)).all()
    assert (sampler.weight[drawn] > 0).all()


def test_items_nobody_chose_are_never_drawn():
    drawn = popular(POPULARITY, 200)(torch.arange(10).repeat(50), generator())
    assert set(drawn.unique().tolist()) == set(POPULARITY.nonzero().flatten().tolist())


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("sample_num", [1, 3])
def test_shape(shape, sample_num):
    target = torch.randint(1, 10, shape, generator=generator())
    for sampler in (uniform(10, sample_num), popular(POPULARITY, sample_num)):
        drawn = sampler(target, generator())
        assert drawn.shape == (*shape, sample_num)
        assert drawn.dtype == torch.int64


def test_a_padded_target_gets_an_item_as_well():
    drawn = uniform(5, 100)(torch.zeros(20, dtype=torch.int64), generator())
    assert set(drawn.unique().tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize("sampler", [uniform(3, 8), popular([0, 1, 1000], 8), popular([7, 1000, 1], 8)])
def test_of_two_items_the_other_one_is_drawn(sampler):
    drawn = sampler(torch.tensor([1, 2] * 100), generator())
    assert torch.equal(drawn, torch.tensor([2, 1] * 100).unsqueeze(-1).expand(200, 8))


def test_the_draw_is_the_generators_alone():
    target = torch.arange(1, 10).repeat(30)
    for sampler in (uniform(10, 5), popular(POPULARITY, 5)):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = sampler(target, generator(3))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert torch.equal(sampler(target, generator(3)), first)
        assert not torch.equal(sampler(target, generator(4)), first)


def test_a_generator_goes_on_from_draw_to_draw():
    target, source = torch.arange(1, 10).repeat(30), generator()
    sampler = uniform(10, 5)
    assert not torch.equal(sampler(target, source), sampler(target, source))


def test_the_counts_are_left_alone():
    counts = torch.tensor([5.0, 3.0, 2.0], dtype=torch.float64)
    NegativeSampler(3, 1, "popularity", counts, 1.0)(torch.tensor([1]), generator())
    assert counts.tolist() == [5.0, 3.0, 2.0]


@pytest.mark.parametrize("item_num", [0, 1, 2])
@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_refuses_fewer_than_two_items(item_num, distribution):
    with pytest.raises(ValueError, match="two items"):
        NegativeSampler(item_num, 1, distribution, torch.ones(item_num, dtype=torch.int64), 1.0)


@pytest.mark.parametrize("popularity", [[0, 0, 5], [0, 5, 0, 0], [9, 0, 0, 0, 2], [3, 0, 0]])
def test_refuses_fewer_than_two_items_that_can_be_drawn(popularity):
    with pytest.raises(ValueError, match="two items"):
        popular(popularity)


@pytest.mark.parametrize("popularity", [[0, 1, 1, 10**5], [0, 10**5, 1, 1], [0, 1, 10**5, 1]])
def test_a_steep_power_never_draws_the_target(popularity):
    target = torch.arange(1, 4).repeat(50)
    drawn = popular(popularity, 4, alpha=4.0)(target, generator())
    assert (drawn != target.unsqueeze(-1)).all()


def test_a_steep_power_keeps_the_chances_of_the_others():
    check_frequencies(popular([0, 10**5, 1, 1, 1], alpha=4.0), np.array([0.0, 1e20, 1.0, 1.0, 1.0]), 1)
