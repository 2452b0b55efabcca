"""Measure a trained model on the test rows of its data."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from tqdm import tqdm

from ..errors import UsageError
from ..running.trainer import read_checkpoint
from .figures import (
    Bools,
    Change,
    Counterfactual,
    Diagnosis,
    Difference,
    Floats,
    Ranking,
    Spread,
    Values,
    about_label,
    alpha_by_length,
    nearer_own,
)
from .histories import last_items, random_orders, reordered, without_last_items
from .loading import Loaded, load, values_of
from .measures import Measures
from .ranking import Gains, gains, place
from .verdict import sentences

BRANCHES: dict[str, float | None] = {"fusion": None, "long": 1.0, "short": 0.0}  # and the alpha of each

_FEW = (1, 2, 3, 5)  # last items that are kept, and then these tens, hundreds ...
_ROWS_AT_ONCE = 256
_SCORES_AT_ONCE = 1 << 24


def diagnose(
    path: str,
    rows: int = 2000,
    label: str | None = None,
    seed: int = 0,
    config_dict: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """Measure what a trained CLIA or CLSR does inside.

    Measured are the interests, their proxies, the attention and alpha of each row; how the fusion and each branch alone
    rank the row's own item among all; how they rank once the history is shuffled or cut (the counterfactual evaluation
    of Zheng et al., WWW 2022, arXiv 2202.13090); and what alpha has to do with a column of labels.  The random states
    of torch, NumPy and Python are what they were before.

    Args:
        path: file of a model, as a run has written it; a ``*.last.pth`` beside it gives the figures of all epochs.
        rows: most test rows that are measured, evenly spaced over all.
        label: column of the log that is 1 where the long-term interest should decide and 0 where the short-term one
            should; ``"motive"`` by default, if there is one; ``""`` for none.
        seed: of the shuffles, not negative.
        config_dict: settings of the data that are others than when the model was trained, such as ``data_path``.

    Raises:
        UsageError: if the file is missing, damaged or of another model, the data are gone or have changed, or the label
            is not 0 and 1.
    """
    if rows < 1:
        raise UsageError(f"rows must be at least 1, not {rows}")
    if seed < 0:
        raise UsageError(f"seed must be at least 0, not {seed}")
    with _random_states_kept(), torch.no_grad():
        return _diagnose(load(path, label, dict(config_dict or {})), path, rows, seed)


class _Measured(NamedTuple):
    """What was measured of N rows; branches are those of :data:`BRANCHES`."""

    length: NDArray[np.int64]  # [N]
    item: NDArray[np.int64]  # [N]
    label: Bools | None  # [N]
    measures: dict[str, Floats]  # [N] each
    untouched: _Record
    shuffled: _Record
    last: dict[int, _Record]  # by the number of items that are left
    without_last: _Record


def _diagnose(loaded: Loaded, path: str, rows: int, seed: int) -> Diagnosis:
    config = loaded.config
    of_rows, number = len(loaded.test), min(rows, len(loaded.test))
    recent_k = int(config["contrastive_recent_k"])
    found = _measure(loaded, np.arange(number) * of_rows // number, seed, recent_k)
    alpha, longest = found.measures["alpha"], int(found.length.max())
    every, longer = np.ones(number, dtype=bool), found.length > recent_k
    ranked = {**found.untouched.gains, "popularity": _by_popularity(loaded.popularity, found.item)}
    counterfactuals = [found.shuffled.against(found.untouched, "shuffled", None, every)]
    counterfactuals += [record.against(found.untouched, "last", kept, every) for kept, record in found.last.items()]
    counterfactuals.append(found.untouched.against(found.untouched, "last", longest, every))
    counterfactuals.append(found.without_last.against(found.untouched, "without last", recent_k, longer))
    label = None
    if loaded.label is not None and found.label is not None:
        label = about_label(loaded.label, found.label, alpha, ranked, list(BRANCHES))
    epochs, epochs_file = _epochs(path, loaded.checkpoint)
    diagnosis = Diagnosis(
        file=path,
        model=config["model"],
        dataset=config["dataset"],
        seed=seed,
        rows=number,
        of_rows=of_rows,
        items=loaded.model.n_items - 1,
        recent_k=recent_k,
        longest=longest,
        fixed_alpha=config["fixed_alpha" if config["model"] == "CLIA" else "manual_alpha"],
        measures={name: Spread.of(values) for name, values in found.measures.items()},
        nearer_own=nearer_own(found.measures, longer),
        alpha_by_length=alpha_by_length(alpha, found.length),
        ranking={name: Ranking.of(of) for name, of in ranked.items()},
        differences=_differences(ranked),
        counterfactuals=counterfactuals,
        label=label,
        epoch=loaded.checkpoint.get("epoch"),
        epochs=epochs,
        epochs_file=epochs_file,
        in_order=[part for part in ("repeats", "trend", "neighbours") if config["model"] == "CLIA" and config[part]],
        values=Values(found.measures, found.label),
    )
    return replace(diagnosis, verdict=sentences(diagnosis))


def _measure(loaded: Loaded, chosen: NDArray[np.int64], seed: int, recent_k: int) -> _Measured:
    """Measure the test rows with the numbers ``chosen [N]``, a batch at a time."""
    model, test, config = loaded.model, loaded.test, loaded.config
    length = np.asarray(test.inter_feat[model.ITEM_SEQ_LEN][torch.from_numpy(chosen)], dtype=np.int64)  # [N]
    kept = list(_round_numbers(int(length.max()) - 1))
    untouched, shuffled, without = (_Record(len(chosen)) for _ in range(3))
    last = {number: _Record(len(chosen)) for number in kept}
    parts: list[Measures] = []
    items, labels = [], []
    at_once = max(1, min(_ROWS_AT_ONCE, _SCORES_AT_ONCE // model.n_items))
    passes = 2 * len(chosen) + sum(int((length > number).sum()) for number in (*kept, recent_k))
    with tqdm(
        desc="ranking",
        total=len(BRANCHES) * passes,
        unit="row",
        unit_scale=True,
        leave=False,
        disable=not config["show_progress"],
    ) as bar:
        for begin in range(0, len(chosen), at_once):
            where = np.arange(begin, min(begin + at_once, len(chosen)))
            batch = test[chosen[where]]
            items.append(batch[model.ITEM_ID].numpy())
            if loaded.label is not None:
                labels.append(values_of(test, loaded.label, batch[loaded.label].numpy()) == 1)
            batch = batch.to(config["device"])
            parts.append(Measures(*(values.double().cpu() for values in model.measure(batch))))
            lists = [name for name in batch.interaction if _is_history(name, batch, config["LIST_SUFFIX"])]
            order = random_orders(length[where], batch[model.ITEM_SEQ].shape[1], seed, chosen[where])

            untouched.put(where, _gains(model, batch, bar))
            shuffled.put(where, _gains(model, reordered(batch, model.ITEM_SEQ, order), bar))
            for number, record in last.items():
                record.put(where, untouched.rows(where))  # nothing is cut off the short ones
                longer = where[length[where] > number]
                if len(longer):
                    part = last_items(batch[longer - begin], lists, model.ITEM_SEQ_LEN, number)
                    record.put(longer, _gains(model, part, bar))
            longer = where[length[where] > recent_k]
            if len(longer):
                part = without_last_items(batch[longer - begin], lists, model.ITEM_SEQ_LEN, recent_k)
                without.put(longer, _gains(model, part, bar))
    joined = Measures(*(torch.cat(values) for values in zip(*parts, strict=True)))
    return _Measured(
        length,
        np.concatenate(items),
        np.concatenate(labels) if labels else None,
        {name: values.numpy() for name, values in joined._asdict().items()},
        untouched,
        shuffled,
        last,
        without,
    )


def _gains(model: Any, batch: Interaction, bar: Any) -> dict[str, Gains]:
    """What the place of each row's own item is worth, by the fusion and by each branch alone."""
    found = {}
    for branch, alpha in BRANCHES.items():
        with nullcontext() if alpha is None else model.fixed_alpha(alpha):
            scores = model.full_sort_predict(batch)  # [B, I]
        try:
            found[branch] = gains(*place(scores, batch[model.ITEM_ID]))
        except FloatingPointError as error:
            raise UsageError(f"diagnose: the model cannot rank, because {error} ({branch}); it has diverged") from error
        bar.update(len(batch))
    return found


class _Record:
    """NDCG@10 and Hit@10 of each row under each branch."""

    def __init__(self, rows: int) -> None:
        self.gains = {branch: Gains(np.full(rows, np.nan), np.full(rows, np.nan)) for branch in BRANCHES}

    def put(self, where: NDArray[np.int64], found: Mapping[str, Gains]) -> None:
        for branch, of_rows in found.items():
            for mine, theirs in zip(self.gains[branch], of_rows, strict=True):
                mine[where] = theirs

    def rows(self, where: NDArray[np.int64]) -> dict[str, Gains]:
        return {branch: Gains(*(values[where] for values in found)) for branch, found in self.gains.items()}

    def against(self, other: _Record, kind: str, items: int | None, rows: Bools) -> Counterfactual:
        changes = {b: Change.of(self.gains[b].ndcg[rows], other.gains[b].ndcg[rows]) for b in BRANCHES}
        return Counterfactual(kind, items, int(rows.sum()), changes)


def _by_popularity(popularity: Floats, item: NDArray[np.int64]) -> Gains:
    """What one ranking for all rows is worth, of items ``[I]`` by popularity, where each row's own is ``item [N]``."""
    distinct, of_row = np.unique(item, return_inverse=True)
    scores, own = popularity[1:], popularity[distinct]
    ordered = np.sort(scores)
    above = len(ordered) - np.searchsorted(ordered, own, side="right")
    equal = len(ordered) - above - np.searchsorted(ordered, own, side="left") - 1
    found = gains(torch.from_numpy(above), torch.from_numpy(equal))
    return Gains(*(values[of_row] for values in found))


def _differences(found: Mapping[str, Gains]) -> dict[str, Difference]:
    pairs = [("fusion", "long"), ("fusion", "short"), ("long", "short")]
    pairs += [(branch, "popularity") for branch in BRANCHES]
    return {f"{one} - {other}": Difference.of(found[one].ndcg, found[other].ndcg) for one, other in pairs}


def _round_numbers(most: int) -> Iterator[int]:
    """1, 2, 3, 5, 10, 20, 50, 100, 200, 500 ... up to ``most``."""
    yield from (number for number in _FEW if number <= most)
    ten = 10
    while ten <= most:
        yield from (number for number in (ten, 2 * ten, 5 * ten) if number <= most)
        ten *= 10


def _is_history(name: str, batch: Interaction, suffix: str) -> bool:
    return name.endswith(suffix) and name[: -len(suffix)] in batch.interaction and batch[name].dim() > 1


def _epochs(path: str, checkpoint: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What is known of the epochs, and from which file: that of the last state of the same run, if it is there."""
    own = list(checkpoint.get("history") or [])
    last = str(Path(path).with_suffix("")) + ".last.pth"
    try:
        further = list(read_checkpoint(last).get("history") or []) if Path(last).is_file() else []
    except UsageError:
        further = []

    def steps(epochs: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
        return [(epoch["epoch"], epoch["train_loss"]) for epoch in epochs]

    same_run = len(further) > len(own) and steps(further)[: len(own)] == steps(own)
    return (further, last) if same_run else (own, path)


@contextmanager
def _random_states_kept() -> Iterator[None]:
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
