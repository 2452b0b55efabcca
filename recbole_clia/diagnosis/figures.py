"""The figures of a diagnosis, and how a sample becomes one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranking import CUT, Gains

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LENGTH_BINS = 8


@dataclass(frozen=True)
class Spread:
    """How the values of the rows that have one are spread."""

    rows: int
    mean: float
    std: float
    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Of the values that are numbers; NaN throughout if there is none."""
        values = values[~np.isnan(values)]
        if not len(values):
            return cls(0, *[math.nan] * 7)
        five = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        return cls(len(values), float(values.mean()), float(values.std()), *map(float, five))


@dataclass(frozen=True)
class LengthBin:
    """Alpha of the histories of ``least`` to ``most`` items."""

    least: int
    most: int
    alpha: Spread


@dataclass(frozen=True)
class Difference:
    """A mean over rows of the difference of two figures of each, and its standard error; rows count as independent."""

    mean: float
    error: float

    @classmethod
    def of(cls, one: Floats, other: Floats | float = 0.0) -> Difference:
        gap = one - other
        if not len(gap):
            return cls(math.nan, math.nan)
        error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else math.nan
        return cls(float(gap.mean()), error)


@dataclass(frozen=True)
class Ranking:
    """NDCG@10 of some rows, its standard error, and Hit@10."""

    rows: int
    ndcg: float
    ndcg_error: float
    hit: float

    @classmethod
    def of(cls, gains: Gains, rows: Bools | slice = slice(None)) -> Ranking:
        ndcg, hit = gains.ndcg[rows], gains.hit[rows]
        found = Difference.of(ndcg)
        return cls(len(ndcg), found.mean, found.error, float(hit.mean()) if len(hit) else math.nan)


@dataclass(frozen=True)
class Change:
    """NDCG@10 of a branch on changed histories, against that of the same rows untouched.

    ``relative`` is the difference over the untouched value, ``relative_error`` its standard error; NaN where nothing
    was ranked among the first ten before.
    """

    ndcg: float
    untouched: float
    difference: Difference
    relative: float
    relative_error: float

    @classmethod
    def of(cls, changed: Floats, untouched: Floats) -> Change:
        gap = Difference.of(changed, untouched)
        now, before = (float(values.mean()) if len(values) else math.nan for values in (changed, untouched))
        scale = 1 / before if before > 0 else math.nan
        return cls(now, before, gap, gap.mean * scale, gap.error * scale)


@dataclass(frozen=True)
class Counterfactual:
    """What became of the histories, on how many rows, and of NDCG@10 of each branch.

    Attributes:
        kind: ``"shuffled"``, ``"last"`` (only the last ``items`` are left) or ``"without last"`` (they are left out).
        items: how many; ``None`` for ``"shuffled"``.
        rows: all; for ``"without last"`` those whose history is longer.
    """

    kind: str
    items: int | None
    rows: int
    branches: dict[str, Change]


@dataclass(frozen=True)
class Label:
    """What alpha and the branches have to do with a column of 0 and 1 of the rows' own interactions.

    Attributes:
        field: the column.
        ones, zeros: rows with a 1 and with a 0.
        auc: ROC AUC of alpha against it, the share of pairs of a 1 and a 0 in which the 1 has the larger alpha;
            ``None`` where all rows have the same label.
        auc_error: standard error that the AUC of an unrelated alpha has.
        alpha: its mean for ``"1"`` and ``"0"``.
        ranking: of each branch, for ``"1"`` and ``"0"``.
        long_over_short: NDCG@10 of the long-term branch over that of the short-term one, for ``"1"`` and ``"0"``.
    """

    field: str
    ones: int
    zeros: int
    auc: float | None
    auc_error: float | None
    alpha: dict[str, float]
    ranking: dict[str, dict[str, Ranking]]
    long_over_short: dict[str, Difference]


@dataclass(frozen=True)
class Values:
    """What each measured row has, for drawing; ``[N]`` each."""

    measures: dict[str, Floats]
    label: Bools | None


@dataclass(frozen=True)
class Diagnosis:
    """What a trained model does inside.

    Attributes:
        file, model, dataset: of the model, as they were named.
        seed: of the shuffles.
        rows, of_rows: test rows measured, and all there are.
        items: among which each row's own item was ranked.
        recent_k: items of the proxy of the short-term interest.
        longest: items of the longest history measured.
        fixed_alpha: the weight that the model was trained with in place of an adaptive one.
        measures: spread of each of :class:`~recbole_clia.diagnosis.measures.Measures`.
        nearer_own: of the rows with more than ``recent_k`` items, the share in which an interest is nearer to its own
            proxy than to the other one, for ``"long"`` and ``"short"``; the proxies of shorter histories are equal.
        alpha_by_length: alpha of the shortest eighth of the histories to the longest.
        ranking: of each branch and of ``"popularity"``, the interactions of an item in the training data.
        differences: of NDCG@10, such as ``"fusion - short"``.
        counterfactuals: see :class:`Counterfactual`.
        label: of the rows, if there is one.
        epoch: the epoch whose weights these are, from 0; ``None`` if the file does not tell.
        epochs: what the trainer has recorded of each, from the file ``epochs_file``.
        in_order: what each branch is ranked with and that sees the order of a history: ``"repeats"``,
            ``"trend"``, ``"neighbours"``.
        verdict: what the figures come to, in sentences.
        values: what each row has; not among the :meth:`figures`.
    """

    file: str
    model: str
    dataset: str
    seed: int
    rows: int
    of_rows: int
    items: int
    recent_k: int
    longest: int
    fixed_alpha: float | None
    measures: dict[str, Spread]
    nearer_own: dict[str, float]
    alpha_by_length: list[LengthBin]
    ranking: dict[str, Ranking]
    differences: dict[str, Difference]
    counterfactuals: list[Counterfactual]
    label: Label | None
    epoch: int | None
    epochs: list[dict[str, Any]]
    epochs_file: str
    in_order: list[str] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)
    values: Values = field(default_factory=lambda: Values({}, None), repr=False, compare=False)

    def figures(self) -> dict[str, Any]:
        """All figures as plain data for JSON; what is no number is ``None``."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "values"}
        return {"ndcg_and_hit_at": CUT, **{name: _plain(value) for name, value in shown.items()}}

    def changes(self, kind: str) -> list[Counterfactual]:
        """The counterfactuals of one kind."""
        return [found for found in self.counterfactuals if found.kind == kind]


def alpha_by_length(alpha: Floats, length: NDArray[np.int64]) -> list[LengthBin]:
    """Alpha of histories of similar length, in bins of about as many rows each; one length is never in two bins."""
    last = np.unique(np.quantile(length, np.arange(1, _LENGTH_BINS + 1) / _LENGTH_BINS, method="inverted_cdf"))
    of_row = np.searchsorted(last, length)
    bins = []
    for number in range(len(last)):
        own = of_row == number
        bins.append(LengthBin(int(length[own].min()), int(length[own].max()), Spread.of(alpha[own])))
    return bins


def nearer_own(measures: Mapping[str, Floats], rows: Bools) -> dict[str, float]:
    """Share of ``rows [N]`` in which an interest is nearer to its own proxy than to the other one."""
    return {
        kind: float((measures[f"{kind}_own"] > measures[f"{kind}_other"])[rows].mean()) if rows.any() else math.nan
        for kind in ("long", "short")
    }


def about_label(name: str, label: Bools, alpha: Floats, gains: Mapping[str, Gains], branches: Sequence[str]) -> Label:
    """What alpha ``[N]`` and the branches have to do with a label ``[N]``."""
    from sklearn.metrics import roc_auc_score

    ones, zeros = int(label.sum()), int((~label).sum())
    of = {"1": label, "0": ~label}
    both = ones > 0 and zeros > 0
    return Label(
        field=name,
        ones=ones,
        zeros=zeros,
        auc=float(roc_auc_score(label.astype(int), alpha)) if both else None,
        # Of the Mann-Whitney statistic without a relation.
        auc_error=math.sqrt((ones + zeros + 1) / (12 * ones * zeros)) if both else None,
        alpha={key: Spread.of(alpha[rows]).mean for key, rows in of.items()},
        ranking={branch: {key: Ranking.of(gains[branch], rows) for key, rows in of.items()} for branch in branches},
        long_over_short={
            key: Difference.of(gains["long"].ndcg[rows], gains["short"].ndcg[rows]) for key, rows in of.items()
        },
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
