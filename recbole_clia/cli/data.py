"""``recbole-clia data stats``: what a dataset looks like, in numbers and in a drawing."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from ..errors import UsageError
from .train import parse_settings

if TYPE_CHECKING:
    from ..data.statistics import Spread, Statistics

# What takes interactions out of the file's, and the value with which it takes none.
FILTERS: dict[str, Any] = {
    "user_inter_num_interval": None,
    "item_inter_num_interval": None,
    "val_interval": None,
    "rm_dup_inter": None,
    "filter_inter_by_user_or_item": False,
    "duplicate_rows": "keep",
}
# Settings of a dataset that say what becomes of the log once it is read.
_LATER = {"packed", "lazy_augmentation", "eval_args", "split_period_seconds", "sampled_groups"}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("data", help="look at a dataset", description="Look at a dataset.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    _add_stats(actions)


def _add_stats(actions: Any) -> None:
    parser = actions.add_parser(
        "stats",
        help="sizes, popularity, times, repeats and faults of the order",
        description="Print what the interactions of a dataset look like, as they are left by the filters of its "
        "property file and of the settings, and draw their distributions as OUT/NAME.svg.",
        epilog="Settings of the data can be given as --key=value, for instance --data_path=dataset.",
    )
    parser.add_argument("name", metavar="NAME", help="dataset")
    parser.add_argument("--raw", action="store_true", help="take all interactions of the file, without any filter")
    parser.add_argument("--out", default="data_stats", help="folder for the drawing (default: data_stats)")
    parser.set_defaults(run=stats, takes_settings=True)


def stats(arguments: argparse.Namespace) -> int:
    from ..data.drawing import draw
    from ..data.statistics import describe

    settings = parse_settings(arguments.settings)
    _refuse_unread(settings)
    out = Path(arguments.out)
    file, filters, *log = _load(arguments.name, settings, arguments.raw)
    found = describe(*log)
    del log
    drawing = out / f"{arguments.name}.svg"
    try:
        out.mkdir(parents=True, exist_ok=True)
        draw(found, arguments.name, drawing)
    except OSError as error:
        raise UsageError(f"--out: {drawing} cannot be written: {error.strerror or error}") from error

    print(f"\n{os.path.normpath(file)}, {filters}\n")
    print(tabulate(_facts(found), disable_numparse=True, tablefmt="plain", colalign=("left", "right", "left")))
    headers = ["", "min", "25 %", "median", "75 %", "max", "mean"]
    print("\n" + tabulate(_spreads(found), headers=headers, disable_numparse=True, colalign=("left", *["right"] * 6)))
    print(f"\nDrawing: {drawing}")
    return 0


def _refuse_unread(settings: dict[str, str]) -> None:
    from recbole.utils.argument_list import dataset_arguments

    from ..data.dataset import CUT_LATER
    from ..settings.check import framework_keys, model_keys, models

    read = {*dataset_arguments, "data_path", "numerical_features", "discretization"} - _LATER - CUT_LATER
    read |= {"state", "show_progress"}  # how much is told, which is little
    for key in settings:
        if key in read:
            continue
        if key in framework_keys() or any(key in model_keys(model) for model in models()):
            raise UsageError(
                f"data stats: {key} is not read; NAME is the dataset, and settings of its data can be given, such as "
                "data_path, time_unit and val_interval"
            )


def _load(name: str, settings: dict[str, str], raw: bool) -> tuple[Path, str, Any, Any, Any, str]:
    """The file, what was filtered, and users, items, times in the file's order with the unit of the times."""
    from ..data.dataset import LogDataset
    from ..settings.config import PluginConfig

    class FileOrder(LogDataset):
        """Stops short of sorting the log."""

        in_order: tuple[Any, Any, Any]

        def _cache(self) -> None:
            return None  # it holds the sorted log

        def _make_log(self) -> None:
            feat = self.inter_feat
            self.in_order = (feat[self.uid_field], feat[self.iid_field], feat[self.time_field])
            self.inter_feat = None

        def check_size(self) -> None:
            """Whatever can be described will do."""

    config = PluginConfig("GRU4Rec", name, config_dict=settings)
    if config["benchmark_filename"]:
        raise UsageError("data stats: benchmark_filename is set; its files hold rows, not a log")
    if not config["exact_time"]:
        raise UsageError("data stats: exact_time must be True; what RecBole's order does wrong is counted anyway")
    if raw:
        given = [key for key in FILTERS if key in settings]
        if given:
            raise UsageError(f"data stats: --raw takes no filter, such as --{given[0]}")
        for key, value in FILTERS.items():
            config[key] = value
        config["load_col"] = {"inter": [config[f"{field}_FIELD"] for field in ("USER_ID", "ITEM_ID", "TIME")]}
        config["unload_col"] = config["additional_feat_suffix"] = config["threshold"] = None
    dataset = FileOrder(config)
    user, item, time = (column.to_numpy() for column in dataset.in_order)
    return dataset.inter_file(), _filters(dataset), user, item, time, dataset.time_unit or "step"


def _filters(dataset: Any) -> str:
    config = dataset.config
    idle = {"user_inter_num_interval": "[0,inf)", "item_inter_num_interval": "[0,inf)", "duplicate_rows": "error"}
    if dataset.user_feat is None and dataset.item_feat is None:  # no file that could leave any out
        idle["filter_inter_by_user_or_item"] = config["filter_inter_by_user_or_item"]
    used = [f"{key}={config[key]}" for key, none in FILTERS.items() if config[key] not in (none, idle.get(key))]
    return f"filtered by {', '.join(used)}" if used else "without any filter"


def _facts(found: Statistics) -> list[list[str]]:
    from ..data.statistics import exact_step, moment

    unit = found.unit if found.unit != "step" else "step (no time of the calendar)"
    if found.resolution is None:
        resolution = "none that divides all of them"
    else:
        resolution = exact_step(found.resolution, found.unit) if found.resolution else "all times are the same"

    def share(number: int, of: int) -> list[str]:
        return [f"{number:,}", f"of {of:,}" + (f" ({_percent(number / of)})" if of else "")]

    return [
        ["users", f"{found.users:,}", ""],
        ["items", f"{found.items:,}", ""],
        ["interactions", f"{found.interactions:,}", ""],
        ["density", _percent(found.density), "interactions / (users x items)"],
        ["Gini coefficient of the popularity of items", f"{found.gini:.3f}", ""],
        ["interactions of the top 1 % of items", _percent(found.top_1), ""],
        ["interactions of the top 10 % of items", _percent(found.top_10), ""],
        ["first time", moment(found.first, found.unit, found.resolution), ""],
        ["last time", moment(found.last, found.unit, found.resolution), ""],
        ["unit of the times", unit, ""],
        ["resolution of the times", resolution, ""],
        ["ties: neighbours of a user with the same time", *share(found.ties, found.neighbours)],
        ["repeats: the user had the item before", *share(found.repeats, found.interactions)],
        ["immediate repeats: it was the one right before", *share(found.immediate, found.interactions)],
        ["repeated rows: same user, item and time", *share(found.repeated_rows, found.interactions)],
        ["steps back in time in the file", *share(found.backward_in_file, found.neighbours)],
        ["steps back in time in RecBole's float32 order", *share(found.backward_float32, found.neighbours)],
        ["held-out test items there that are not the user's last", *share(found.not_last, found.users)],
    ]


def _spreads(found: Statistics) -> list[list[str]]:
    from ..data.statistics import duration

    def row(what: str, spread: Spread | None, form: Any) -> list[str]:
        if spread is None:
            return [what, *["-"] * 6]
        five = (spread.least, spread.quarter, spread.median, spread.three_quarters, spread.most)
        return [what, *map(form, (*five, spread.mean))]

    return [
        row("interactions of a user", found.lengths, _number),
        row("interactions of an item", found.popularity, _number),
        row("gap between neighbours of a user", found.gaps, lambda gap: duration(gap, found.unit)),
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:#.3g}".rstrip(".") + " %" if share else "0 %"
