"""``recbole-clia train``: one model on one dataset."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..errors import UsageError
from ..settings.check import MODELS


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train and evaluate a model",
        description="Train a model with early stopping and evaluate it on the test set.",
        epilog="Any RecBole setting can be given as --key=value, for instance --epochs=20 --topk=[5,10].",
    )
    parser.add_argument("--model", "-m", default="CLIA", help="model, the plugin's or RecBole's (default: CLIA)")
    parser.add_argument("--dataset", "-d", default="ml-100k", help="dataset (default: ml-100k)")
    parser.add_argument(
        "--config_files", default="", metavar='"A B"', help="yaml files of settings, or sampled, with a space between"
    )
    parser.add_argument(
        "--resume", metavar="FILE", help="continue a stopped run from its *.last.pth file, and beside it"
    )
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine")
    parser.add_argument("--ip", default="localhost", help="address of the machine with the first process")
    parser.add_argument("--port", default="5678", help="port of the machine with the first process")
    parser.add_argument("--world_size", type=int, default=-1, help="processes on all machines")
    parser.add_argument("--group_offset", type=int, default=0, help="number of the first process here")
    parser.set_defaults(run=train, takes_settings=True)


def train(arguments: argparse.Namespace) -> int:
    from ..running.quick_start import run

    settings = parse_settings(arguments.settings)
    result = run(
        arguments.model,
        arguments.dataset,
        config_file_list=files_of(arguments.config_files),
        config_dict=settings,
        nproc=arguments.nproc,
        world_size=arguments.world_size,
        ip=arguments.ip,
        port=arguments.port,
        group_offset=arguments.group_offset,
        resume=arguments.resume,
    )
    if result:
        print(report(result, settings.get("data_path")))
    return 0


def files_of(words: str) -> list[str]:
    """The files that a word of ``--config_files`` names: one, whose path may have spaces, or some with spaces between.

    A word may begin with ``MODEL=``.
    """
    return [words] if Path(words).is_file() or Path(words.partition("=")[2]).is_file() else words.split()


def parse_settings(words: Sequence[str]) -> dict[str, str]:
    """``--key=value`` words as a dictionary of strings.

    Raises:
        UsageError: for another form, or a key given twice with different values.
    """
    settings: dict[str, str] = {}
    for word in words:
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not equals or not key.isidentifier():
            raise UsageError(f"argument {word!r} must have the form --key=value")
        if settings.get(key, value) != value:
            raise UsageError(f"--{key} is given twice, as {settings[key]!r} and as {value!r}")
        settings[key] = value
    return settings


def report(result: dict[str, Any], data_path: str | None = None) -> str:
    """The table that ends a run, and what to do next; with ``data_path``, where that was given."""
    data = f"--dataset={shlex.quote(result['dataset'])}"
    data += f" --data_path={shlex.quote(data_path)}" if data_path else ""
    valid, test = result["best_valid_result"] or {}, result["test_result"] or {}
    metrics = [[name, valid.get(name), test.get(name)] for name in (test or valid)]
    seconds = result["seconds_per_epoch"]
    facts = [
        ["best epoch", f"{result['best_epoch']} of {result['epochs']}"],
        ["seconds an epoch", f"{seconds:.2f}" if seconds is not None else "-"],
        ["seconds in all", f"{result['seconds']:.1f}"],
        ["parameters", f"{result['parameters']:,}"],
        ["model", result["model_file"] or "not saved"],
        ["log", result["log_file"] or "-"],
    ]
    command, tensorboard = _command("recbole-clia", "recbole_clia"), _command("tensorboard", "tensorboard.main")
    diagnosed = shlex.quote(result["model_file"]) if result["model"] in MODELS and result["model_file"] else None
    lines = [
        "",
        f"{result['model']} on {result['dataset']}",
        f"evaluation: {result['evaluation']}",
        tabulate(metrics, headers=["metric", "validation", "test"], floatfmt=".4f", tablefmt="simple"),
        "",
        tabulate(facts, tablefmt="plain"),
        "",
        "Next:",
        f"  {command} train --model=SASRec {data}    a built-in model on the same data",
        f"  {command} train {data} --contrastive_loss_weight=0    without the contrast",
        *([f"  {command} diagnose {diagnosed}    what the model does inside"] if diagnosed else []),
        f"  {command} bench    seconds an epoch, against RecBole's own loop",
        f"  {tensorboard} --logdir log_tensorboard    the learning curves",
    ]
    return "\n".join(lines)


def _command(name: str, module: str) -> str:
    """How to call a command of this environment: by its name, where that is on the path."""
    return name if shutil.which(name) else f"{shlex.quote(os.path.relpath(sys.executable))} -m {module}"
