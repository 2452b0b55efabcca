"""What the runs of a dataset say together: means, deviations, and tests against the best baseline."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from ..settings.check import MODELS
from .execute import Outcome
from .plan import METRICS, Tuned
from .record import COLUMNS, Rows, device_of, read_rows
from .score import mean_of_users

Floats = NDArray[np.float64]
NAN = float("nan")
LEVEL = 0.05  # below it a corrected p counts as significant
BINS = 5  # of histories and of popularity, by quantiles


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation over seeds, the latter NaN for one seed."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Summary:
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        if not len(known):
            return cls(NAN, NAN)
        return cls(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else NAN)


@dataclass(frozen=True)
class PValue:
    """p of a paired test, and what Holm's correction makes of it; NaN where there is none."""

    p: float = NAN
    corrected: float = NAN

    @property
    def is_significant(self) -> bool:
        return self.corrected < LEVEL


@dataclass(frozen=True)
class Entry:
    """A model on a dataset.

    Attributes:
        seeds: those whose runs are done.
        metrics: each test metric over the seeds.
        over_seeds: paired t-test over seeds of each metric against the best baseline of that metric.
        over_users: Wilcoxon's signed-rank test over users of the seeds' mean NDCG@10, against the best baseline of it.
        hidden: NDCG@10 once the items of the histories are out of the ranking, over the seeds.
        hidden_over_users: like ``over_users``, of ``hidden``.
        seconds_to_best: training seconds up to the best epoch.
        curves: of each seed, training seconds and validation scores.
        rows: mean NDCG@10 over seeds of each user, with ``user``, ``history``, ``popularity``.
        rising: runs of which the last of several epochs was the best one.
        devices: what its runs were trained on.
        tuned: what its settings come from, if they were searched.
    """

    model: str
    packed: bool
    seeds: tuple[int, ...]
    valid: Summary
    metrics: Mapping[str, Summary]
    over_seeds: Mapping[str, PValue]
    over_users: PValue
    hidden: Summary
    hidden_over_users: PValue
    seconds_to_best: Summary
    seconds: Summary
    parameters: int
    peak_mib: float
    curves: Sequence[tuple[Floats, Floats]] = field(repr=False)
    rows: Mapping[str, Any] = field(repr=False)
    rising: int
    devices: tuple[str, ...]
    tuned: Tuned | None = None

    @property
    def name(self) -> str:
        return f"{self.model} (packed)" if self.packed else self.model


@dataclass(frozen=True)
class Board:
    """The leaderboard of a dataset.

    Attributes:
        entries: the best first, by the mean NDCG@10 on test.
        baselines: the baseline of the best mean of each metric, by its metric, among those with the most seeds; none
            without a baseline.
        hidden_baseline: that of NDCG@10 with the histories hidden.
        fewer: baselines with fewer seeds, which are not taken for the best one.
        users: test rows, one a user.
        repeats: part of them whose target is in the history; NaN without a row.
        failed: runs that failed, with their sentences.
        is_tuned: whether the models that can be were tuned first.
    """

    dataset: str
    entries: tuple[Entry, ...]
    baselines: Mapping[str, str]
    hidden_baseline: str | None
    users: int
    repeats: float
    failed: tuple[tuple[str, str], ...]
    fewer: tuple[str, ...] = ()
    is_tuned: bool = False

    @property
    def is_tested(self) -> bool:
        """Whether there is a test: two models need two seeds in common."""
        return any(not np.isnan(entry.over_users.p) for entry in self.entries)


def boards(
    outcomes: Sequence[Outcome], folder: Path, tuned: Mapping[tuple[str, str], Tuned] | None = None
) -> list[Board]:
    """A leaderboard of each dataset, of the runs that are done, in order of the datasets.

    Args:
        outcomes: of all runs.
        folder: where the runs are.
        tuned: what was found for a model and a dataset; ``None`` if nothing was searched.
    """
    return [
        _board(dataset, [outcome for outcome in outcomes if outcome.run.dataset == dataset], folder, tuned)
        for dataset in dict.fromkeys(outcome.run.dataset for outcome in outcomes)
    ]


@dataclass(frozen=True)
class _Runs:
    """The runs of a model, by their seeds."""

    records: Mapping[int, Mapping[str, Any]]
    rows: Mapping[int, Rows]

    def values(self, metric: str, seeds: Sequence[int], of: str = "test") -> Floats:
        return np.array([self.records[seed][of][metric] for seed in seeds], dtype=np.float64)

    def gain(self, seeds: Sequence[int], column: str = "rank") -> dict[int, float]:
        """Mean NDCG@10 over the seeds of each user, by the ranks of a column."""
        return mean_of_users([self.rows[seed] for seed in seeds], column)


def _board(
    dataset: str, outcomes: Sequence[Outcome], folder: Path, tuned: Mapping[tuple[str, str], Tuned] | None
) -> Board:
    done = [outcome for outcome in outcomes if outcome.record["state"] == "done"]
    runs: dict[str, _Runs] = {}
    for model in dict.fromkeys(outcome.run.model for outcome in done):
        own = [outcome for outcome in done if outcome.run.model == model]
        rows = {o.run.seed: read_rows(folder / o.run.folder, o.record["rows_crc"]) for o in own}
        runs[model] = _Runs({o.run.seed: o.record for o in own}, {s: r for s, r in rows.items() if r is not None})
    baselines = [model for model in runs if model not in MODELS]
    seeds = max((len(runs[model].records) for model in baselines), default=0)
    able = [model for model in baselines if len(runs[model].records) == seeds]  # one lucky seed is no mean

    def best_of(metric: str, of: str) -> str:
        return max(able, key=lambda model: runs[model].values(metric, [*runs[model].records], of).mean())

    best = {metric: best_of(metric, "test") for metric in METRICS if baselines}
    best_hidden = best_of(METRICS[0], "hidden") if baselines else None
    over_seeds = _tests_over_seeds(runs, best)
    over_users = _tests_over_users(runs, best.get(METRICS[0]), "rank")
    hidden_over_users = _tests_over_users(runs, best_hidden, "hidden_rank")
    entries = [
        _entry(
            model,
            runs[model],
            over_seeds[model],
            over_users[model],
            hidden_over_users[model],
            (tuned or {}).get((model, dataset)),
        )
        for model in runs
    ]
    entries.sort(key=lambda entry: -entry.metrics[METRICS[0]].mean)
    failed = tuple((str(o.run), o.record["sentence"]) for o in outcomes if o.record["state"] == "failed")
    most = max((rows for own in runs.values() for rows in own.rows.values()), key=len, default=np.zeros((0, 0)))
    users = len(most)
    repeats = float(most[:, COLUMNS.index("repeat")].mean()) if users else NAN
    fewer = tuple(model for model in baselines if model not in able)
    return Board(dataset, tuple(entries), best, best_hidden, users, repeats, failed, fewer, tuned is not None)


def _entry(
    model: str,
    runs: _Runs,
    over_seeds: Mapping[str, PValue],
    over_users: PValue,
    hidden_over_users: PValue,
    tuned: Tuned | None,
) -> Entry:
    records = list(runs.records.values())
    seeds = [*runs.records]
    first = runs.rows[seeds[0]]
    columns: dict[str, Any] = {name: first[:, COLUMNS.index(name)] for name in ("user", "history", "popularity")}
    curves = []
    for record in records:
        points = [(point["train_seconds"], point["valid_score"]) for point in record["curve"]]
        seconds, scores = (
            (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
            if points
            else (
                np.zeros(0),
                np.zeros(0),
            )
        )
        curves.append((seconds, scores))
    return Entry(
        model=model,
        packed=bool(records[0].get("packed")) and model not in MODELS,
        seeds=tuple(seeds),
        valid=Summary.of([record["valid"].get(METRICS[0].lower()) for record in records]),
        metrics={metric: Summary.of(runs.values(metric, seeds)) for metric in METRICS},
        over_seeds=over_seeds,
        over_users=over_users,
        hidden=Summary.of(runs.values(METRICS[0], seeds, "hidden")),
        hidden_over_users=hidden_over_users,
        seconds_to_best=Summary.of([record["seconds_to_best"] for record in records]),
        seconds=Summary.of([record["seconds"] for record in records]),
        parameters=int(records[0]["parameters"]),
        peak_mib=max(float(record["peak_mib"]) for record in records),
        curves=tuple(curves),
        rows={**columns, METRICS[0]: np.array([*runs.gain(seeds).values()])},
        rising=sum(len(scores) > 1 and int(scores.argmax()) == len(scores) - 1 for _, scores in curves),
        devices=tuple(sorted({device_of(record) for record in records})),
        tuned=tuned,
    )


# --- tests ---------------------------------------------------------------------------------


def _tests_over_seeds(runs: Mapping[str, _Runs], best: Mapping[str, str]) -> dict[str, dict[str, PValue]]:
    """All models and metrics of a dataset are one family of comparisons."""
    pairs = [(model, metric) for metric in best for model in runs if model != best[metric]]
    ps = []
    for model, metric in pairs:
        one, other = runs[model], runs[best[metric]]
        common = [seed for seed in one.records if seed in other.records]
        ps.append(paired_t(one.values(metric, common), other.values(metric, common)))
    found: dict[str, dict[str, PValue]] = {model: {metric: PValue() for metric in METRICS} for model in runs}
    for (model, metric), p, corrected in zip(pairs, ps, holm(ps), strict=True):
        found[model][metric] = PValue(p, corrected)
    return found


def _tests_over_users(runs: Mapping[str, _Runs], best: str | None, column: str) -> dict[str, PValue]:
    """By the ranks of a column; all models of a dataset are one family of comparisons."""
    found = {model: PValue() for model in runs}
    others = [model for model in runs if best is not None and model != best]
    ps = []
    for model in others:
        one, other = runs[model], runs[str(best)]
        common = [seed for seed in one.records if seed in other.records]
        if len(common) < 2:
            ps.append(NAN)
            continue
        mine, theirs = one.gain(common, column), other.gain(common, column)
        users = [user for user in mine if user in theirs]
        ps.append(wilcoxon(np.array([mine[u] for u in users]), np.array([theirs[u] for u in users])))
    for model, p, corrected in zip(others, ps, holm(ps), strict=True):
        found[model] = PValue(p, corrected)
    return found


def paired_t(one: Floats, other: Floats) -> float:
    """p of the paired t-test of two samples ``[n]``; 1 if they are equal, NaN below two different differences."""
    if len(one) > 1 and (one == other).all():
        return 1.0
    if len(one) < 2 or np.ptp(one - other) < 1e-12:
        return NAN  # no spread to hold the difference against
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of differences that hardly differ
        return float(scipy.stats.ttest_rel(one, other).pvalue)


def wilcoxon(one: Floats, other: Floats) -> float:
    """p of Wilcoxon's signed-rank test of two samples ``[n]``; 1 if they are equal, NaN if they are empty."""
    if not len(one):
        return NAN
    # Means of the same numbers in another order differ in their last bits, which are no differences, nor untie them.
    difference = (one - other).round(12)
    if not difference.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few pairs, and of ties
        return float(scipy.stats.wilcoxon(difference).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p (Scand. J. Statist. 6, 1979, 65-70); NaN stays out of it."""
    p = np.asarray(ps, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[p[known].argsort(kind="stable")]
    corrected = np.full(len(p), NAN)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(one) for one in corrected]


# --- breakdowns ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Breakdown:
    """Mean NDCG@10 of each model in bins of the test rows.

    Attributes:
        bins: lowest and highest value of each bin, ``[B]``.
        rows: rows of each, ``[B]``.
        means: by model, ``[B]``.
    """

    column: str
    bins: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    means: Mapping[str, Floats]


def breakdown(board: Board, column: str, bins: int = BINS) -> Breakdown:
    """By ``history`` or ``popularity``, in bins of about as many rows; fewer where many rows have one value."""
    values = board.entries[0].rows[column]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    place = np.searchsorted(edges, values, side="left")
    present = np.unique(place)
    means = {}
    for entry in board.entries:
        own = np.searchsorted(edges, entry.rows[column], side="left")
        gain = entry.rows[METRICS[0]]
        means[entry.name] = np.array([gain[own == one].mean() if (own == one).any() else NAN for one in present])
    spans = tuple((int(values[place == one].min()), int(values[place == one].max())) for one in present)
    return Breakdown(column, spans, tuple(int((place == one).sum()) for one in present), means)
