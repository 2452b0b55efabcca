"""Laws of the figures, and of the sentences that they come to."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recbole_clia.diagnosis.figures import (
    Change,
    Counterfactual,
    Diagnosis,
    Difference,
    Label,
    Ranking,
    Spread,
    about_label,
    alpha_by_length,
    nearer_own,
)
from recbole_clia.diagnosis.ranking import Gains
from recbole_clia.diagnosis.verdict import CLEAR, sentences

BRANCHES = ["fusion", "long", "short"]


def flat(value: float, rows: int = 1000, std: float = 0.1) -> Spread:
    return Spread(rows, value, std, *[value] * 5)


def change(ndcg: float, untouched: float, error: float = 0.001) -> Change:
    scale = 1 / untouched if untouched else math.nan
    gap = ndcg - untouched
    return Change(ndcg, untouched, Difference(gap, error), gap * scale, error * scale)


def diagnosis(**other: Any) -> Diagnosis:
    """A model whose branches do different things, neither of them alone."""
    measures = {"alpha": flat(0.4), "long_own": flat(0.6), "long_other": flat(0.2)}
    measures |= {"short_own": flat(0.6), "short_other": flat(0.1)}
    measures |= {"long_entropy": flat(0.8), "short_entropy": flat(0.7)}
    base = {"fusion": 0.1, "long": 0.05, "short": 0.08}
    shuffled = {"fusion": change(0.08, 0.1), "long": change(0.05, 0.05), "short": change(0.06, 0.08)}
    last = {1: 0.5, 3: 0.96, 20: 1.0}
    found = Diagnosis(
        file="saved/made.pth",
        model="CLIA",
        dataset="made",
        seed=0,
        rows=1000,
        of_rows=2000,
        items=500,
        recent_k=3,
        longest=20,
        fixed_alpha=None,
        measures=measures,
        nearer_own={"long": 0.9, "short": 0.8},
        alpha_by_length=[],
        ranking={name: Ranking(1000, ndcg, 0.004, 0.2) for name, ndcg in {**base, "popularity": 0.02}.items()},
        differences={
            f"{one} - {two}": Difference({**base, "popularity": 0.02}[one] - {**base, "popularity": 0.02}[two], 0.004)
            for one in base
            for two in ("long", "short", "popularity")
            if one != two
        },
        counterfactuals=[
            Counterfactual("shuffled", None, 1000, shuffled),
            *(
                Counterfactual("last", kept, 1000, {b: change(part * base[b], base[b]) for b in BRANCHES})
                for kept, part in last.items()
            ),
            Counterfactual("without last", 3, 900, {b: change(0.5 * base[b], base[b]) for b in BRANCHES}),
        ],
        label=None,
        epoch=3,
        epochs=[],
        epochs_file="saved/made.last.pth",
    )
    return replace(found, **other)


def said(found: Diagnosis, words: str) -> list[str]:
    return [line for line in sentences(found) if words in line]


def with_measure(**spreads: Spread) -> Diagnosis:
    return diagnosis(measures={**diagnosis().measures, **spreads})


# --- figures -------------------------------------------------------------------------------


def test_a_spread_is_that_of_the_numbers_there_are() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=101)
    found = Spread.of(np.r_[values, np.nan, np.nan])
    assert found.rows == 101
    assert [found.least, found.median, found.most] == [values.min(), np.median(values), values.max()]
    assert found.mean == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std())
    assert Spread.of(np.full(3, np.nan)).rows == 0
    assert math.isnan(Spread.of(np.zeros(0)).median)


def test_a_difference_has_the_error_of_pairs() -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(size=500)
    other = one - 0.25 + 0.01 * rng.normal(size=500)  # alike row by row, so that the pairs tell far more than the means
    found = Difference.of(one, other)
    assert found.mean == pytest.approx((one - other).mean())
    assert found.error == pytest.approx((one - other).std(ddof=1) / math.sqrt(500))
    assert found.error < 0.05 * math.hypot(one.std(), other.std()) / math.sqrt(500)
    assert math.isnan(Difference.of(one[:1]).error)
    assert math.isnan(Difference.of(one[:0]).mean)


def test_a_change_is_relative_to_the_untouched_rows() -> None:
    before, after = np.array([0.5, 0.0, 1.0, 0.5]), np.array([0.5, 0.5, 0.0, 0.0])
    found = Change.of(after, before)
    assert (found.ndcg, found.untouched, found.relative) == (0.25, 0.5, -0.5)
    assert found.relative_error == pytest.approx(found.difference.error / 0.5)
    assert math.isnan(Change.of(after, np.zeros(4)).relative)


def test_bins_of_length_hold_each_row_once_and_no_length_twice() -> None:
    rng = np.random.default_rng(2)
    length = np.minimum(rng.geometric(0.1, size=1000), 20)
    alpha = rng.random(1000)
    bins = alpha_by_length(alpha, length)
    assert sum(part.alpha.rows for part in bins) == 1000
    assert [(part.least, part.most) for part in bins] == sorted((part.least, part.most) for part in bins)
    for one, other in itertools.pairwise(bins):
        assert one.most < other.least
    for part in bins:
        own = alpha[(length >= part.least) & (length <= part.most)]
        assert part.alpha.median == np.median(own)
        assert part.alpha.rows == len(own)
    assert 4 <= len(bins) <= 8
    (only,) = alpha_by_length(alpha, np.full(1000, 5))
    assert (only.least, only.most, only.alpha.rows) == (5, 5, 1000)


def test_nearer_is_counted_over_the_rows_asked_for() -> None:
    measures = {
        "long_own": np.array([0.9, 0.9, 0.1, 0.9]),
        "long_other": np.array([0.1, 0.1, 0.9, 0.1]),
        "short_own": np.array([0.0, 0.5, 0.5, 0.5]),
        "short_other": np.full(4, 0.4),
    }
    rows = np.array([True, True, True, False])
    assert nearer_own(measures, rows) == {"long": pytest.approx(2 / 3), "short": pytest.approx(2 / 3)}
    assert all(math.isnan(share) for share in nearer_own(measures, np.zeros(4, dtype=bool)).values())


def label_of(label: np.ndarray, alpha: np.ndarray, seed: int = 0) -> Label:
    rng = np.random.default_rng(seed)
    gains = {branch: Gains(rng.random(len(label)), rng.random(len(label))) for branch in BRANCHES}
    return about_label("motive", label, alpha, gains, BRANCHES)


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(3)
    label = rng.random(60) < 0.4
    alpha = rng.integers(5, size=60) / 4 + 0.3 * label  # with ties
    pairs = [(a > b) + 0.5 * (a == b) for a in alpha[label] for b in alpha[~label]]
    found = label_of(label, alpha)
    assert found.auc == pytest.approx(np.mean(pairs))
    assert (found.ones, found.zeros) == (label.sum(), (~label).sum())
    assert found.alpha["1"] == pytest.approx(alpha[label].mean())
    assert label_of(label, label.astype(float)).auc == 1
    assert label_of(label, -label.astype(float)).auc == 0
    assert label_of(label, np.zeros(60)).auc == 0.5
    assert label_of(np.ones(60, dtype=bool), alpha).auc is None


def test_the_error_of_the_auc_is_that_of_an_unrelated_alpha() -> None:
    rng = np.random.default_rng(4)
    label = np.arange(80) < 30
    drawn = [label_of(label, rng.random(80)) for _ in range(200)]
    assert drawn[0].auc_error is not None
    assert np.std([found.auc for found in drawn]) == pytest.approx(drawn[0].auc_error, rel=0.2)


def test_rankings_by_label_are_those_of_its_rows() -> None:
    label = np.array([True, False, True, False, False])
    long, short = Gains(np.arange(5.0), np.ones(5)), Gains(np.full(5, 2.0), np.zeros(5))
    found = about_label("motive", label, np.zeros(5), {"fusion": long, "long": long, "short": short}, BRANCHES)
    assert found.ranking["long"]["1"].ndcg == 1.0
    assert found.ranking["long"]["0"].ndcg == pytest.approx(8 / 3)
    assert found.ranking["short"]["0"].hit == 0
    assert found.long_over_short["1"].mean == -1.0
    assert found.ranking["fusion"]["0"].rows == 3


def test_figures_are_plain_and_what_is_no_number_is_none() -> None:
    found = diagnosis(nearer_own={"long": math.nan, "short": 1.0}, epochs=[{"epoch": 0, "train_loss": math.inf}])
    figures = json.loads(json.dumps(found.figures(), allow_nan=False))
    assert figures["nearer_own"] == {"long": None, "short": 1.0}
    assert figures["epochs"] == [{"epoch": 0, "train_loss": None}]
    assert figures["counterfactuals"][0]["branches"]["short"]["relative"] == pytest.approx(-0.25)
    assert figures["ndcg_and_hit_at"] == 10
    assert "values" not in figures


# --- the verdict ---------------------------------------------------------------------------


def test_a_model_without_faults() -> None:
    assert sentences(diagnosis()) == [
        "The long-term interest is nearer to its own proxy in 90 % of the rows "
        "(mean cosine 0.60, and 0.20 to the other proxy).",
        "The short-term interest is nearer to its own proxy in 80 % of the rows "
        "(mean cosine 0.60, and 0.10 to the other proxy).",
        "The fusion gives the long-term interest a weight of 0.40 on average.",
        "The fusion ranks better than either branch alone (NDCG@10 0.1000 against 0.0800 of the short-term branch).",
        "Shuffling leaves the long-term branch as it is, as it must: it does not see the order.",
        "Shuffling costs the short-term branch 25 % ± 2.5 % of its NDCG@10.",
        "To lose the last 3 items costs the short-term branch 50 % ± 2.5 % of its NDCG@10.",
        "To lose the last 3 items costs the long-term branch 50 % ± 4.0 % of its NDCG@10.",
        "For 95 % of its NDCG@10 the short-term branch needs the last 3 items of a history.",
        "For 95 % of its NDCG@10 the long-term branch needs the last 3 items of a history.",
    ]


@pytest.mark.parametrize(
    ("measure", "without", "with_it", "words"),
    [
        ("long_entropy", 0.94, 0.951, "long-term attention is nearly uniform (entropy 0.95 of its maximum)"),
        ("short_entropy", 0.94, 0.98, "short-term attention is nearly uniform (entropy 0.98 of its maximum)"),
        ("long_entropy", 0.26, 0.25, "long-term attention is on one or two items"),
        ("long_own", 0.94, 0.96, "long-term interest has all but collapsed to its proxy (cosine 0.96)"),
        ("alpha", 0.06, 0.02, "The fusion uses the short-term branch alone (mean alpha 0.02)"),
        ("alpha", 0.94, 0.97, "The fusion uses the long-term branch alone (mean alpha 0.97)"),
    ],
)
def test_a_threshold_divides(measure: str, without: float, with_it: float, words: str) -> None:
    assert said(with_measure(**{measure: flat(with_it)}), words)
    assert not said(with_measure(**{measure: flat(without)}), words)


def test_alpha_that_is_one_number() -> None:
    words = "Alpha hardly differs from history to history"
    assert said(with_measure(alpha=flat(0.4, std=0.01)), words)
    assert not said(with_measure(alpha=flat(0.4, std=0.03)), words)
    fixed = diagnosis(fixed_alpha=0.3)
    assert said(fixed, "Alpha was fixed at 0.3 in training")
    assert not said(fixed, "on average")


def test_interests_that_are_not_told_apart() -> None:
    assert said(diagnosis(nearer_own={"long": 0.4, "short": 0.8}), "long-term interest is not told apart")
    unknown = diagnosis(nearer_own={"long": math.nan, "short": math.nan})
    assert not said(unknown, "proxy")


def test_a_branch_must_be_clearly_above_popularity_to_rank() -> None:
    words = "The long-term branch does not rank by itself"
    for mean, heard in [(CLEAR * 0.004 + 1e-6, False), (CLEAR * 0.004 - 1e-6, True), (-1.0, True)]:
        gaps = {**diagnosis().differences, "long - popularity": Difference(mean, 0.004)}
        assert bool(said(diagnosis(differences=gaps), words)) == heard


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (0.02, "ranks better than either branch alone"),
        (0.001, "does not rank measurably better than the short-term branch alone"),
        (-0.02, "ranks worse than the short-term branch alone"),
    ],
)
def test_the_fusion_is_compared_with_the_better_branch(gap: float, words: str) -> None:
    gaps = {**diagnosis().differences, "fusion - short": Difference(gap, 0.004)}
    assert said(diagnosis(differences=gaps), words)


def test_what_the_rows_cannot_tell_is_not_claimed() -> None:
    shuffled = {"fusion": change(0.1, 0.1), "long": change(0.05, 0.05), "short": change(0.076, 0.08, error=0.01)}
    found = diagnosis(counterfactuals=[Counterfactual("shuffled", None, 30, shuffled)])
    assert said(found, "Shuffling changes the short-term branch by -5.0 % ± 25 %, within the error")
    assert not said(found, "costs")


def test_a_long_branch_that_sees_the_order_is_told() -> None:
    branches = {"fusion": change(0.1, 0.1), "long": change(0.04, 0.05), "short": change(0.06, 0.08)}
    found = diagnosis(counterfactuals=[Counterfactual("shuffled", None, 1000, branches)])
    assert said(found, "changes the long-term branch by -20 %, though it should not see the order")
    found = replace(found, in_order=["repeats", "neighbours"])
    assert said(found, "by -20 %, since its ranking has the repeats and the neighbours beside it, which see the order")


def test_a_branch_that_a_shorter_history_serves_better() -> None:
    better = {"fusion": change(0.1, 0.1), "long": change(0.09, 0.05), "short": change(0.08, 0.08)}
    found = diagnosis()
    found = replace(found, counterfactuals=[*found.counterfactuals, Counterfactual("last", 2, 1000, better)])
    words = "The long-term branch ranks better by the last 2 items alone than by the whole history (NDCG@10 0.0900"
    assert said(found, words)


@pytest.mark.parametrize(
    ("auc", "words"),
    [(0.62, "Alpha is larger where motive is 1"), (0.51, "Alpha does not tell"), (0.3, "the wrong way round")],
)
def test_alpha_and_the_label(auc: float, words: str) -> None:
    ranks = {branch: {key: Ranking(500, 0.1, 0.01, 0.2) for key in "10"} for branch in BRANCHES}
    gaps = {"1": Difference(0.05, 0.01), "0": Difference(0.05, 0.01)}
    label = Label("motive", 500, 500, auc, 0.02, {"1": 0.5, "0": 0.4}, ranks, gaps)
    found = diagnosis(label=label)
    assert said(found, words)
    assert said(found, "Where motive is 1 the long-term branch ranks better, as it should.")
    assert said(found, "Where motive is 0 the long-term branch ranks better, though it should be the other one.")
    assert not said(diagnosis(label=label, fixed_alpha=0.5), words)
    assert said(diagnosis(label=replace(label, auc=None, auc_error=None)), "All rows have the same motive")


def test_nothing_ranked_is_no_fault_of_the_verdict() -> None:
    nothing = {branch: change(0.0, 0.0) for branch in BRANCHES}
    changes = [Counterfactual("shuffled", None, 10, nothing), Counterfactual("without last", 3, 0, nothing)]
    found = diagnosis(counterfactuals=changes)
    assert not said(found, "Shuffling")
    assert not said(found, "To lose")
