"""How long an epoch takes: the plugin's packed form against RecBole's own loop, on the same pairs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ..errors import UsageError
from ..settings.check import LAUNCH_KEYS, check_packed

FORMS = ("packed", "rows", "recbole", "released")
# What a contender fixes, and what a single epoch without evaluation does not read.
UNREAD = {*LAUNCH_KEYS, "packed", "exact_time", "lazy_augmentation", "epochs", "stopping_step", "train_seconds"}
UNREAD |= {"eval_step", "eval_batch_size", "metrics", "topk", "valid_metric", "metric_decimal_place", "diagnosis_rows"}
LEAST_SECONDS = 10.0  # a single short epoch says little


@dataclass(frozen=True)
class Contender:
    """A model and the form in which it is trained.

    Attributes:
        model: its name.
        form: one of :data:`FORMS`: ``packed``, ``rows`` (one row per prefix, by this package), ``recbole`` (RecBole's
            loop with its faults mended) or ``released`` (with its anomaly mode on, as it comes).
    """

    model: str
    form: str

    @property
    def settings(self) -> dict[str, Any]:
        if self.form in ("packed", "rows"):
            return {"packed": self.form == "packed"}
        return {"exact_time": False, "lazy_augmentation": False}  # RecBole's own data, too

    def __str__(self) -> str:
        forms = {
            "packed": "packed",
            "rows": "one row per prefix",
            "recbole": "RecBole's loop, mended",
            "released": "RecBole's loop, as released",
        }
        return f"{self.model}, {forms[self.form]}"


MODELS = ("CLIA", "GRU4Rec", "SASRec")  # timed where no others are asked for


def contenders(models: Sequence[str] = MODELS, forms: Collection[str] = FORMS) -> list[Contender]:
    """Each model in each of these forms that it has; the packed ones come first.

    Raises:
        UsageError: for a model that cannot be trained packed, or if none has one of these forms.
    """
    for model in models:
        check_packed(model, "CE")
    of_model = {model: ("packed", "rows") if model == "CLIA" else ("packed", "recbole", "released") for model in models}
    found = [Contender(model, form) for model, own in of_model.items() for form in own if form in forms]
    if not found:
        has = ", ".join(of_model[models[0]])
        raise UsageError(f"bench: there is no form {' or '.join(forms)} of {', '.join(models)}; allowed are {has}")
    return sorted(found, key=lambda contender: contender.form != "packed")


@dataclass(frozen=True)
class Timing:
    """What one contender took.

    Attributes:
        pairs: (prefix, target) pairs in an epoch.
        seconds: of training an epoch; the mean of as many as take ten seconds, and scaled up from
            ``batches`` where those are fewer than ``of``.
        batches, of: batches of an epoch that were timed, and batches in an epoch.
        peak_mib: largest resident memory of the process, or on a GPU the largest allocation there.
        device: where the model was.
    """

    contender: str
    pairs: int
    seconds: float
    batches: int
    of: int
    peak_mib: float
    device: str


def measure(contender: Contender, dataset: str, settings: Mapping[str, Any], batches: int | None) -> Timing:
    """Time one contender in a process of its own, so that nothing of another one counts.

    Raises:
        UsageError: if the process failed; the sentence holds its last line.
    """
    task = {"contender": asdict(contender), "dataset": dataset, "settings": dict(settings), "batches": batches}
    done = subprocess.run([sys.executable, "-m", __name__, json.dumps(task)], capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"bench: {contender}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return Timing(**json.loads(done.stdout.strip().splitlines()[-1]))


def _measure_here(contender: Contender, dataset: str, settings: Mapping[str, Any], batches: int | None) -> Timing:
    import torch
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    from ..settings.config import PluginConfig

    torch.autograd.set_detect_anomaly(contender.form == "released", check_nan=contender.form == "released")
    config = PluginConfig(
        contender.model,
        dataset,
        config_dict={"show_progress": False, "state": "ERROR", **settings, **contender.settings},
    )
    init_seed(config["seed"], config["reproducibility"])
    train_data = data_preparation(config, create_dataset(config))[0]
    model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    total = len(train_data)
    some: Any = _First(train_data, batches) if batches is not None and batches < total else train_data
    trainer._train_epoch(_First(train_data, 2), 0)  # first batches pay for what is made once
    epochs, began, spent = 0, perf_counter(), 0.0
    while spent < LEAST_SECONDS:
        epochs += 1
        trainer._train_epoch(some, epochs)
        if config["device"].type == "cuda":
            torch.cuda.synchronize()
        spent = perf_counter() - began
    timed = min(total, batches or total)
    return Timing(
        contender=str(contender),
        pairs=len(train_data._dataset),
        seconds=spent / epochs * total / timed,
        batches=timed,
        of=total,
        peak_mib=peak_mib(config["device"]),
        device=device_name(config["device"]),
    )


class _First:
    """The first batches of a loader."""

    def __init__(self, loader: Any, count: int | None) -> None:
        self.loader, self.count, self.shuffle = loader, count, False

    def __iter__(self) -> Any:
        for number, batch in enumerate(self.loader):
            if number == self.count:
                return
            yield batch


def device_name(device: Any) -> str:
    """The name of a GPU, or on a CPU the number of threads."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}"


def peak_mib(device: Any) -> float:
    """Largest resident memory of this process so far, or on a GPU the largest allocation there.

    Linux gives a process its parent's largest size in ``getrusage``, and its own one in ``/proc``.
    """
    import torch

    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated() / 2**20)
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) / 1024
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024 if sys.platform != "darwin" else kib / 2**20


def draw(timings: Sequence[Timing], path: Path) -> None:
    """Bars of the seconds an epoch takes, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.5 * len(timings) + 1.2), layout="constrained")
    bars = axes.barh([t.contender for t in timings], [t.seconds for t in timings])
    axes.bar_label(bars, [f" {t.seconds:.1f} s, {t.seconds / timings[0].seconds:.3g}x" for t in timings])
    axes.set_xscale("log")
    seconds = [t.seconds for t in timings]
    axes.set_xlim(min(seconds) / 5, 5 * max(seconds))  # room for the shortest bar and the longest label
    axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    axes.set_xlabel("seconds an epoch")
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    timing = _measure_here(Contender(**task.pop("contender")), **task)
    print(json.dumps(asdict(timing)))
