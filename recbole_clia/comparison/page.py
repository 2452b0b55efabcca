"""The leaderboard as one HTML file that needs nothing but itself."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .leaderboard import Board, Breakdown, breakdown
from .plan import METRICS
from .tables import HEADERS, cells, found_settings, headers, notes

Looks = Mapping[str, Mapping[str, Any]]  # of the lines of each model

_NAMES = {"history": "interactions before the target", "popularity": "interactions with the target item"}
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.best { font-weight: bold; }
.note { color: #555; font-size: 0.9rem; max-width: 60rem; }
.failed { color: #a00; }
.wide { overflow-x: auto; }
svg { max-width: 100%; height: auto; }
"""


def page(boards: Sequence[Board]) -> str:
    """The whole page."""
    body = "\n".join(_section(board, number) for number, board in enumerate(boards))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Leaderboard</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>Leaderboard</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(board: Board, number: int) -> str:
    parts = [f"<h2>{html.escape(board.dataset)}</h2>"]
    if board.entries:
        top = {metric: max(entry.metrics[metric].mean for entry in board.entries) for metric in METRICS}
        rows = []
        for entry in board.entries:
            best = {HEADERS.index(metric) for metric in METRICS if entry.metrics[metric].mean == top[metric]}
            rows.append(_row(cells(entry, board), "td", best))
        parts.append(_table(_row(headers(board), "th"), rows))
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in notes(board) + found_settings(board)]
    parts += [f'<p class="failed">{html.escape(f"{run}: {sentence}")}</p>' for run, sentence in board.failed]
    if board.entries and board.users:
        found = [breakdown(board, column) for column in _NAMES]
        parts.append(_drawing(board, found, f"board{number}"))
        parts += [_breakdown_table(one) for one in found]
    return "\n".join(parts)


def _table(head: str, rows: Sequence[str]) -> str:
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _row(words: Sequence[str], tag: str, best: set[int] | None = None) -> str:
    marked = best or set()
    inner = "".join(
        f"<{tag}{' class=' + chr(34) + 'best' + chr(34) if place in marked else ''}>{html.escape(word)}</{tag}>"
        for place, word in enumerate(words)
    )
    return f"<tr>{inner}</tr>"


def _breakdown_table(found: Breakdown) -> str:
    head = _row([f"{METRICS[0]} by {_NAMES[found.column]}", *_spans(found)], "th")
    rows = [_row(["users", *(f"{number:,}" for number in found.rows)], "td")]
    rows += [_row([name, *(f"{mean:.4f}" for mean in means)], "td") for name, means in found.means.items()]
    return "<p></p>" + _table(head, rows)


def _spans(found: Breakdown) -> list[str]:
    return [f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in found.bins]


def _drawing(board: Board, found: Sequence[Breakdown], name: str) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 10}):
        figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
        looks = {entry.name: _look(place) for place, entry in enumerate(board.entries)}
        _quality(axes[0, 0], board, looks)
        _curves(axes[0, 1], board, looks)
        for axis, one in zip(axes[1], found, strict=True):
            _bins(axis, one, looks)
        for axis in axes.flat:
            axis.spines[["top", "right"]].set_visible(False)
        lines = [Line2D([], [], label=name, **look) for name, look in looks.items()]
        figure.legend(handles=lines, loc="outside right upper", fontsize=9)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        plt.close(figure)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    # The ids of several drawings share one page.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return re.sub(r'href="#', f'href="#{name}-', svg)


def _look(place: int) -> dict[str, Any]:
    """Ten colours, and then the same ones with other lines and marks."""
    again = place // 10
    return {"color": f"C{place % 10}", "linestyle": ("-", "--", ":")[again % 3], "marker": ("o", "s", "^")[again % 3]}


def _quality(axis: Any, board: Board, looks: Looks) -> None:
    for entry in board.entries:
        seconds, quality = entry.seconds_to_best, entry.metrics[METRICS[0]]
        axis.errorbar(
            [seconds.mean],
            [quality.mean],
            xerr=[np.nan_to_num(seconds.deviation)],
            yerr=[np.nan_to_num(quality.deviation)],
            capsize=2,
            **looks[entry.name],
        )
    axis.set(title="Quality against time", xlabel="training seconds to the best epoch", ylabel=f"test {METRICS[0]}")
    if all(entry.seconds_to_best.mean > 0 for entry in board.entries):
        axis.set_xscale("log")


def _curves(axis: Any, board: Board, looks: Looks) -> None:
    for entry in board.entries:
        for seconds, scores in entry.curves:
            marks = {"markersize": 3, "markevery": 1 if len(seconds) < 2 else max(1, len(seconds) // 8)}
            axis.plot(seconds, scores, linewidth=1, alpha=0.7, **marks, **looks[entry.name])
    axis.set(title="Learning curves, one for each seed", xlabel="training seconds", ylabel=f"validation {METRICS[0]}")


def _bins(axis: Any, found: Breakdown, looks: Looks) -> None:
    place = np.arange(len(found.bins))
    for name, means in found.means.items():
        axis.plot(place, means, **looks[name])
    axis.set_xticks(place, _spans(found))
    axis.set(title=f"By {_NAMES[found.column]}", xlabel=_NAMES[found.column], ylabel=f"test {METRICS[0]}")
