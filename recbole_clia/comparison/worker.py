"""One run in a process of its own: ``python -m recbole_clia.comparison.worker TASK.json``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from .record import LOG, MODEL, write_record, write_rows

TASK, WORK = "task.json", "work-"
# A row whose target ties with another item may be placed otherwise when it is ranked again.
MOST_DIFFERENT = 1e-3


def main(task_file: str) -> int:
    """Make the run of a task, and record it beside the task whatever becomes of it; returns the exit code."""
    folder = Path(task_file).resolve().parent
    task = json.loads(Path(task_file).read_text(encoding="utf-8"))
    record: dict[str, Any] = {**task["facts"], "config": task["config"], "began": _now()}
    record.update(versions=_versions(), machine=_machine())
    work = Path(tempfile.mkdtemp(dir=folder, prefix=WORK))
    here = os.getcwd()
    os.chdir(work)  # RecBole writes its logs, boards and models into the working directory
    try:
        record.update(_train(task, folder), state="done")
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        record.update(state="failed", sentence=sentence_of(error))
    record["ended"] = _now()
    _keep_log(work, folder)
    if record["state"] == "done" and task["keep_models"]:
        _keep_models(work, folder)
    os.chdir(here)
    shutil.rmtree(work, ignore_errors=True)
    write_record(folder, record)
    return 0 if record["state"] == "done" else 1


def sentence_of(error: BaseException) -> str:
    """An error in one line."""
    from ..errors import UsageError

    told = " ".join(str(error).split())
    return told if isinstance(error, UsageError) and told else f"{type(error).__name__}: {told}".rstrip(": ")


def _train(task: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    import torch
    from recbole.quick_start import load_data_and_model

    from .. import run
    from ..host.pop import count_every_interaction
    from ..running.benchmark import peak_mib
    from .score import differences, means, rank_test_set

    if task["facts"]["model"] == "Pop":
        count_every_interaction()
    began = perf_counter()
    result = run(
        task["facts"]["model"],
        task["facts"]["dataset"],
        config_dict={**task["settings"], "show_progress": False, "checkpoint_dir": "models"},
    )
    seconds = perf_counter() - began
    device = torch.device(task["config"]["device"])
    peak = peak_mib(device)  # of the run, before the best model is ranked once more
    config, model, dataset, _, _, loader = load_data_and_model(result["model_file"])
    rows, left_out = rank_test_set(config, model, dataset, loader)
    reported = {name: float(value) for name, value in result["test_result"].items()}
    if not left_out:
        far = {name: by for name, by in differences(rows, reported).items() if by > MOST_DIFFERENT}
        if far:
            raise RuntimeError(f"the saved model does not give its test result again: {far}")
    curve = result["curve"]
    to_best = [point["train_seconds"] for point in curve if point["epoch"] == result["best_epoch"]]
    return {
        "valid": {name: float(value) for name, value in (result["best_valid_result"] or {}).items()},
        "test": means(rows, "rank"),
        "hidden": means(rows, "hidden_rank"),
        "test_of_recbole": reported,
        "test_rows": len(rows),
        "test_rows_left_out": left_out,
        "curve": curve,
        "diagnosis": result["diagnosis"],
        "best_epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "seconds_per_epoch": result["seconds_per_epoch"],
        "seconds_to_best": to_best[0] if to_best else None,
        "seconds": seconds,
        "parameters": result["parameters"],
        "peak_mib": peak,
        "device": str(device),
        "rows_crc": write_rows(folder, rows),
    }


def _keep_log(work: Path, folder: Path) -> None:
    # RecBole opens one more when the model is loaded again, and leaves it empty.
    logs = sorted((work / "log").rglob("*.log"), key=lambda path: path.stat().st_size)
    if logs:
        os.replace(logs[-1], folder / LOG)


def _keep_models(work: Path, folder: Path) -> None:
    for path in sorted((work / "models").glob("*.pth")):
        if not path.name.endswith(".last.pth"):
            os.replace(path, folder / MODEL)


def _versions() -> dict[str, str]:
    names = ("recbole", "torch", "numpy", "scipy", "pandas", "pyarrow")
    from ..version import __version__

    return {"python": platform.python_version(), "recbole_clia": __version__, **{n: version(n) for n in names}}


def _machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"system": platform.platform(), "gpu": gpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


if __name__ == "__main__":
    from ..running.ending import end_with

    end_with(lambda: os.read(sys.stdin.fileno(), 1))
    sys.exit(main(sys.argv[1]))
