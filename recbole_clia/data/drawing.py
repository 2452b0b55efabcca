"""The distributions of a log, drawn on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .statistics import MOST_DIGITS, SECONDS_OF, Statistics, duration, exact_step, moment

_BAR = "#1f77b4"
_MARK = "#d55e00"  # told from the blue by those who see no red or green, too
_GREY = "0.35"
_TICKS = ("1 us", "1 ms", "1 s", "1 min", "1 h", "1 d", "30 d", "365 d", "3650 d")  # of durations
_WORDS = {"1 d": "1 day", "30 d": "30 days", "365 d": "1 year", "3650 d": "10 years"}
_MOST_POINTS = 400  # of a curve


def draw(found: Statistics, name: str, path: Path) -> None:
    """Write the page as ``path``, an SVG: lengths, popularity, gaps, interactions over time, repeats."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}):
        figure = plt.figure(figsize=(12, 6.6), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
        panels = figure.subplot_mosaic([["lengths", "popularity", "gaps"], ["time", "time", "repeats"]])
        figure.suptitle(
            f"{name}: {found.users:,} users, {found.items:,} items, {found.interactions:,} interactions",
            x=0.01,
            horizontalalignment="left",
        )
        _lengths(panels["lengths"], found)
        _popularity(panels["popularity"], found)
        _gaps(panels["gaps"], found)
        _over_time(panels["time"], found)
        _repeats(panels["repeats"], found)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _lengths(axes: Any, found: Statistics) -> None:
    values, first = np.unique(found.length_of_user, return_index=True)
    some = _some(len(values))
    share = 100 * (1 - first[some] / found.users)
    axes.fill_between(values[some], share, step="pre", color=_BAR, alpha=0.25, linewidth=0)
    axes.step(values[some], share, where="pre", color=_BAR, marker="" if len(values) > 1 else "o")
    axes.set_ylim(0, 105)
    _log_numbers(axes.xaxis, values[0], values[-1])
    _mark(axes, found.lengths.median, f"median {found.lengths.median:,.4g}")
    axes.set(title="History length", xlabel="interactions", ylabel="users with so many or more, %")


def _popularity(axes: Any, found: Statistics) -> None:
    rank = 1 + _some(found.items)
    number = found.number_of_item[rank - 1]
    axes.plot(rank, number, color=_BAR, linewidth=2, marker="" if len(rank) > 1 else "o")
    _log_numbers(axes.xaxis, 1, found.items)
    _log_numbers(axes.yaxis, number[-1], number[0])
    note = f"Gini coefficient {found.gini:.2f}\ntop 10 %: {100 * found.top_10:.0f} % of interactions"
    _note(axes, note, 0.04, 0.05, "left", "bottom")
    axes.set(title="Item popularity", xlabel="rank of the item", ylabel="interactions of the item")


def _gaps(axes: Any, found: Statistics) -> None:
    axes.set(title="Gaps", xlabel="time since the user's previous interaction", ylabel="gaps, %")
    if found.gaps is None:
        _nothing(axes, "every user has one interaction")
        return
    empty = int(np.argmax(found.gap_octaves > 0)) if len(found.gap_octaves) else 0
    share = 100 * found.gap_octaves[empty:] / found.neighbours
    tied = 100 * found.ties / found.neighbours
    left = found.gap_step * 2.0 ** np.arange(empty - 3, empty + len(share))  # the bar of the ties stands apart
    axes.set_xscale("log", base=2)
    axes.bar(left[3:], share, width=0.92 * left[3:], align="edge", color=_BAR)
    axes.bar(left[:1], [tied], width=0.92 * left[0], align="edge", color=_MARK)
    axes.annotate(_percent(tied), (left[0], tied), (0, 3), textcoords="offset points", color=_MARK)
    highest = max(share.max(initial=0), tied)
    axes.set_ylim(0, 1.25 * highest)  # room for the median's words
    if highest > 80:
        axes.set_yticks(range(0, 101, 20))
    axes.set_xlim(left[0] * 0.7, left[-1] * 2.4)
    axes.minorticks_off()
    places, words = _gap_ticks(found, left[0] * 1.41, left[min(3, len(left) - 1)], left[-1] * 2)
    axes.set_xticks([left[0] * 1.41, *places], ["same\ntime", *words])
    if found.gaps.median > 0:
        _mark(axes, found.gaps.median, f"median {duration(found.gaps.median, found.unit)}")


def _gap_ticks(found: Statistics, begin: float, low: float, high: float) -> tuple[list[float], list[str]]:
    """Round durations from ``low`` to ``high``, as far apart from ``begin`` and each other as their words need."""
    if found.unit in SECONDS_OF:
        seconds = float(SECONDS_OF[found.unit])
        places = [float(text.split()[0]) * float(SECONDS_OF[text.split()[1]]) / seconds for text in _TICKS]
        words = [_WORDS.get(text, text) for text in _TICKS]
    else:
        places = [10.0**decade for decade in range(-MOST_DIGITS, 20)]
        words = [f"{place:,.0f}" if place >= 1 else f"{place:g}" for place in places]
    shown = [(begin, "same")]
    for place, word in zip(places, words, strict=True):
        apart = 0.03 + 0.011 * len(word + shown[-1][1])  # as a share of the axis
        if low * 0.99 <= place <= high * 1.01 and place >= shown[-1][0] * (high / begin) ** apart:
            shown.append((place, word))
    return [place for place, _ in shown[1:]], [word for _, word in shown[1:]]


def _over_time(axes: Any, found: Statistics) -> None:
    calendar = found.unit in SECONDS_OF
    edges = [found.bin_start + number * found.bin_width for number in range(len(found.over_time) + 1)]
    if calendar:
        scale = SECONDS_OF[found.unit] * 10**6
        places: Any = np.array([int(edge * scale) for edge in edges], dtype="datetime64[us]")
    else:
        places = np.array([float(edge) for edge in edges])
    axes.stairs(found.over_time, places, fill=True, color=_BAR)
    axes.set_xlim(places[0], places[-1])
    axes.set_ylim(0)
    _plain_numbers(axes.yaxis)
    if calendar:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(maxticks=10)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        _plain_numbers(axes.xaxis)
    begin, end = (moment(time, found.unit, found.resolution) for time in (found.first, found.last))
    axes.set(
        title="Interactions over time",
        xlabel=f"{begin} to {end}",
        ylabel=f"interactions per {exact_step(found.bin_width, found.unit).removeprefix('1 ')}",
    )


def _repeats(axes: Any, found: Statistics) -> None:
    axes.set(title="Repeats")
    if not found.repeats:
        _nothing(axes, "no user has an item twice")
        return
    share = 100 * found.repeat_octaves / found.interactions
    left = 2.0 ** np.arange(len(share))
    axes.set_xscale("log", base=2)
    axes.bar(left, share, width=0.92 * left, align="edge", color=_BAR)
    thin = -(-len(left) // 8)
    axes.set_xticks(left[::thin], [f"{number:,.0f}" for number in left[::thin]])
    axes.minorticks_off()
    axes.set_ylim(0, 1.25 * share.max())
    repeats, immediate = (_percent(100 * n / found.interactions) for n in (found.repeats, found.immediate))
    _note(axes, f"repeats: {repeats} of interactions\nimmediate ones: {immediate}", 0.97, 0.97, "right", "top")
    axes.set(xlabel="interactions since the user last had the item", ylabel="interactions, %")


def _some(count: int) -> Any:
    """At most some hundred positions of ``count``, the closer the nearer to the first; the last is among them."""
    return np.unique(np.geomspace(1, count, min(count, _MOST_POINTS)).round().astype(np.int64)) - 1


def _percent(percent: float) -> str:
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def _log_numbers(axis: Any, least: float, most: float) -> None:
    """A logarithmic axis with ticks such as 1,000, and others between where there are few decades."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_minor_locator(NullLocator())
    if most < 4 * least:
        axis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set_view_interval(0.8 * least, 1.25 * most, ignore=True)
    else:
        between = (1, 2, 5) if most < 60 * least else (1, 3) if most < 1000 * least else (1,)
        axis.set_major_locator(LogLocator(subs=between))
    _plain_numbers(axis)


def _plain_numbers(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _mark(axes: Any, where: float, text: str) -> None:
    """A vertical line with words at its head."""
    axes.axvline(where, color=_GREY, linestyle="--", linewidth=1)
    low, high = axes.get_xlim()
    on_the_right = np.log(where / low) < 0.6 * np.log(high / low)
    axes.annotate(
        text,
        (where, 1),
        (4 if on_the_right else -4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        horizontalalignment="left" if on_the_right else "right",
        verticalalignment="top",
        color=_GREY,
    )


def _note(axes: Any, text: str, x: float, y: float, side: str, level: str, color: str = _GREY) -> None:
    axes.text(x, y, text, transform=axes.transAxes, horizontalalignment=side, verticalalignment=level, color=color)


def _nothing(axes: Any, why: str) -> None:
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_visible(False)
    _note(axes, why, 0.5, 0.5, "center", "center")
