"""A diagnosis, drawn on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figures import Counterfactual, Diagnosis
from .ranking import CUT

TITLES = {
    "alpha": "Alpha: the weight of the long-term interest",
    "length": "Alpha and the length of the history",
    "ranking": "How well each branch ranks",
    "cosines": "How near the interests are to the proxies",
    "entropies": "How evenly the attention is spread",
    "epochs": "From epoch to epoch",
    "recent": "If only the last items of the history are left",
    "changes": "What a changed history costs",
}

# Told from each other by those who see no red or green, too.
_LONG, _SHORT, _BOTH = "#1f77b4", "#d55e00", "0.25"
_GREY = "0.35"
_BRANCHES = {
    "fusion": ("fusion", _BOTH, "o", "-"),
    "long": ("long-term alone", _LONG, "^", "--"),
    "short": ("short-term alone", _SHORT, "s", "-."),
}
_ERRORS = 2.0  # standard errors that whiskers show
_METRIC = f"NDCG@{CUT}"
_LAYOUT: Any = [["alpha", "length", "ranking"], ["cosines", "entropies", "epochs"], ["recent", "recent", "changes"]]


def draw(found: Diagnosis, path: Path) -> None:
    """Write the page as ``path``, an SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "svg.hashsalt": found.model,  # the same page for the same figures
    }
    with plt.rc_context(style):
        figure = plt.figure(figsize=(14, 10.5), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
        panels = figure.subplot_mosaic(_LAYOUT)
        figure.suptitle(
            f"{found.model} on {found.dataset}: {found.rows:,} of {found.of_rows:,} test rows, "
            f"each ranked among {found.items:,} items",
            x=0.01,
            horizontalalignment="left",
        )
        for name, panel in {
            "alpha": _alpha,
            "length": _length,
            "ranking": _ranking,
            "cosines": _cosines,
            "entropies": _entropies,
            "epochs": _epochs,
            "recent": _recent,
            "changes": _changes,
        }.items():
            panels[name].set_title(TITLES[name])
            panel(panels[name], found)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _alpha(axes: Any, found: Diagnosis) -> None:
    alpha, label = found.values.measures["alpha"], found.values.label
    edges = np.linspace(0, 1, 26)
    parts = [(alpha, "all rows", _BOTH, "-")]
    if label is not None and found.label is not None:
        named = [(f"{found.label.field} 1", label, _LONG, "-"), (f"{found.label.field} 0", ~label, _SHORT, "--")]
        parts = [(alpha[rows], name, color, line) for name, rows, color, line in named if rows.any()]
    for values, name, color, line in parts:
        share = 100 * np.histogram(values, edges)[0] / len(values)
        axes.stairs(share, edges, fill=True, color=color, alpha=0.25)
        axes.stairs(share, edges, color=color, linestyle=line, linewidth=1.5, label=f"{name}, mean {values.mean():.2f}")
    if found.label is not None and found.label.auc is not None:
        axes.plot([], [], " ", label=f"ROC AUC {found.label.auc:.3f}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.3 * _top(axes))
    _legend(axes)
    axes.set(xlabel="alpha: 0 short-term alone, 1 long-term alone", ylabel="rows, %")


def _length(axes: Any, found: Diagnosis) -> None:
    bins = found.alpha_by_length
    place = np.arange(len(bins))
    _boxes(axes, [part.alpha for part in bins], place, [_BOTH] * len(bins))
    words = [f"{part.least:,}" if part.least == part.most else f"{part.least:,}\nto {part.most:,}" for part in bins]
    axes.set_xticks(place, words)
    axes.set_ylim(-0.02, 1.02)
    axes.set(xlabel="items in the history; boxes: quartiles", ylabel="alpha")


def _ranking(axes: Any, found: Diagnosis) -> None:
    groups: list[tuple[str, dict[str, Any]]] = [("all rows", {name: found.ranking[name] for name in _BRANCHES})]
    if found.label is not None:
        for key, rows in (("1", found.label.ones), ("0", found.label.zeros)):
            if rows:
                name = f"{found.label.field} {key}"
                groups.append((name, {branch: of[key] for branch, of in found.label.ranking.items()}))
    for number, (branch, (name, color, _, _)) in enumerate(_BRANCHES.items()):
        place = np.arange(len(groups)) + 0.27 * (number - 1)
        height = np.array([of[branch].ndcg for _, of in groups])
        error = np.array([_ERRORS * of[branch].ndcg_error for _, of in groups])
        axes.bar(place, height, width=0.25, color=color, label=name, alpha=0.85)
        _whiskers(axes, place, height, error)
        for x, y, up in zip(place, height, np.nan_to_num(error), strict=True):
            words = f"{y:.3f}".removeprefix("0")
            axes.annotate(words, (x, y + up), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=9)
    popular = found.ranking["popularity"].ndcg
    axes.axhline(popular, color=_GREY, linestyle=":", linewidth=1.2, label="by popularity, all rows")
    axes.set_xticks(range(len(groups)), [name for name, _ in groups])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(0, 1.45 * _top(axes))
    _legend(axes, ncols=2)
    axes.set(xlabel="whiskers: two standard errors", ylabel=_METRIC)


def _cosines(axes: Any, found: Diagnosis) -> None:
    shown = {
        "long_own": ("long,\nown", _LONG),
        "long_other": ("long,\nother", _LONG),
        "short_own": ("short,\nown", _SHORT),
        "short_other": ("short,\nother", _SHORT),
    }
    _violins(axes, {words: (found.values.measures[name], color) for name, (words, color) in shown.items()})
    axes.axhline(0, color=_GREY, linewidth=0.8)
    axes.set_ylim(top=1.0)
    axes.set(xlabel="interest, the proxy it is compared with, and the median", ylabel="cosine")


def _entropies(axes: Any, found: Diagnosis) -> None:
    samples = {}
    for kind, color in (("long", _LONG), ("short", _SHORT)):
        values = found.values.measures[f"{kind}_entropy"]
        samples[f"{kind}-term"] = (values[~np.isnan(values)], color)
    if not all(len(values) for values, _ in samples.values()):
        _nothing(axes, "no history has two items")
        return
    _violins(axes, samples)
    axes.set_ylim(0, 1.02)
    axes.set(xlabel="attention, and the median", ylabel="entropy: 0 one item, 1 all alike")


def _epochs(axes: Any, found: Diagnosis) -> None:
    epochs = [epoch for epoch in found.epochs if epoch.get("diagnosis")]
    if not epochs:
        _nothing(axes, "no epoch was measured in training\n(see diagnosis_rows)")
        return
    number = [epoch["epoch"] + 1 for epoch in epochs]
    shown = [
        ("alpha", "alpha", _BOTH, "-"),
        ("long_own", "cosine, long and own proxy", _LONG, "-"),
        ("short_own", "cosine, short and own proxy", _SHORT, "-"),
        ("long_entropy", "entropy, long", _LONG, ":"),
        ("short_entropy", "entropy, short", _SHORT, ":"),
    ]
    marker = "o" if len(epochs) == 1 else ""
    for name, words, color, line in shown:
        values = [epoch["diagnosis"].get(name, np.nan) for epoch in epochs]
        axes.plot(number, values, color=color, linestyle=line, marker=marker, linewidth=1.8, label=words)
    if found.epoch is not None:
        axes.axvline(found.epoch + 1, color=_GREY, linestyle="--", linewidth=1, label="this model")
    low, _ = axes.get_ylim()
    axes.set_ylim(min(0.0, low), 1.75)  # room for the legend
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1] if low >= -0.1 else [-0.5, 0, 0.5, 1])
    axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(axes, ncols=2, fontsize=8)
    axes.set(xlabel="epoch", ylabel="mean over validation rows")


def _recent(axes: Any, found: Diagnosis) -> None:
    kept = found.changes("last")
    number = [change.items for change in kept]
    for branch, (name, color, marker, line) in _BRANCHES.items():
        value = np.array([change.branches[branch].ndcg for change in kept])
        axes.plot(number, value, color=color, marker=marker, linestyle=line, linewidth=1.8, label=name)
    axes.axhline(found.ranking["popularity"].ndcg, color=_GREY, linestyle=":", linewidth=1.2, label="by popularity")
    if len(number) > 1:
        axes.set_xscale("log")
        axes.minorticks_off()
    words = [f"{count:,}" for count in number]
    words[-1] = f"all\n(≤ {words[-1]})"
    axes.set_xticks(number, words)
    axes.set_ylim(0, 1.25 * _top(axes))
    _legend(axes, ncols=4)
    axes.set(xlabel="last items that are left", ylabel=_METRIC)


def _changes(axes: Any, found: Diagnosis) -> None:
    changes: list[tuple[str, Counterfactual]] = [("items\nshuffled", found.changes("shuffled")[0])]
    for without in found.changes("without last"):
        if without.rows:
            changes.append((f"last {without.items}\nleft out", without))
    for number, (branch, (name, color, _, _)) in enumerate(_BRANCHES.items()):
        place = np.arange(len(changes)) + 0.27 * (number - 1)
        height = 100 * np.array([change.branches[branch].relative for _, change in changes])
        error = 100 * _ERRORS * np.array([change.branches[branch].relative_error for _, change in changes])
        axes.bar(place, np.nan_to_num(height), width=0.25, color=color, label=name, alpha=0.85)
        _whiskers(axes, place, height, error)
        for x, y, up in zip(place, height, np.nan_to_num(error), strict=True):
            down = y < 0
            where = (y - up, -3, "top") if down else (y + up, 3, "bottom")
            words = "?" if np.isnan(y) else f"{y:+.0f} %".replace("-", "\N{MINUS SIGN}") if round(y) else "0 %"
            height_of_words = 0.0 if np.isnan(y) else where[0]
            axes.annotate(
                words,
                (x, height_of_words),
                (0, where[1]),
                textcoords="offset points",
                ha="center",
                va=where[2],
                fontsize=9,
            )
    axes.axhline(0, color=_GREY, linewidth=0.8)
    axes.set_xticks(range(len(changes)), [name for name, _ in changes])
    axes.set_xlim(-0.6, len(changes) - 0.4)
    low, high = axes.get_ylim()
    room = 0.15 * max(high - low, 1.0)
    axes.set_ylim(low - room, max(high, 0) + 3.5 * room)
    _legend(axes, ncols=2)
    axes.set(xlabel="whiskers: two standard errors", ylabel=f"change of {_METRIC}, %")


# --- parts of panels -----------------------------------------------------------------------


def _boxes(axes: Any, spreads: Sequence[Any], place: Any, colors: Sequence[str]) -> None:
    """Quartiles, and the reach of what lies within 1.5 times their range."""
    stats = []
    for spread in spreads:
        reach = 1.5 * (spread.three_quarters - spread.quarter)
        stats.append(
            {
                "med": spread.median,
                "q1": spread.quarter,
                "q3": spread.three_quarters,
                "whislo": max(spread.least, spread.quarter - reach),
                "whishi": min(spread.most, spread.three_quarters + reach),
                "fliers": [],
            }
        )
    drawn = axes.bxp(stats, positions=place, widths=0.6, patch_artist=True, showfliers=False, manage_ticks=False)
    for box, median, color in zip(drawn["boxes"], drawn["medians"], colors, strict=True):
        box.set(facecolor=color, alpha=0.3, edgecolor=color)
        median.set(color=color, linewidth=2)


def _violins(axes: Any, samples: Mapping[str, tuple[Any, str]]) -> None:
    """The shape of each sample with its quartiles; a sample of one value is a line."""
    words = []
    for place, (name, (values, color)) in enumerate(samples.items()):
        five = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        if five[4] - five[0] > 1e-6:
            (body,) = axes.violinplot(values, [place], widths=0.8, showextrema=False)["bodies"]
            body.set(facecolor=color, edgecolor=color, alpha=0.3)
        axes.vlines(place, five[1], five[3], color=color, linewidth=5)
        axes.hlines(five[2], place - 0.25, place + 0.25, color=color, linewidth=2)
        words.append(f"{name}\n{five[2]:.2f}".replace("-0.00", "0.00"))
    axes.set_xticks(range(len(samples)), words)
    axes.set_xlim(-0.6, len(samples) - 0.4)


def _whiskers(axes: Any, place: Any, height: Any, error: Any) -> None:
    known = ~np.isnan(height) & ~np.isnan(error)
    axes.errorbar(place[known], height[known], error[known], fmt="none", ecolor="black", elinewidth=1, capsize=2)


def _top(axes: Any) -> float:
    return max(float(axes.dataLim.y1), 1e-6)


def _legend(axes: Any, **how: Any) -> None:
    axes.legend(**{"loc": "upper left", "fontsize": 9, "handlelength": 1.8, "columnspacing": 1.2, **how})


def _nothing(axes: Any, why: str) -> None:
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=_GREY)
