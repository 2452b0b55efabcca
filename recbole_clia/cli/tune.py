"""``recbole-clia tune``: search a model's properties on validation."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from ..errors import UsageError
from .train import _command, files_of, parse_settings

SHOWN = 5  # trials in the table


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "tune",
        help="search a model's properties on validation",
        description="Search a model's properties for the best validation score. Poor trials are given up early, the "
        "test set is not evaluated, and the same command continues a search that was stopped.",
        epilog="Any RecBole setting can be fixed as --key=value; what is fixed is not searched.",
    )
    parser.add_argument("--model", "-m", default="CLIA", help="model, the plugin's or RecBole's (default: CLIA)")
    parser.add_argument("--dataset", "-d", default="ml-100k", help="dataset (default: ml-100k)")
    parser.add_argument("--trials", type=int, default=30, help="finished trials of the study in all (default: 30)")
    parser.add_argument("--space", metavar="FILE", help="search space, in place of the one of properties/tuning")
    parser.add_argument("--study", metavar="FILE", help="file of the study (default: tune/MODEL-DATASET.sqlite)")
    parser.add_argument("--storage", metavar="URL", help="database of Optuna, or journal:FILE, for several machines")
    parser.add_argument("--n-jobs", type=int, default=1, metavar="N", help="processes of this machine (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the search and of each training (default: 0)")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="no trial starts later than this")
    parser.add_argument(
        "--prune-after", type=int, default=5, metavar="EPOCHS", help="no trial is given up before (default: 5)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder for what is found (default: tune/MODEL-DATASET)")
    parser.add_argument(
        "--config_files", default="", metavar='"A B"', help="yaml files of settings, or sampled, with a space between"
    )
    parser.set_defaults(run=tune, takes_settings=True)


def tune(arguments: argparse.Namespace) -> int:
    for option, value, lowest in (
        ("trials", arguments.trials, 1),
        ("n-jobs", arguments.n_jobs, 1),
        ("prune-after", arguments.prune_after, 0),
        ("seed", arguments.seed, 0),
    ):
        if value < lowest:
            raise UsageError(f"--{option} must be at least {lowest}, not {value}")
    if arguments.seed > 4294967295:
        raise UsageError(f"--seed must be at most 4294967295, not {arguments.seed}")
    if arguments.timeout is not None and not arguments.timeout > 0:
        raise UsageError(f"--timeout must be above 0, not {arguments.timeout}")
    if arguments.study and arguments.storage:
        raise UsageError("--study and --storage: give one of them, a file or a database")
    settings = parse_settings(arguments.settings)

    from ..running.ending import ends_with_an_interrupt
    from ..tuning.plan import Plan, check_plan, sqlite
    from ..tuning.search import tune as search
    from ..tuning.study import running

    file = Path(arguments.study or f"tune/{arguments.model}-{arguments.dataset}.sqlite")
    plan = Plan(
        model=arguments.model,
        dataset=arguments.dataset,
        storage=arguments.storage or sqlite(file),
        trials=arguments.trials,
        space_file=arguments.space,
        config_files=tuple(files_of(arguments.config_files)),
        settings=settings,
        seed=arguments.seed,
        seconds=arguments.timeout,
        prune_after=arguments.prune_after,
        alone=not arguments.storage,
    )
    checked = check_plan(plan)
    out = Path(arguments.out) if arguments.out else Path("tune") / plan.name
    for folder in (out, *([] if arguments.storage else [file.parent])):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; it must be a folder")
        folder.mkdir(parents=True, exist_ok=True)

    bar = tqdm(total=plan.trials, desc=plan.name, unit="trial")
    try:
        with ends_with_an_interrupt():
            study, _ = search(plan, arguments.n_jobs, lambda at: _show(bar, at))
    except KeyboardInterrupt:
        bar.close()
        print(f"\nstopped; continue with {_again(arguments)}", file=sys.stderr)
        return 130
    finally:
        bar.close()
    return _report(study, checked, out, arguments, running(study))


def _show(bar: Any, study: Any) -> None:
    from ..tuning.report import best_trials
    from ..tuning.study import finished

    done = finished(study)
    if done == bar.n:
        return
    bar.n = done
    best = best_trials(study, 1)
    bar.set_postfix_str(f"best {best[0].value:.4f} in trial {best[0].number}" if best else "no score yet")


def _more(arguments: argparse.Namespace, plan: Any, study: Any) -> argparse.Namespace:
    from ..tuning.study import finished

    return argparse.Namespace(**{**vars(arguments), "trials": 2 * max(plan.trials, finished(study))})


def _report(study: Any, checked: Any, out: Path, arguments: argparse.Namespace, elsewhere: int) -> int:
    from optuna.trial import TrialState

    from ..tuning.report import LEAST_FOR_IMPORTANCE, best_trials, importances, write_best, write_page
    from ..tuning.study import finished

    plan, space, metric = checked.plan, checked.space, checked.config["valid_metric"]
    trials = study.get_trials(deepcopy=False)
    faults = [t for t in trials if t.state == TrialState.PRUNED and "error" in t.user_attrs]
    number = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    print(
        f"\n{plan.model} on {plan.dataset}: {finished(study)} of {plan.trials} trials, "
        f"{number[TrialState.PRUNED] - len(faults)} of them given up early"
        f"\nsearched on validation ({metric}); the test set was not evaluated"
    )
    if faults:
        print(f"{len(faults)} could not be trained, the first: {faults[0].user_attrs['error']}")
    if elsewhere:
        print(f"{elsewhere} are still at work elsewhere")
    best = best_trials(study, SHOWN)
    if not best:
        again = arguments if finished(study) < plan.trials else _more(arguments, plan, study)
        print(f"\nNo trial has a score yet. Next:\n  {_again(again)}    to continue")
        return 1
    drawn = [space.restored(trial.params) for trial in best]
    rows = [
        [metric, *(f"{trial.value:.4f}" for trial in best)],
        ["best epoch", *(f"{t.user_attrs.get('best_epoch')} of {t.user_attrs.get('epochs')}" for t in best)],
        *([key, *(_short(properties.get(key)) for properties in drawn)] for key in space.parameters),
    ]
    headers = ["", *(f"trial {trial.number}" for trial in best)]
    print("\n" + tabulate(rows, headers=headers, disable_numparse=True))
    shares = importances(study)
    if shares is None:
        print(f"\nWhich properties matter can be told from {LEAST_FOR_IMPORTANCE} complete trials that differ.")
    else:
        table = [[key, f"{share:.2f}"] for key, share in shares.items()]
        print("\n" + tabulate(table, headers=["property", "share of the variance"], disable_numparse=True))
    write_best(study, checked, out / "best.yaml")
    write_page(study, checked, out / "study.html")
    print(f"\nBest properties: {out / 'best.yaml'}   Page: {out / 'study.html'}")
    data = f" --data_path={shlex.quote(str(plan.settings['data_path']))}" if "data_path" in plan.settings else ""
    command = _command("recbole-clia", "recbole_clia")
    print("\nNext:")
    train = f"--model={plan.model} --dataset={plan.dataset}{data} --config_files {shlex.quote(str(out / 'best.yaml'))}"
    print(f"  {command} train {train}    its score on the test set")
    more = _more(arguments, plan, study)
    print(f"  {_again(more)}    more trials")
    return 0


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _again(arguments: argparse.Namespace) -> str:
    """The command that these arguments are."""
    words = [f"--model={arguments.model}", f"--dataset={arguments.dataset}", f"--trials={arguments.trials}"]
    for option, default in (
        ("space", None),
        ("study", None),
        ("storage", None),
        ("n_jobs", 1),
        ("seed", 0),
        ("timeout", None),
        ("prune_after", 5),
        ("out", None),
        ("config_files", ""),
    ):
        value = getattr(arguments, option)
        if value != default:
            name = option if option == "config_files" else option.replace("_", "-")
            words.append(f"--{name}={value}")
    return f"{_command('recbole-clia', 'recbole_clia')} tune {shlex.join([*words, *arguments.settings])}"
