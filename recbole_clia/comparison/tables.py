"""A leaderboard as text: for the terminal, as CSV, Markdown and LaTeX.  All show the same numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence

from tabulate import tabulate

from .leaderboard import LEVEL, Board, Entry, PValue, Summary
from .plan import METRICS

HEADERS = (
    *("model", "seeds", "valid NDCG@10", *METRICS, "p (users)", f"{METRICS[0]}, hidden", "p (hidden)"),
    *("s to best", "parameters", "peak MiB"),
)
_NUMERIC = ("valid_NDCG@10", *METRICS, f"hidden_{METRICS[0]}", "seconds_to_best", "seconds")


def spread(summary: Summary, digits: int = 4) -> str:
    """``mean ± deviation``; the mean alone for one seed, and a dash for none."""
    if math.isnan(summary.mean):
        return "-"
    mean = f"{summary.mean:.{digits}f}"
    return mean if math.isnan(summary.deviation) else f"{mean} ± {summary.deviation:.{digits}f}"


def probability(p: float) -> str:
    return "-" if math.isnan(p) else "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def headers(board: Board) -> list[str]:
    """:data:`HEADERS`, and the number of trials where models were tuned."""
    return [*HEADERS, *(["trials"] if board.is_tuned else [])]


def cells(entry: Entry, board: Board) -> list[str]:
    """A model's row under :func:`headers`; a star marks a significant difference from the best baseline."""

    def marked(metric: str) -> str:
        return spread(entry.metrics[metric]) + ("*" if entry.over_seeds[metric].is_significant else "")

    return [
        entry.name,
        str(len(entry.seeds)),
        spread(entry.valid),
        *map(marked, METRICS),
        probability(entry.over_users.corrected),
        spread(entry.hidden),
        probability(entry.hidden_over_users.corrected),
        spread(entry.seconds_to_best, 1),
        f"{entry.parameters:,}",
        f"{entry.peak_mib:,.0f}",
        *([str(entry.tuned.trials) if entry.tuned else "-"] if board.is_tuned else []),
    ]


def notes(board: Board) -> list[str]:
    """What the figures of a board are, in sentences."""
    if not board.entries:
        return ["No run is done."]
    told = [
        f"{board.users:,} test users, the last item of each held out in exact order of time and ranked among all "
        "items; mean ± standard deviation over seeds.",
    ]
    if any(entry.packed for entry in board.entries):
        told.append(
            "packed: RecBole's model, trained on all positions of a window in one pass; the others of RecBole's in its "
            "loop."
        )
    if any(entry.model == "Pop" for entry in board.entries):
        told.append("Pop: RecBole's, with every interaction counted; RecBole counts an item once a batch (#2198).")
    if board.fewer:
        told.append(f"With fewer seeds than other baselines, and so not taken for the best: {', '.join(board.fewer)}.")
    best = ", ".join(f"{model} in {metric}" for metric, model in board.baselines.items())
    if board.is_tested:
        told.append(
            f"Best baselines: {best}. *: different from it at {LEVEL} by a paired t-test over seeds, corrected by "
            "Holm for all models and metrics of the table. p (users): Wilcoxon's signed-rank test over users of the "
            "seeds' mean NDCG@10 against that baseline, corrected by Holm for all models of the table."
        )
    elif not board.baselines:
        told.append("No tests: there is no baseline among the models.")
    else:
        told.append(f"Best baselines: {best}. No tests: they need two models with two seeds in common.")
    if board.users:
        told.append(_on_hidden(board))
    told.append("s to best: training seconds up to the best epoch, evaluation not counted.")
    devices = sorted({device for entry in board.entries for device in entry.devices})
    if len(devices) == 1:
        told.append(f"Trained on: {devices[0]}.")
    elif devices:
        which = "; ".join(f"{entry.name} on {' and '.join(entry.devices)}" for entry in board.entries)
        told.append(f"Trained on different devices, whose seconds and memory do not compare: {which}.")
    rising = [f"{entry.rising} of {len(entry.seeds)} runs of {entry.name}" for entry in board.entries if entry.rising]
    if rising:
        told.append(
            f"Still rising: the last epoch was the best one in {', '.join(rising)}; more training may raise them."
        )
    if board.is_tuned:
        told += _on_tuning(board)
    return told


def _on_hidden(board: Board) -> str:
    repeats = f"the {board.repeats:.1%} of targets that are in the history then count 0."
    against = f" p (hidden): like p (users), of this, against {board.hidden_baseline}."
    return (
        f"{METRICS[0]}, hidden: once the items of a user's history are out of the ranking, as some services and "
        f"papers have it; {repeats if board.repeats else 'no target here is in the history.'}"
        f"{against if board.hidden_baseline and board.is_tested else ''}"
    )


def _on_tuning(board: Board) -> list[str]:
    told = []
    found = next((entry.tuned for entry in board.entries if entry.tuned), None)
    if found:
        told.append(
            f"trials: those of a search of the settings before, on validation alone and with seed {found.seed}, which "
            "is none of the seeds here."
        )
    without = [entry.model for entry in board.entries if entry.tuned is None]
    if without:
        told.append(f"As it is, since there is no search space or all of it is set: {', '.join(without)}.")
    return told


def found_settings(board: Board) -> list[str]:
    """A line for each model that was tuned, in order of their names: its best settings, and the file that has them."""
    told = []
    for entry in sorted(board.entries, key=lambda entry: entry.model):
        if entry.tuned is None:
            continue
        tuned = entry.tuned
        settings = ", ".join(f"{key} {_short(value)}" for key, value in tuned.settings.items())
        parts = [(tuned.given_up, "given up early"), (tuned.untrainable, "that could not be trained")]
        among = ", ".join(f"{number} {what}" for number, what in parts if number)
        trials = "1 trial" if tuned.trials == 1 else f"{tuned.trials} trials"
        told.append(
            f"{entry.model}, best of {trials}{f' ({among})' if among else ''} with {METRICS[0]} {tuned.score:.4f} on "
            f"validation: {settings}; {tuned.file}"
        )
    return told


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def terminal(boards: Sequence[Board]) -> str:
    parts = []
    for board in boards:
        table = tabulate(
            [cells(entry, board) for entry in board.entries],
            headers(board),
            disable_numparse=True,
            colalign=_alignment(board),
        )
        parts.append("\n".join([f"{board.dataset}", table, "", *notes(board), *found_settings(board), *_failed(board)]))
    return "\n\n".join(parts)


def markdown(boards: Sequence[Board]) -> str:
    def bold(text: str) -> str:
        return f"**{text}**"

    parts = []
    for board in boards:
        rows = _emphasised(board, bold)
        table = tabulate(rows, headers(board), "pipe", disable_numparse=True, colalign=_alignment(board))
        told = notes(board) + found_settings(board) + _failed(board)
        parts.append("\n".join([f"## {board.dataset}", "", table, "", *_paragraphs(told)]))
    return "\n".join(["# Leaderboard", "", *parts])


def _paragraphs(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in (line.replace("*:", r"\*:"), "")]


_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "<": "$<$", **{mark: f"\\{mark}" for mark in "&%$#_{}"}}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def latex_escaped(text: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in text)


def latex(boards: Sequence[Board]) -> str:
    """A ``table`` for each dataset, which needs no package; settings that were found and failures are comments."""

    def bold(text: str) -> str:
        return rf"\textbf{{{text}}}"

    parts = []
    for board in boards:
        rows = _emphasised(board, bold, latex_escaped)
        table = tabulate(
            rows,
            [latex_escaped(header) for header in headers(board)],
            "latex_raw",
            disable_numparse=True,
            colalign=_alignment(board),
        )
        caption = latex_escaped(" ".join([f"{board.dataset}.", *notes(board)]))
        more = [f"% {' '.join(line.split())}" for line in found_settings(board) + _failed(board)]
        head = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}"]
        parts.append("\n".join([*head, table, r"\end{table}", *more, ""]))
    return "\n".join(parts)


def _emphasised(
    board: Board, bold: Callable[[str], str], escaped: Callable[[str], str] = lambda text: text
) -> list[list[str]]:
    """The rows with the best mean of each metric in bold."""
    top = {metric: max(entry.metrics[metric].mean for entry in board.entries) for metric in METRICS if board.entries}
    rows = []
    for entry in board.entries:
        row = [escaped(cell) for cell in cells(entry, board)]
        for metric in METRICS:
            if entry.metrics[metric].mean == top[metric]:
                column = HEADERS.index(metric)
                row[column] = bold(row[column])
        rows.append(row)
    return rows


def csv_text(boards: Sequence[Board]) -> str:
    """One line for each model and dataset, in full precision; an empty cell where there is no number."""
    columns = ["dataset", "model", "packed", "seeds", "users"]
    columns += [f"{name} {part}" for name in _NUMERIC for part in ("mean", "sd")]
    columns += [f"{metric} {part}" for metric in METRICS for part in ("best baseline", "p (t)", "p (t, Holm)")]
    columns += [
        "p (users)",
        "p (users, Holm)",
        f"hidden {METRICS[0]} best baseline",
        "p (hidden)",
        "p (hidden, Holm)",
        "targets in the history",
        "parameters",
        "peak_mib",
        "runs best at their end",
        "devices",
        "trials",
        "settings_file",
    ]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for board in boards:
        for entry in board.entries:
            row: list[object] = [board.dataset, entry.model, entry.packed, len(entry.seeds), board.users]
            for summary in (entry.valid, *entry.metrics.values(), entry.hidden, entry.seconds_to_best, entry.seconds):
                row += [_number(summary.mean), _number(summary.deviation)]
            for metric in METRICS:
                row += [board.baselines.get(metric, ""), *_both(entry.over_seeds[metric])]
            row += [*_both(entry.over_users), board.hidden_baseline or "", *_both(entry.hidden_over_users)]
            row += [_number(board.repeats), entry.parameters, _number(entry.peak_mib), entry.rising]
            row.append("; ".join(entry.devices))
            writer.writerow([*row, *((entry.tuned.trials, entry.tuned.file) if entry.tuned else ("", ""))])
    return stream.getvalue()


def _both(test: PValue) -> list[str]:
    return [_number(test.p), _number(test.corrected)]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.8g}"


def _failed(board: Board) -> list[str]:
    return [f"failed: {run}: {sentence}" for run, sentence in board.failed]


def _alignment(board: Board) -> tuple[str, ...] | None:
    # tabulate 0.9 takes no alignment of columns that have no row.
    return ("left", *["right"] * (len(headers(board)) - 1)) if board.entries else None
