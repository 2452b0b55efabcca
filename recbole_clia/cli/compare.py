"""``recbole-clia compare``: models, datasets and seeds under one protocol, and a leaderboard of them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..errors import UsageError
from .train import files_of, parse_settings

if TYPE_CHECKING:
    from ..comparison.execute import Outcome
    from ..comparison.plan import Run, Tuned
    from ..comparison.tuned import Study


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare models on datasets over seeds, and write a leaderboard",
        description="Train and evaluate every model on every dataset with every seed, under one protocol "
        "(leave-one-out in exact order of time, full ranking, the same filters and early stopping), each run in a "
        "process of its own.  A finished run is recorded at once and never made again; the same command continues what "
        "was stopped, and commands with the same --out at the same time share the runs.  With --tune, all models are "
        "tuned first, with the same number of trials.",
        epilog="Any setting can be given as --key=value, for the models that read the key; for instance --epochs=20.",
    )
    parser.add_argument("--models", nargs="+", default=["CLIA", "SASRec", "GRU4Rec"], metavar="MODEL", help="models")
    parser.add_argument("--datasets", nargs="+", default=["ml-100k"], metavar="NAME", help="datasets")
    parser.add_argument("--seeds", type=int, metavar="N", help="number of seeds, from 2020 on (default: 5)")
    parser.add_argument("--seed_list", type=int, nargs="+", metavar="SEED", help="the seeds themselves")
    parser.add_argument(
        "--config_files",
        nargs="+",
        default=[],
        metavar="FILE",
        help="yaml files for all models, each with the keys that it reads; MODEL=FILE for one model; "
        "a seed in a file does not count",
    )
    parser.add_argument(
        "--tune",
        type=int,
        metavar="TRIALS",
        help="first search each model's settings on each dataset, on validation, all with this number of trials",
    )
    parser.add_argument("--tune_seed", type=int, metavar="SEED", help="of the search (default: 0); no compared seed")
    parser.add_argument("--jobs", type=int, default=1, help="runs or trials at a time (default: 1)")
    parser.add_argument("--keep_models", action="store_true", help="keep the best model of each run")
    parser.add_argument("--out", default="compare", help="folder for runs and leaderboard (default: compare)")
    parser.set_defaults(run=compare, takes_settings=True)


def compare(arguments: argparse.Namespace) -> int:
    from ..comparison.execute import execute, finished
    from ..comparison.plan import check_data, make_plan, seeds_of
    from ..comparison.record import MODEL

    if arguments.jobs < 1:
        raise UsageError(f"--jobs must be at least 1, not {arguments.jobs}")
    seeds = seeds_of(arguments.seeds, arguments.seed_list)
    files = [file for words in arguments.config_files for file in files_of(words)]
    crossed = (arguments.models, arguments.datasets, seeds, files, parse_settings(arguments.settings))
    plan = make_plan(*crossed)
    out = Path(arguments.out)
    runs = out / "runs"
    studies = _studies(arguments, plan, seeds, out)
    if studies is not None or len(finished(plan, runs)) < len(plan):
        check_data(plan)
    for folder in (runs, *([] if studies is None else [out / STUDIES])):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out: {folder} cannot be made: {error.strerror or error}") from error

    tuned: dict[tuple[str, str], Tuned] | None = None
    lost: list[Outcome] = []
    if studies is not None:
        tuned = {}
        try:
            lost = _tune(studies, plan, arguments.jobs, tuned)
        except KeyboardInterrupt:
            print(f"\nstopped; {len(tuned)} of {len(studies)} studies are done; continue with\n  {_command(arguments)}")
            return 130
        without = {(outcome.run.model, outcome.run.dataset) for outcome in lost}
        plan = [run for run in make_plan(*crossed, tuned=tuned) if (run.model, run.dataset) not in without]

    before = finished(plan, runs)
    print(f"{len(plan)} runs, {len(before)} of them done before")
    lacking = sum(not (runs / outcome.run.folder / MODEL).is_file() for outcome in before)
    if arguments.keep_models and lacking:
        print(f"--keep_models: {lacking} of these have kept no model, and only a run that is made now keeps it")
    try:
        with tqdm(total=len(plan), initial=len(before), desc="compare", bar_format=_BAR, disable=None) as progress:
            outcomes = execute(
                plan,
                runs,
                arguments.jobs,
                arguments.keep_models,
                ended=lambda outcome, left: _told(progress, outcome, left),
                waiting=lambda left: _show(progress, left),
                elsewhere=lambda run: progress.write(f"{run}: another command is making it; waiting for that"),
            )
    except KeyboardInterrupt:
        done = finished(plan, runs)
        if done:
            _write([*done, *lost], runs, out, tuned)
        print(f"\nstopped; {len(done)} of {len(plan)} runs are done; continue with\n  {_command(arguments)}")
        return 130

    outcomes += lost
    print("\n" + _write(outcomes, runs, out, tuned))
    failed = [outcome for outcome in outcomes if outcome.record["state"] == "failed"]
    print(f"\nLeaderboard: {', '.join(str(out / name) for name in _FILES)}\nRuns: {runs}")
    if tuned:
        print(f"Studies and best settings: {out / STUDIES}")
    if failed:
        print(f"\n{len(failed)} of {len(outcomes)} runs failed; they are made again by\n  {_command(arguments)}")
    return 1 if failed else 0


STUDIES = "studies"  # the folder of them
_FILES = ("leaderboard.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex")
_BAR = "{desc}: {n_fmt} of {total_fmt} |{bar:20}| {elapsed}{postfix}"
_TRIALS_BAR = "{desc}: {n_fmt} of {total_fmt} trials |{bar:20}| {elapsed}, about {remaining} left{postfix}"


def _studies(arguments: argparse.Namespace, plan: Sequence[Run], seeds: Sequence[int], out: Path) -> list[Study] | None:
    """The studies that go before the runs; ``None`` without ``--tune``."""
    if arguments.tune is None:
        if arguments.tune_seed is not None:
            raise UsageError(
                "--tune_seed is the seed of the search that --tune TRIALS asks for, and there is no --tune"
            )
        return None
    from ..comparison.tuned import make_studies, seed_of

    return make_studies(plan, arguments.tune, seed_of(arguments.tune_seed, seeds), out / STUDIES)


def _tune(
    studies: Sequence[Study], plan: Sequence[Run], jobs: int, tuned: dict[tuple[str, str], Tuned]
) -> list[Outcome]:
    """Carry out the studies.

    Args:
        tuned: is given what each of them found.

    Returns:
        The runs that cannot be made, since their study failed.
    """
    from ..comparison.execute import Outcome
    from ..comparison.tuned import search
    from ..comparison.worker import sentence_of
    from ..running.ending import ends_with_an_interrupt

    trials, done = sum(study.plan.trials for study in studies), sum(study.done for study in studies)
    print(f"tune: {trials} trials, {done} of them done before")
    searched = {study.plan.model for study in studies}
    for model in dict.fromkeys(run.model for run in plan if run.model not in searched):
        print(f"{model}: no search space, or all of it is set, so it runs as it is")
    lost = []
    with (
        ends_with_an_interrupt(),
        tqdm(total=trials, initial=done, desc="tune", bar_format=_TRIALS_BAR, disable=None) as progress,
    ):
        counts = {study: study.done for study in studies}
        for study in studies:
            progress.set_postfix_str(str(study))
            of = (study.plan.model, study.plan.dataset)
            try:
                tuned[of] = search(study, jobs, partial(_count, progress, counts, study))
            except Exception as error:  # the others go on
                sentence = f"it was not tuned: {sentence_of(error)}"
                progress.write(f"{study}: {sentence}")
                records = {"state": "failed", "sentence": sentence}
                lost += [Outcome(run, records, True) for run in plan if (run.model, run.dataset) == of]
            else:
                found = tuned[of]
                progress.write(f"{study}: {found.trials} trials, NDCG@10 {found.score:.4f} on validation")
    return lost


def _count(progress: Any, counts: dict[Study, int], study: Study, done: int) -> None:
    progress.update(done - counts[study])
    counts[study] = done


def _write(
    outcomes: Sequence[Outcome], runs: Path, out: Path, tuned: Mapping[tuple[str, str], Tuned] | None = None
) -> str:
    """Write the leaderboard in every form, and return that of the terminal."""
    from ..comparison import tables
    from ..comparison.leaderboard import boards
    from ..comparison.page import page
    from ..comparison.record import write_text

    found = boards(outcomes, runs, tuned)
    texts = (page(found), tables.markdown(found), tables.csv_text(found), tables.latex(found))
    shown = tables.terminal(found)
    try:
        for name, text in zip(_FILES, texts, strict=True):
            write_text(out / name, text)
    except OSError as error:
        print("\n" + shown)
        raise UsageError(f"--out: the leaderboard cannot be written into {out}: {error.strerror or error}") from error
    return shown


def _told(progress: Any, outcome: Outcome, left: float | None) -> None:
    """A line for a run that has ended; it is all that is seen where there is no terminal."""
    record = outcome.record
    if record["state"] == "failed":
        said = f"failed: {record['sentence']}"
    else:
        said = f"test NDCG@10 {record['test']['NDCG@10']:.4f}, {_duration(record['seconds'])}"
    progress.write(f"{outcome.run}: {said}{_left(left)}")
    progress.update()


def _show(progress: Any, left: float | None) -> None:
    text = _left(left).lstrip("; ")
    if not progress.disable and text != progress.postfix:  # a bar that is not shown has none
        progress.set_postfix_str(text)


def _left(seconds: float | None) -> str:
    return f"; about {_duration(seconds)} left" if seconds else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _command(arguments: argparse.Namespace) -> str:
    """The command that was given."""
    words = ["recbole-clia", "compare", "--models", *arguments.models, "--datasets", *arguments.datasets]
    if arguments.seeds is not None:
        words += ["--seeds", str(arguments.seeds)]
    if arguments.seed_list:
        words += ["--seed_list", *map(str, arguments.seed_list)]
    if arguments.config_files:
        words += ["--config_files", *arguments.config_files]
    words += ["--tune", str(arguments.tune)] if arguments.tune is not None else []
    words += ["--tune_seed", str(arguments.tune_seed)] if arguments.tune_seed is not None else []
    words += ["--jobs", str(arguments.jobs)] if arguments.jobs != 1 else []
    words += ["--keep_models"] if arguments.keep_models else []
    words += ["--out", arguments.out] if arguments.out != "compare" else []
    return shlex.join([*words, *arguments.settings])
