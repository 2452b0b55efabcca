"""What each part of CLIA is worth: the whole model, and variants that differ from it in one thing.

    python benchmarks/ablation.py [--datasets ml-100k amazon_beauty] [--data_path FOLDER] [--seeds 3]
                                  [--groups parts ...] [--jobs 1] [--train_seconds S] [--out ablation] [--key=value ...]

Every variant is run on every dataset with every seed, under the protocol of ``recbole-clia compare``: leave-one-out in
exact order of time, full ranking, early stopping on validation NDCG@10.  Each run is a process of its own with one
thread (or OMP_NUM_THREADS).  A finished run is recorded at once and never made again; one that was stopped or failed is
repeated by the same command.  Variants whose settings come to the same, as a row of the default value does, share runs.

The table holds mean and standard deviation over seeds, the difference to the whole model on the seeds that both have,
p of the paired t-test over these seeds, and the mean weight of the long-term interest on validation.  In the Markdown
p is not corrected; the CSV has it corrected by Holm, too.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

import recbole_clia  # noqa: F401  RecBole does not import without it
from recbole_clia.cli.train import parse_settings
from recbole_clia.comparison.execute import Outcome, execute, finished
from recbole_clia.comparison.leaderboard import NAN, Summary, holm, paired_t
from recbole_clia.comparison.plan import Run, check_data, key_of, make_plan, plain, seeds_of
from recbole_clia.comparison.record import write_text
from recbole_clia.comparison.tables import probability, spread
from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig


@dataclass(frozen=True)
class Variant:
    """CLIA with some settings of its own."""

    group: str
    name: str
    settings: Mapping[str, Any] = field(compare=False)


WHOLE = Variant("whole", "CLIA", {})
TASKS = ("long interest", "short interest", "long proxy", "short proxy")  # the anchors, in order of their weights
BESIDE = ("time_gaps", "repeats", "trend", "neighbours")  # the interests


def _variants() -> Iterable[Variant]:
    yield Variant("parts", "no contrast", {"contrastive_loss_weight": 0.0})
    for place, anchor in enumerate(TASKS):
        weights = [int(task != place) for task in range(len(TASKS))]
        yield Variant("parts", f"no contrast of the {anchor}", {"contrastive_task_weights": weights})
    for key in BESIDE:
        yield Variant("parts", f"no {key}", {key: False})
    yield Variant("parts", f"no {', '.join(BESIDE)}", dict.fromkeys(BESIDE, False))
    yield Variant("parts", "no user_query", {"user_query": False})
    yield Variant("parts", "no item_norm", {"item_norm": False})
    swept: list[tuple[str, str, Sequence[Any]]] = [
        ("parts", "fusion", ("vector", "mixture")),
        ("alpha", "fixed_alpha", (0.0, 0.5, 1.0)),
        ("attention", "long_term_attention", ("mean",)),
        ("attention", "short_term_attention", ("mean",)),
        ("recent_k", "contrastive_recent_k", (1, 3, 5, 10)),
        ("length_threshold", "contrastive_length_threshold", (0, 5, 10, 20)),
        ("contrast", "contrastive_loss", ("bpr", "triplet", "infonce")),
        ("encoder", "short_term_encoder", ("linear", "gru")),
    ]
    for group, key, values in swept:
        for value in values:
            yield Variant(group, f"{key}: {value}", {key: value})
    both = ("long_term_attention", "short_term_attention")
    yield Variant("attention", "both attentions: mean", dict.fromkeys(both, "mean"))


VARIANTS = tuple(_variants())
GROUPS = tuple(dict.fromkeys(variant.group for variant in VARIANTS))

# --- runs ----------------------------------------------------------------------------------


def varied(runs: Sequence[Run], changes: Mapping[str, Any]) -> list[Run]:
    """Runs of one model on one dataset, with other settings.

    Args:
        runs: as :func:`make_plan` gives them, differing in their seeds only.
        changes: ``key: value`` in place of theirs.

    Raises:
        UsageError: for a change that the runs could not take.
    """
    own = {**runs[0].settings, **changes}
    whole = plain(PluginConfig(runs[0].model, runs[0].dataset, config_dict=own).final_config_dict)
    found = []
    for run in runs:
        config = {**whole, "seed": run.seed}
        settings = {**own, "seed": run.seed}
        found.append(replace(run, settings=settings, config=config, key=key_of(config, run.files)))
    return found


def plan_of(
    variants: Sequence[Variant], datasets: Sequence[str], seeds: Sequence[int], settings: Mapping[str, Any]
) -> dict[Variant, list[Run]]:
    """The runs of each variant, checked before anything runs.

    Raises:
        UsageError: for anything that one of the runs could not take.
    """
    base = make_plan(["CLIA"], datasets, seeds, settings=settings)
    found: dict[Variant, list[Run]] = {variant: [] for variant in variants}
    for dataset in dict.fromkeys(datasets):
        own = [run for run in base if run.dataset == dataset]
        for variant in variants:
            found[variant] += varied(own, variant.settings)
    return found


def in_order(plan: Mapping[Variant, Sequence[Run]]) -> list[Run]:
    """Each run once: seed after seed, so that each variant has a figure early."""
    runs = dict.fromkeys(run for of_variant in plan.values() for run in of_variant)
    seeds = list(dict.fromkeys(run.seed for run in runs))
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    return sorted(runs, key=lambda run: (seeds.index(run.seed), datasets.index(run.dataset)))


# --- what they say -------------------------------------------------------------------------


@dataclass(frozen=True)
class Versus:
    """A figure against the whole model's: difference of the means in percent, p of the paired t-test, and Holm's."""

    percent: float = NAN
    p: float = NAN
    corrected: float = NAN


@dataclass(frozen=True)
class Row:
    """A variant on a dataset, over seeds.

    Attributes:
        seeds: number of runs that are done.
        is_whole: whether its runs are those of the whole model.
        valid, test: NDCG@10.
        epochs, seconds: of training, without evaluation.
        alpha: its mean on validation histories after the best epoch.
    """

    variant: Variant
    seeds: int
    is_whole: bool
    valid: Summary
    test: Summary
    of_valid: Versus
    of_test: Versus
    epochs: Summary
    seconds: Summary
    alpha: Summary


Records = Mapping[int, Mapping[str, Any]]  # of a variant, by seed


def _figure(record: Mapping[str, Any], part: str) -> float:
    return float(record[part]["ndcg@10" if part == "valid" else "NDCG@10"])


def versus(records: Sequence[Records], whole: Records, part: str) -> list[Versus]:
    """Each variant against the whole model, on the seeds that both have; the variants are one family for Holm."""
    percents, ps = [], []
    for own in records:
        common = [seed for seed in own if seed in whole]
        one, two = (np.array([_figure(of[seed], part) for seed in common], dtype=np.float64) for of in (own, whole))
        has_base = own is not whole and len(common) > 0 and two.mean() > 0
        percents.append(float(100 * (one.mean() / two.mean() - 1)) if has_base else NAN)
        ps.append(paired_t(one, two) if own is not whole else NAN)
    return [Versus(*one) for one in zip(percents, ps, holm(ps), strict=True)]


def rows_of(records: Mapping[Variant, Records]) -> list[Row]:
    """The rows of a dataset's table, in order of the variants; those without a finished run are left out.

    Args:
        records: of each variant; the very object of the whole model's where the runs are the same.
    """
    whole = records.get(WHOLE, {})
    done = {variant: own for variant, own in records.items() if own}
    against = {part: versus(list(done.values()), whole, part) for part in ("valid", "test")}
    return [
        Row(
            variant=variant,
            seeds=len(own),
            is_whole=own is whole,
            valid=Summary.of([_figure(record, "valid") for record in own.values()]),
            test=Summary.of([_figure(record, "test") for record in own.values()]),
            of_valid=of_valid,
            of_test=of_test,
            epochs=Summary.of([float(len(record["curve"])) for record in own.values()]),
            seconds=Summary.of([r["curve"][-1]["train_seconds"] if r["curve"] else None for r in own.values()]),
            alpha=Summary.of([record.get("diagnosis", {}).get("alpha") for record in own.values()]),
        )
        for (variant, own), of_valid, of_test in zip(done.items(), against["valid"], against["test"], strict=True)
    ]


def records_of(plan: Mapping[Variant, Sequence[Run]], outcomes: Sequence[Outcome], dataset: str) -> dict[Variant, Any]:
    """The records of the runs that are done on a dataset, as :func:`rows_of` takes them."""
    done = {outcome.run: outcome.record for outcome in outcomes if outcome.record["state"] == "done"}
    found: dict[Variant, Any] = {}
    for variant, runs in plan.items():
        own = [run for run in runs if run.dataset == dataset]
        same = WHOLE in found and [run.key for run in own] == [run.key for run in plan[WHOLE] if run.dataset == dataset]
        found[variant] = found[WHOLE] if same else {run.seed: done[run] for run in own if run in done}
    return found


AGAINST = ("to the whole", "p")
OF_RUNS = ("mean alpha", "epochs", "training s")
HEADERS = ("CLIA with", "seeds", "valid NDCG@10", *AGAINST, "test NDCG@10", *AGAINST, *OF_RUNS)


def _cells(row: Row) -> list[str]:
    name = "**the whole model**" if row.variant == WHOLE else row.variant.name
    cells = [name + (" (the default)" if row.is_whole and row.variant != WHOLE else ""), str(row.seeds)]
    for figure, against in ((row.valid, row.of_valid), (row.test, row.of_test)):
        percent = "-" if math.isnan(against.percent) else f"{against.percent:+.1f} %"
        cells += [spread(figure), percent, probability(against.p)]
    alpha = "-" if math.isnan(row.alpha.mean) else spread(row.alpha, 2)
    return [*cells, alpha, spread(row.epochs, 0), spread(row.seconds, 0)]


def markdown(tables: Mapping[str, Sequence[Row]]) -> str:
    """A table of each dataset."""
    alignment = ("left", *["right"] * (len(HEADERS) - 1))
    parts = []
    for dataset, rows in tables.items():
        parts.append(f"## {dataset}\n")
        if not rows:
            parts.append("No run is done.\n")
            continue
        cells = [_cells(row) for row in rows]
        parts.append(tabulate(cells, HEADERS, "github", disable_numparse=True, colalign=alignment) + "\n")
        tests = sum(not math.isnan(row.of_test.p) for row in rows)
        if tests:
            parts.append(
                f"Mean ± standard deviation over seeds; p of the paired t-test over seeds, not corrected: of {tests} "
                f"comparisons about {0.05 * tests:.1f} fall below 0.05 by chance.\n"
            )
    return "\n".join(parts)


def csv_text(tables: Mapping[str, Sequence[Row]]) -> str:
    """One line for each variant and dataset, with p corrected by Holm over a dataset's variants."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    headers = ["dataset", "group", "variant", "settings", "seeds"]
    for part in ("valid", "test"):
        headers += [f"{part} NDCG@10 mean", f"{part} NDCG@10 sd", f"{part} to the whole %", f"{part} p"]
        headers += [f"{part} p (Holm)"]
    headers += ["alpha mean", "alpha sd"]
    writer.writerow([*headers, "epochs mean", "epochs sd", "training seconds mean", "training seconds sd"])
    for dataset, rows in tables.items():
        for row in rows:
            settings = " ".join(f"--{key}={value}" for key, value in row.variant.settings.items())
            numbers: list[float] = []
            for figure, against in ((row.valid, row.of_valid), (row.test, row.of_test)):
                numbers += [figure.mean, figure.deviation, against.percent, against.p, against.corrected]
            for figure in (row.alpha, row.epochs, row.seconds):
                numbers += [figure.mean, figure.deviation]
            texts = ["" if math.isnan(number) else f"{number:.8g}" for number in numbers]
            writer.writerow([dataset, row.variant.group, row.variant.name, settings, row.seeds, *texts])
    return stream.getvalue()


# --- the command ---------------------------------------------------------------------------


def ablate(arguments: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Make what is not done, and write the tables; returns the exit code."""
    if arguments.jobs < 1:
        raise UsageError(f"--jobs must be at least 1, not {arguments.jobs}")
    if not 1 <= arguments.seeds <= 1000:
        raise UsageError(f"--seeds must be a number of seeds in [1, 1000], not {arguments.seeds}")
    for option in ("data_path", "train_seconds"):
        if getattr(arguments, option) is not None:
            settings[option] = getattr(arguments, option)
    variants = [WHOLE, *(variant for variant in VARIANTS if variant.group in arguments.groups)]
    plan = plan_of(variants, arguments.datasets, seeds_of(arguments.seeds, None), settings)
    todo, folder = in_order(plan), arguments.out / "runs"
    before = finished(todo, folder)
    if len(before) < len(todo):
        check_data(todo)
    names: dict[Run, list[str]] = {}
    for variant, runs in plan.items():
        for run in runs:
            names.setdefault(run, []).append(variant.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: {folder} cannot be made: {error.strerror or error}") from error
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the runs' processes
    print(f"{len(variants)} variants, {len(todo)} runs, {len(before)} of them done before")
    with tqdm(total=len(todo), initial=len(before), desc="ablation", bar_format=_BAR, disable=None) as progress:

        def ended(outcome: Outcome, left: float | None) -> None:
            record = outcome.record
            if record["state"] == "done":
                told = f"test NDCG@10 {_figure(record, 'test'):.4f}, {tqdm.format_interval(record['seconds'])}"
            else:
                told = f"failed: {record['sentence']}"
            name = f"{', '.join(names[outcome.run])} on {outcome.run.dataset}, seed {outcome.run.seed}"
            progress.write(f"{name}: {told}{_left(left)}")
            progress.update()

        def waiting(left: float | None) -> None:
            if not progress.disable and _left(left) != progress.postfix:  # a bar that is not shown has none
                progress.set_postfix_str(_left(left).lstrip("; "))

        again = shlex.join(["python", *sys.argv])
        try:
            outcomes = execute(todo, folder, arguments.jobs, ended=ended, waiting=waiting)
        except KeyboardInterrupt:
            outcomes = finished(todo, folder)
            write(plan, outcomes, arguments.out)
            progress.write(f"stopped; {len(outcomes)} of {len(todo)} runs are done; continue with\n  {again}")
            return 130
    print("\n" + write(plan, outcomes, arguments.out))
    failed = [outcome for outcome in outcomes if outcome.record["state"] == "failed"]
    for outcome in failed:
        print(f"failed: {', '.join(names[outcome.run])}: {outcome.run}: {outcome.record['sentence']}")
    print(f"Tables: {arguments.out / 'ablation.md'}, {arguments.out / 'ablation.csv'}   Runs: {folder}")
    if failed:
        print(f"{len(failed)} of {len(todo)} runs failed; they are made again by\n  {again}")
    return 1 if failed else 0


_BAR = "{desc}: {n_fmt} of {total_fmt} |{bar:20}| {elapsed}{postfix}"


def _left(seconds: float | None) -> str:
    return f"; about {tqdm.format_interval(seconds)} left" if seconds else ""


def write(plan: Mapping[Variant, Sequence[Run]], outcomes: Sequence[Outcome], out: Path) -> str:
    """Write the tables of the runs that are done, and return the Markdown."""
    datasets = dict.fromkeys(run.dataset for runs in plan.values() for run in runs)
    tables = {dataset: rows_of(records_of(plan, outcomes, dataset)) for dataset in datasets}
    text = markdown(tables)
    write_text(out / "ablation.md", text)
    write_text(out / "ablation.csv", csv_text(tables))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--datasets", nargs="+", default=["ml-100k", "amazon_beauty"])
    parser.add_argument("--data_path", help="folder of the datasets (ml-100k comes with RecBole)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 2020 on (default: 3)")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--train_seconds", type=float, help="training of a run stops after so many seconds")
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    arguments, rest = parser.parse_known_args()
    try:
        code = ablate(arguments, dict(parse_settings(rest)))
    except UsageError as error:
        print(f"ablation: {error}", file=sys.stderr)
        code = 2
    raise SystemExit(code)


if __name__ == "__main__":
    main()
