"""Laws of the negatives: which may be drawn, how often, and what the softmax is corrected by."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import prepare, write_log
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from recbole_clia.errors import UsageError
from recbole_clia.sampling import Anchors, Draw, NegativeSampler, negative_sampler
from recbole_clia.sampling.negatives import ROUNDS, STRATEGIES
from recbole_clia.sampling.seen import SeenItems
from recbole_clia.sampling.weighted import WeightedItems

laws = settings(derandomize=True, deadline=None, max_examples=60)
POPULARITY = [0, 40, 7, 0, 90, 1, 13, 0, 22, 5]
CLUSTER = [0, 1, 0, 2, 1, 1, 0, 2, 0, 2]
ITEMS = len(POPULARITY)
HAD = {1: {1, 4, 9}, 2: {2}, 3: {4, 5, 6, 8}}  # by user; users 0 and 4 have had nothing
STRATEGY = pytest.mark.parametrize("strategy", STRATEGIES)
FORM = pytest.mark.parametrize("shared", [False, True], ids=["row", "shared"])
COUNTED = pytest.mark.parametrize("strategy", ["uniform", "popularity", "in_batch"])


def seen_items(had: dict[int, set[int]], item_num: int = ITEMS) -> SeenItems:
    pairs = torch.tensor([(user, item) for user in had for item in had[user]], dtype=torch.long).view(-1, 2)
    return SeenItems(pairs[:, 0], pairs[:, 1], item_num)


def sampler_of(strategy: str, popularity: list[int] = POPULARITY, **settings: Any) -> NegativeSampler:
    """A sampler; ``had`` gives the items of each user, and clusters are those above."""
    had = settings.pop("had", None)
    seen = None if had is None else seen_items(had, len(popularity))
    sampler = NegativeSampler(strategy, torch.tensor(popularity), seen=seen, **{"pool": 12, **settings})
    if sampler.clustered is not None and len(popularity) == ITEMS:
        sampler.clustered._keep(torch.tensor(CLUSTER))
    return sampler


def anchors_of(target: Any, user: Any = None, seed: int = 0) -> Anchors:
    """Rows with a fixed score for each item."""
    target = torch.as_tensor(target, dtype=torch.long)
    user = torch.zeros_like(target) if user is None else torch.as_tensor(user)
    table = torch.randn(len(target), 1000, generator=torch.Generator().manual_seed(seed))
    return Anchors(target, user, lambda items: table.gather(1, items.expand(len(target), -1)))


def weight_of(strategy: str, exponent: float = 1.0, popularity: list[int] = POPULARITY) -> np.ndarray:
    """The chance of each item, up to a factor."""
    if strategy == "uniform":
        return np.array([0.0] + [1.0] * (ITEMS - 1))
    counts = np.array(popularity, dtype=np.float64)
    return np.where(counts > 0, counts ** (exponent if strategy == "popularity" else 1.0), 0.0)


def check_frequencies(drawn: Tensor, weight: np.ndarray) -> None:
    counts = np.bincount(drawn.flatten().numpy(), minlength=len(weight))
    assert counts[weight == 0].sum() == 0
    possible = weight > 0
    expected = weight[possible] / weight.sum() * counts.sum()
    assert expected.min() > 5
    assert chisquare(counts[possible], expected).pvalue > 1e-3


# ----- what every strategy keeps to


@STRATEGY
@FORM
@pytest.mark.parametrize("had", [None, HAD])
@pytest.mark.parametrize("number", [1, 7, 20])
def test_shapes_and_no_padding_and_never_the_own_target(strategy: str, shared: bool, had: Any, number: int) -> None:
    torch.manual_seed(0)
    anchors = anchors_of([1, 4, 4, 6, 8, 9, 2, 5], [1, 1, 3, 3, 2, 0, 4, 2])
    draw = sampler_of(strategy, shared=shared, had=had)(anchors, number)
    one_row = shared and strategy not in ("hard", "online")
    assert draw.items.shape == (1 if one_row else 8, number)
    assert draw.items.dtype == torch.long
    assert ((draw.items >= 1) & (draw.items < ITEMS)).all()
    is_target = draw.items == anchors.target.unsqueeze(1)  # [8, n]
    if not shared:
        assert draw.usable is None
        assert not is_target.any()
    else:
        assert draw.usable is not None
        assert draw.usable.shape == (8, number)
        assert draw.usable.dtype == torch.bool
        assert not (draw.usable & is_target).any()
    if strategy in ("uniform", "popularity", "in_batch"):
        assert draw.log_count is not None
        assert draw.log_count.shape == draw.items.shape
        assert draw.log_count.isfinite().all()
    else:
        assert draw.log_count is None


@STRATEGY
@pytest.mark.parametrize("had", [None, HAD])
def test_what_is_shared_is_usable_unless_it_is_wrong_for_the_row(strategy: str, had: Any) -> None:
    torch.manual_seed(1)
    target, user = [1, 4, 4, 6, 8, 9, 2, 5], [1, 1, 3, 3, 2, 0, 4, 2]
    draw = sampler_of(strategy, shared=True, had=had)(anchors_of(target, user), 12)
    assert draw.usable is not None
    items = draw.items.expand(8, -1).tolist()
    want = []
    for row in range(8):
        banned = {target[row]} | ((had or {}).get(user[row], set()))
        own = [item not in banned for item in items[row]]
        if strategy == "cluster":
            own = [ok and CLUSTER[i] != CLUSTER[target[row]] for ok, i in zip(own, items[row], strict=True)]
        want.append(own)
    assert draw.usable.tolist() == want
    assert any(not ok for row in want for ok in row)
    assert any(ok for row in want for ok in row)


@STRATEGY
@FORM
@pytest.mark.parametrize("had", [None, HAD])
def test_the_draw_is_the_seeds_alone(strategy: str, shared: bool, had: Any) -> None:
    sampler = sampler_of(strategy, shared=shared, had=had)
    anchors = anchors_of([1, 4, 6, 8, 9, 2, 5] * 5, [1, 1, 3, 2, 0, 4, 2] * 5)

    def draw(seed: int) -> Draw:
        torch.manual_seed(seed)
        drawn: Draw = sampler(anchors, 9)
        return drawn

    first, same, other = draw(1), draw(1), draw(2)
    for one, two in zip(first, same, strict=True):
        assert (one is None) == (two is None)
        assert one is None or two is None or torch.equal(one, two)
    assert not torch.equal(first.items, other.items)


@STRATEGY
@FORM
@pytest.mark.parametrize("had", [None, HAD])
def test_an_empty_batch_has_no_negatives(strategy: str, shared: bool, had: Any) -> None:
    items, usable, log_count = sampler_of(strategy, shared=shared, had=had)(anchors_of([]), 5)
    assert items.shape == (0, 5)
    assert items.dtype == torch.long
    assert usable is None
    assert log_count is None


@STRATEGY
def test_it_is_no_part_of_a_models_weights(strategy: str) -> None:
    assert sampler_of(strategy, had=HAD).state_dict() == {}


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be one of uniform, popularity, in_batch, .*, not 'odd'"):
        sampler_of("odd")


@pytest.mark.parametrize(("strategy", "popularity"), [("uniform", [0, 5]), ("hard", [0, 5]), ("popularity", [0, 5, 0])])
def test_fewer_than_two_items_are_refused(strategy: str, popularity: list[int]) -> None:
    with pytest.raises(ValueError, match="two items"):
        sampler_of(strategy, popularity)


# ----- how often


@pytest.mark.parametrize("exponent", [1.0, 0.5])
@pytest.mark.parametrize("strategy", ["uniform", "popularity"])
@pytest.mark.parametrize(("target", "user"), [(2, 0), (2, 1), (4, 1), (6, 3), (1, 3)])
def test_negatives_follow_the_weights_over_what_is_new(strategy: str, exponent: float, target: int, user: int) -> None:
    torch.manual_seed(target)
    anchors = anchors_of([target] * 4_000, [user] * 4_000)
    draw = sampler_of(strategy, exponent=exponent, had=HAD)(anchors, 5)
    weight = weight_of(strategy, exponent)
    weight[[target, *HAD.get(user, set())]] = 0
    check_frequencies(draw.items, weight)


@pytest.mark.parametrize("user", [0, 2, 3])
def test_negatives_of_the_batch_follow_its_rows_over_what_is_new(user: int) -> None:
    torch.manual_seed(0)
    batch = [2, 1, 1, 6, 8, 9, 9, 9, 4, 5]
    anchors = anchors_of(batch, [user] + [0] * 9)
    drawn = sampler_of("in_batch", had=HAD)(anchors, 20_000).items[0]
    weight = np.array([batch.count(item) for item in range(ITEMS)], dtype=np.float64)
    weight[[2, *HAD.get(user, set())]] = 0
    check_frequencies(drawn, weight)


def test_negatives_of_other_clusters_are_uniform_over_what_is_new() -> None:
    torch.manual_seed(0)
    drawn = sampler_of("cluster", had=HAD)(anchors_of([7] * 4_000, [1] * 4_000), 5).items
    weight = np.array([float(i > 0 and CLUSTER[i] != CLUSTER[7] and i not in HAD[1]) for i in range(ITEMS)])
    check_frequencies(drawn, weight)


@pytest.mark.parametrize("strategy", ["uniform", "popularity"])
def test_the_weights_hold_for_a_user_who_has_had_nearly_everything(strategy: str) -> None:
    """Drawing again rarely finds one of the three items that are left."""
    torch.manual_seed(0)
    popularity = [0, *range(1, 400)]
    left = {3, 50, 350}
    had = {1: set(range(1, 400)) - left}
    assert (1 - 3 / 399) ** ROUNDS > 0.5
    drawn = sampler_of(strategy, popularity, had=had)(anchors_of([7] * 400, [1] * 400), 3).items
    weight = np.zeros(400)
    for item in left:
        weight[item] = 1.0 if strategy == "uniform" else popularity[item]
    if strategy == "popularity":
        counts = np.bincount(drawn.flatten().numpy(), minlength=400)
        assert counts[sorted(left)].sum() == 1_200
        low = weight[3] / weight.sum()  # too rare for a chi-square of its own
        assert (
            chisquare([counts[3] + counts[50], counts[350]], [1_200 * (low + 50 / 403), 1_200 * 350 / 403]).pvalue
            > 1e-3
        )
    else:
        check_frequencies(drawn, weight)


def test_the_rows_of_a_batch_count_for_a_user_who_has_had_nearly_all_of_them() -> None:
    torch.manual_seed(0)
    batch = [7, *range(100, 396), 3, 50, 50, 50]
    had = {1: set(range(1, 400)) - {3, 50, 399}}  # item 399 is new, but in no row
    anchors = anchors_of(batch, [1] + [0] * (len(batch) - 1))
    sampler = sampler_of("in_batch", [0, *range(1, 400)], had=had)
    drawn = torch.cat([sampler(anchors, 200).items[0] for _ in range(3)])
    weight = np.zeros(400)
    weight[[3, 50]] = [1, 3]
    check_frequencies(drawn, weight)


@pytest.mark.parametrize("strategy", ["uniform", "popularity", "in_batch", "cluster", "hard", "online"])
def test_a_user_who_has_had_all_but_one_gets_that_one(strategy: str) -> None:
    torch.manual_seed(0)
    popularity = [0, *range(1, 30)]
    had = {1: set(range(1, 30)) - {17}, 2: {3}}
    sampler = sampler_of(strategy, popularity, had=had)
    draw = sampler(anchors_of([5, 9, 17, 12], [1, 1, 2, 2]), 6)
    assert draw.items[:2].tolist() == [[17] * 6] * 2
    assert not torch.isin(draw.items[2:], torch.tensor([3])).any()


@pytest.mark.parametrize("strategy", ["uniform", "popularity", "in_batch", "cluster", "hard", "online"])
@pytest.mark.parametrize("left", [set(), {5}])
def test_where_all_but_the_target_have_been_had_any_other_item_is_drawn(strategy: str, left: set[int]) -> None:
    torch.manual_seed(0)
    had = {1: set(range(1, 30)) - left, 2: {3}}
    sampler = sampler_of(strategy, [0, *range(1, 30)], had=had)
    items = sampler(anchors_of([5, 9], [1, 2]), 500).items
    assert ((items[0] >= 1) & (items[0] < 30) & (items[0] != 5)).all()
    if strategy in ("uniform", "popularity", "in_batch", "cluster"):
        check_frequencies(items[0], np.array([0.0] + [float(i != 5) for i in range(1, 30)]))
    assert not torch.isin(items[1], torch.tensor([3, 9])).any()


def test_popular_items_run_out_before_the_others() -> None:
    torch.manual_seed(0)
    had = {1: {1, 2, 4, 5, 6, 8, 9}}  # all that anybody chose
    items = sampler_of("popularity", had=had)(anchors_of([2, 6], [1, 1]), 200).items
    assert set(items.unique().tolist()) == {3, 7}


@laws
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 7)), max_size=18), st.sampled_from(STRATEGIES), st.data())
def test_nothing_that_the_user_has_had(pairs: list[tuple[int, int]], strategy: str, data: Any) -> None:
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    rows = data.draw(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 3)), min_size=1, max_size=6))
    had = {user: {i for u, i in pairs if u == user} for user in (1, 2, 3)}
    sampler = sampler_of(strategy, [0, 5, 1, 4, 2, 2, 9, 1], had=had, pool=5)
    target, user = zip(*rows, strict=True)
    items = sampler(anchors_of(target, user), 4).items.tolist()
    for row, own in enumerate(items):
        others = set(range(1, 8)) - {target[row]}
        assert set(own) <= (others - had[user[row]] or others)


# ----- what the softmax is corrected by


@COUNTED
@FORM
@pytest.mark.parametrize("had", [None, HAD])
@pytest.mark.parametrize("exponent", [1.0, 0.6])
@pytest.mark.parametrize("number", [1, 7])
def test_the_log_count_is_that_of_the_chance(
    strategy: str, shared: bool, had: Any, exponent: float, number: int
) -> None:
    torch.manual_seed(number)
    target, user = [1, 4, 4, 6, 8, 9, 2, 5], [1, 1, 3, 3, 2, 0, 4, 2]
    draw = sampler_of(strategy, shared=shared, had=had, exponent=exponent)(anchors_of(target, user), number)
    assert draw.log_count is not None
    weight = weight_of(strategy, exponent)
    for row in range(len(draw.items)):
        others = set(range(1, ITEMS))
        if not shared:
            others -= {target[row]} | (had or {}).get(user[row], set())
        mass = sum(weight[item] for item in others)
        # Of a batch's rows that all share, one is the row itself, and never its own negative.
        rows = (len(target) - 1) / len(target) if shared and strategy == "in_batch" else 1.0
        want = [math.log(number * rows * weight[item] / mass) for item in draw.items[row].tolist()]
        assert draw.log_count[row].tolist() == pytest.approx(want, rel=1e-12, abs=1e-12)


# Without an item so rare that a mean of thousands of draws misses it.
BALANCED = [0, 40, 17, 0, 50, 11, 23, 0, 32, 15]
SCORE = 0.5 * torch.randn(ITEMS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def corrected_sum(draw: Draw, score: Tensor) -> Tensor:
    """For each row the estimate of the sum over all items, from scores ``[I]``."""
    assert draw.log_count is not None
    term = (score[draw.items] - draw.log_count).exp()  # [N or 1, n]
    if draw.usable is not None:
        term = term * draw.usable
    return term.sum(-1)


def whole_sum(strategy: str, score: Tensor, target: int, without: Any = ()) -> float:
    weight = weight_of(strategy, popularity=BALANCED)
    return sum(math.exp(float(score[j])) for j in range(ITEMS) if weight[j] > 0 and j != target and j not in without)


def check_mean(errors: Any) -> None:
    errors = np.asarray(errors)
    standard_error = errors.std(ddof=1) / math.sqrt(len(errors))
    assert standard_error > 0
    assert abs(errors.mean()) < 4 * standard_error


@pytest.mark.parametrize("strategy", ["uniform", "popularity"])
@pytest.mark.parametrize("had", [None, HAD])
def test_the_corrected_sum_of_a_row_is_unbiased(strategy: str, had: Any) -> None:
    torch.manual_seed(0)
    target, user = [1, 4, 6, 2], [1, 3, 3, 2]
    draw = sampler_of(strategy, BALANCED, had=had)(anchors_of(target * 5_000, user * 5_000), 3)
    got = corrected_sum(draw, SCORE).view(-1, 4)
    for row in range(4):
        want = whole_sum(strategy, SCORE, target[row], (had or {}).get(user[row], set()))
        check_mean(got[:, row] - want)
        assert abs(got[:, row].mean() / want - 1) < 0.05


@pytest.mark.parametrize("strategy", ["uniform", "popularity"])
@pytest.mark.parametrize("had", [None, HAD])
def test_the_corrected_sum_of_a_shared_draw_is_unbiased(strategy: str, had: Any) -> None:
    torch.manual_seed(0)
    target, user = [1, 4, 6, 2], [1, 3, 3, 2]
    sampler, anchors = sampler_of(strategy, BALANCED, shared=True, had=had), anchors_of(target, user)
    got = torch.stack([corrected_sum(sampler(anchors, 30), SCORE) for _ in range(1_000)])  # [R, 4]
    for row in range(4):
        want = whole_sum(strategy, SCORE, target[row], (had or {}).get(user[row], set()))
        check_mean(got[:, row] - want)
        assert abs(got[:, row].mean() / want - 1) < 0.05


@FORM
def test_the_corrected_sum_over_a_batch_is_unbiased(shared: bool) -> None:
    """Batches whose targets come as the training data has them; of 20 rows the row itself is one."""
    rng = np.random.default_rng(0)
    chance = np.array(BALANCED) / sum(BALANCED)
    sampler = sampler_of("in_batch", BALANCED, shared=shared)
    by_target = np.array([whole_sum("in_batch", SCORE, t) for t in range(ITEMS)])
    torch.manual_seed(0)
    errors = []
    for _ in range(3000):
        target = rng.choice(ITEMS, size=20, p=chance)
        got = corrected_sum(sampler(anchors_of(target), 100), SCORE).numpy()
        errors.append((got / by_target[target] - 1).mean())
    check_mean(errors)
    assert abs(np.mean(errors)) < 0.01


# ----- of a pool


POOL = torch.tensor([3, 5, 8, 9, 2, 7])


def fix_pool(monkeypatch: pytest.MonkeyPatch, pool: Tensor = POOL) -> None:
    """Every pool has these items, in both forms."""

    def other(self: WeightedItems, target: Tensor, number: int) -> Tensor:
        assert number == len(pool)
        return pool.expand(len(target), -1).clone()

    def anything(self: WeightedItems, number: int) -> Tensor:
        assert number == len(pool)
        return pool.clone()

    monkeypatch.setattr(WeightedItems, "forward", other)
    monkeypatch.setattr(WeightedItems, "any", anything)


def scored(anchors: Anchors, row: int, item: int) -> float:
    return float(anchors.score(torch.full((len(anchors.target), 1), item))[row, 0])


@FORM
@pytest.mark.parametrize("number", [1, 2, 4])
def test_hard_takes_the_top_of_the_pool(monkeypatch: pytest.MonkeyPatch, shared: bool, number: int) -> None:
    fix_pool(monkeypatch)
    target = [1, 4, 6, 8, 3]  # two of which are in the pool, and are left out where it is shared
    anchors = anchors_of(target if shared else [1, 4, 6, 1, 4])
    draw = sampler_of("hard", pool=len(POOL), shared=shared)(anchors, number)
    for row in range(5):
        best = [i for i in POOL.tolist() if not (shared and i == target[row])]
        best.sort(key=lambda item: -scored(anchors, row, item))
        assert draw.items[row].tolist() == best[:number]
    if shared:
        assert draw.usable is not None
        assert draw.usable.all()


def test_hard_marks_what_is_left_of_a_pool_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_pool(monkeypatch)
    had = {1: {3, 5, 8, 9}}
    anchors = anchors_of([1, 2], [0, 1])
    draw = sampler_of("hard", pool=len(POOL), shared=True, had=had)(anchors, 4)
    assert draw.usable is not None
    assert draw.usable.tolist() == [[True] * 4, [True, False, False, False]]
    assert draw.items[1, 0] == 7


@pytest.mark.parametrize("strategy", ["hard", "online"])
@FORM
def test_the_pool_has_as_many_as_are_asked_for_at_least(strategy: str, shared: bool) -> None:
    torch.manual_seed(0)
    sizes = []

    def score(items: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        sizes.append(items.shape)
        return torch.zeros(3, items.shape[1])

    anchors = Anchors(torch.tensor([1, 2, 3]), torch.zeros(3, dtype=torch.long), score)
    sampler = sampler_of(strategy, pool=5, shared=shared)
    for number in (2, 9):
        assert sampler(anchors, number).items.shape == (3, number)
    assert sizes == [((1 if shared else 3), 5), ((1 if shared else 3), 9)]


def test_hard_negatives_score_higher_than_others() -> None:
    torch.manual_seed(0)
    anchors = anchors_of([1, 4, 6] * 50)
    mean = {}
    for strategy in ("uniform", "online", "hard"):
        items = sampler_of(strategy, pool=50)(anchors, 1).items
        mean[strategy] = anchors.score(items).mean().item()
    assert mean["uniform"] + 0.3 < mean["online"] < mean["hard"] - 0.1


@FORM
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_online_draws_of_the_pool_by_the_softmax(
    monkeypatch: pytest.MonkeyPatch, shared: bool, temperature: float
) -> None:
    fix_pool(monkeypatch)
    torch.manual_seed(0)
    score = np.array([0.5, -1.0, 1.5, 0.0, 2.0, -0.5])
    table = torch.full((ITEMS,), -100.0, dtype=torch.float64)
    table[POOL] = torch.from_numpy(score)
    rows, own = 20_000, 8
    anchors = Anchors(
        torch.full((rows,), own if shared else 1),
        torch.zeros(rows, dtype=torch.long),
        lambda items: table[items].expand(rows, -1),
    )
    items = sampler_of("online", pool=len(POOL), temperature=temperature, shared=shared)(anchors, 1).items
    weight = np.zeros(ITEMS)
    weight[POOL.numpy()] = np.exp(score / temperature)
    if shared:
        weight[own] = 0  # marked for these rows
    check_frequencies(items, weight)


def test_online_draws_without_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordered pair has the chance ``p_a * p_b / (1 - p_a)``."""
    pool = torch.tensor([3, 5, 8, 9])
    fix_pool(monkeypatch, pool)
    torch.manual_seed(1)
    score = np.array([0.5, -0.5, 1.0, 0.0])
    table = torch.zeros(ITEMS, dtype=torch.float64)
    table[pool] = torch.from_numpy(score)
    anchors = Anchors(
        torch.ones(20_000, dtype=torch.long),
        torch.zeros(20_000, dtype=torch.long),
        lambda items: table[items],
    )
    items = sampler_of("online", pool=4)(anchors, 2).items
    p = np.exp(score) / np.exp(score).sum()
    pairs = list(itertools.permutations(range(4), 2))
    counts = [int(((items[:, 0] == pool[a]) & (items[:, 1] == pool[b])).sum()) for a, b in pairs]
    assert sum(counts) == 20_000
    assert chisquare(counts, [20_000 * p[a] * p[b] / (1 - p[a]) for a, b in pairs]).pvalue > 1e-3


# ----- what the settings ask for


def made_sampler(made: dict[str, Any], **settings: Any) -> tuple[NegativeSampler, Any]:
    prepared = prepare({**made, "loss_type": "SSM", **settings})
    return prepared.model.negatives, prepared


def test_popularity_counts_the_training_targets(made: dict[str, Any]) -> None:
    sampler, prepared = made_sampler(made, negative_sampling="popularity", popularity_exponent=0.5)
    train = prepared.train._dataset
    counts = np.zeros(prepared.dataset.item_num)
    for target in train[np.arange(len(train))]["item_id"].tolist():
        counts[target] += 1
    assert counts.max() > 3
    assert sampler.popular is not None
    assert sampler.popular.weight.tolist() == pytest.approx(np.sqrt(counts).tolist(), rel=1e-12)


@pytest.mark.parametrize(("packed", "lazy"), [(True, True), (False, True), (False, False)])
def test_seen_is_what_a_user_has_had_in_training(made: dict[str, Any], packed: bool, lazy: bool) -> None:
    """The first item of each, which is no target, is among it."""
    sampler, prepared = made_sampler(made, exclude_history=True, packed=packed, lazy_augmentation=lazy)
    train = prepared.train._dataset
    want = set()
    for row in range(len(train)):
        one = train[np.array([row])]
        user, length = int(one["user_id"]), int(one["item_length"])
        want |= {(user, int(one["item_id"]))} | {(user, i) for i in one["item_id_list"][0, :length].tolist()}
    assert sampler.seen is not None
    users, items = torch.arange(prepared.dataset.user_num), torch.arange(prepared.dataset.item_num).unsqueeze(0)
    got = {(u, i) for u, i in sampler.seen.contains(users, items).nonzero().tolist()}
    assert got == want


def test_every_setting_reaches_the_sampler(made: dict[str, Any]) -> None:
    sampler, prepared = made_sampler(
        made, negative_sampling="online", negative_pool=7, negative_temperature=0.25, negative_shared=True
    )
    assert (sampler.strategy, sampler.pool, sampler.temperature, sampler.shared) == ("online", 7, 0.25, True)
    assert sampler.seen is None
    assert sampler.item_num == prepared.dataset.item_num
    clustered, _ = made_sampler(made, negative_sampling="cluster", negative_clusters=5)
    assert clustered.clustered is not None
    assert clustered.clustered.clusters == 5


def test_without_data_there_is_no_sampler() -> None:
    assert negative_sampler({}, SimpleNamespace(num=lambda field: 5)) is None


def test_too_few_items_are_told(workplace: Any, made: dict[str, Any]) -> None:
    rows = [(user, item, float(t)) for user in range(3) for t, item in enumerate([1, 1, 2, 3])]
    made["data_path"] = write_log(workplace / "dataset", rows)
    with pytest.raises(UsageError, match=r"^negative_sampling: .*two items") as caught:
        prepare({**made, "loss_type": "SSM", "negative_sampling": "popularity"})
    assert "\n" not in str(caught.value)


@COUNTED
def test_a_stand_in_counts_as_if_it_had_been_drawn(strategy: str) -> None:
    """A batch of one target has no other row, so that any item may stand in, one without interactions too."""
    torch.manual_seed(0)
    draw = sampler_of(strategy, [0, 50, 30, 0, 0])(anchors_of([1]), 40)
    assert draw.log_count is not None
    assert torch.isfinite(draw.log_count).all()
    assert draw.log_count.min() >= math.log(40 / 80) - 1e-9
