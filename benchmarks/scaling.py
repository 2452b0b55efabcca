"""How the time of an epoch and the memory of CLIA's packed training grow with the size of a log.

    python benchmarks/scaling.py [--axes interactions items length] [--points items=1e3,1e4 ...] [--limit 600]
                                 [--device cpu] [--batches 20] [--seconds 30] [--out bench] [--svg docs/scaling.svg]
                                 [--key=value ...]

One size grows at a time: the interactions at 10,000 items, the items at 100,000 interactions, or the length of the
histories, with MAX_ITEM_LIST_LENGTH, at 300,000 interactions.  Logs are made: each user has as many interactions as
give a training history of full length (50 where the length does not grow), items are drawn by Zipf's law, with a seed,
and times are in seconds.

Each point is a process of its own, on data that another process has made and cached.  After two batches for warming
up, at most ``--batches`` batches are timed, and none begins after ``--seconds`` seconds.  An epoch is what its loader
takes until the first batch is there, and its number of batches times their mean; the table says how many of them were
timed.  Memory is the largest resident size, and its growth since everything was imported; on a GPU, the largest
allocation there.  A point that is not done within ``--limit`` seconds is stopped, and said to.  Each finished point is
kept, and not measured again.

The exponent b of a size x is that of the power law y = a x^b, by least squares of the logarithms, with its standard
error.  Where y has a part that does not grow, b is too small: a law is read from the drawing.

CLIA against RecBole's SASRec and GRU4Rec on a GPU, seconds and memory in one run: ``recbole-clia bench``, which takes
the GPU where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.stats
import torch
from numpy.typing import NDArray
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from tabulate import tabulate
from tqdm import tqdm

import recbole_clia  # noqa: F401  RecBole does not import without it
from recbole_clia.cli.train import parse_settings
from recbole_clia.converters.writer import AtomicWriter
from recbole_clia.errors import UsageError
from recbole_clia.running.benchmark import peak_mib
from recbole_clia.settings.config import PluginConfig

ROOT = Path(__file__).resolve().parent.parent
OVER = "not run: over the limit"
HELD_OUT = 3  # interactions of a user beside the inputs of its training history: the last target, validation, test
WARM_UP = 2  # batches; the first ones pay for what is made once
BLOCK = 1_000_000  # rows written at once


@dataclass(frozen=True)
class Point:
    """The size of a made log.

    Attributes:
        interactions: at most; users are whole.
        items: of the catalogue, those that nobody had among them.
        length: inputs of each user's training history, and of the model.
    """

    interactions: int
    items: int
    length: int

    @property
    def users(self) -> int:
        return self.interactions // (self.length + HELD_OUT)

    @property
    def name(self) -> str:
        return f"scaling-{self.interactions}-{self.items}-{self.length}"

    def __str__(self) -> str:
        return f"{self.interactions:,} interactions, {self.items:,} items, length {self.length:,}"


@dataclass(frozen=True)
class Axis:
    """A size that grows, the points at which it is measured, and the other sizes."""

    name: str
    values: tuple[int, ...]
    others: Mapping[str, int]

    def point(self, value: int) -> Point:
        return Point(**{**self.others, self.name: value})


AXES = {
    axis.name: axis
    for axis in (
        Axis("interactions", (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000), {"items": 10_000, "length": 50}),
        Axis("items", (1_000, 10_000, 100_000, 1_000_000), {"interactions": 100_000, "length": 50}),
        Axis("length", (20, 50, 200, 1_000), {"interactions": 300_000, "items": 10_000}),
    )
}
MEASURES = {"seconds": "seconds an epoch", "growth_mib": "memory, MiB"}

# --- made logs -----------------------------------------------------------------------------


def zipf(rng: np.random.Generator, items: int, size: int) -> NDArray[np.int64]:
    """``size`` items from 0, item ``i`` with a probability in proportion to ``1 / (i + 1)``."""
    below = np.cumsum(1 / np.arange(1, items + 1))
    return np.searchsorted(below, rng.random(size) * below[-1], side="right").clip(max=items - 1).astype(np.int64)


def made_log(point: Point, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Users, items and times in seconds, ``[users * (length + 3)]`` each, user after user.

    A user's times rise strictly, from some second of a year on, with log-normal gaps.
    """
    rng = np.random.default_rng(seed)
    users, each = point.users, point.length + HELD_OUT
    gaps = 1 + rng.lognormal(6, 2, (users, each)).astype(np.int64)  # seconds
    times = 1_600_000_000 + rng.integers(0, 31_536_000, (users, 1)) + gaps.cumsum(1)
    return {
        "user_id": np.repeat(np.arange(users), each),
        "item_id": zipf(rng, point.items, users * each),
        "timestamp": times.ravel(),
    }


def write_log(point: Point, folder: Path) -> None:
    """Write the atomic files of a made log, unless they are there; the catalogue is written last."""
    inter, catalogue = (folder / point.name / f"{point.name}.{suffix}" for suffix in ("inter", "item"))
    if catalogue.is_file():
        return
    log = made_log(point)
    with AtomicWriter(inter, {"user_id": "token", "item_id": "token", "timestamp": "float"}) as writer:
        for begin in range(0, len(log["user_id"]), BLOCK):
            writer.write(pa.table({name: values[begin : begin + BLOCK] for name, values in log.items()}))
    with AtomicWriter(catalogue, {"item_id": "token"}) as writer:
        writer.write(pa.table({"item_id": np.arange(point.items)}))


# --- one point -----------------------------------------------------------------------------


class Clocked:
    """The first batches of a loader, and how long they take.

    Args:
        loader: of batches.
        count: batches at most.
        seconds: no batch begins later than this after the first one.
        now: the clock.

    Attributes:
        opening: seconds until the first batch is there.
        seconds: what the batches took after that, the loading of the next one included.
        count: batches that were given out.
    """

    shuffle = False  # RecBole's loop asks

    def __init__(self, loader: Any, count: int, seconds: float, now: Callable[[], float]) -> None:
        self.loader, self._most, self._most_seconds, self._now = loader, count, seconds, now
        self.opening = self.seconds = 0.0
        self.count = 0

    def __iter__(self) -> Any:
        began = self._now()
        first = None
        for batch in self.loader:
            if first is None:
                first = self._now()
                self.opening = first - began
            elif self.count == self._most or self._now() - first > self._most_seconds:
                break
            self.count += 1
            yield batch
        self.seconds = 0.0 if first is None else self._now() - first


def config_of(task: Mapping[str, Any]) -> Any:
    """The configuration of a point."""
    return PluginConfig("CLIA", Point(**task["point"]).name, config_dict=task["settings"])


def prepare_here(task: Mapping[str, Any]) -> dict[str, Any]:
    """Write the log, and its cache, which the point that is measured reads."""
    write_log(Point(**task["point"]), Path(task["settings"]["data_path"]))
    create_dataset(config_of(task))
    return {}


def measure_here(task: Mapping[str, Any]) -> dict[str, Any]:
    """Train some batches in this process, and say what they took."""
    config = config_of(task)
    device = config["device"]
    on_gpu = device.type == "cuda"
    if on_gpu != (task["device"] == "cuda"):
        raise UsageError(f"--device {task['device']}: torch finds no such device")

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return perf_counter()

    base = peak_mib(device)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    interactions, items = dataset.inter_num, dataset.item_num - 1  # one is padding
    train = data_preparation(config, dataset)[0]
    model = get_model("CLIA")(config, train._dataset).to(device)
    trainer = get_trainer(config["MODEL_TYPE"], "CLIA")(config, model)
    trainer._train_epoch(Clocked(train, WARM_UP, float("inf"), now), 0)
    timed = Clocked(train, task["batches"], task["seconds"], now)
    trainer._train_epoch(timed, 1)
    of = len(train)
    peak = peak_mib(device)
    return {
        "interactions": interactions,
        "items": items,
        "length": config["MAX_ITEM_LIST_LENGTH"],
        "pairs": len(train._dataset),
        "seconds": timed.opening + timed.seconds / timed.count * of,
        "batches": timed.count,
        "of": of,
        "peak_mib": peak,
        "growth_mib": peak - base,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
    }


def measure(task: Mapping[str, Any], limit: float) -> dict[str, Any]:
    """A point's figures, or why there are none under ``not_run``, from processes that end within ``limit`` seconds."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")]))
    end = perf_counter() + limit
    found: dict[str, Any] = {}
    for step in ("prepare", "measure"):
        command = [sys.executable, str(Path(__file__).resolve()), f"--{step}", json.dumps(task)]
        with tempfile.TemporaryDirectory() as work:  # RecBole leaves folders where it runs
            try:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    cwd=work,
                    env={**os.environ, "PYTHONPATH": paths},
                    timeout=max(0.0, end - perf_counter()),
                )
            except subprocess.TimeoutExpired:
                return {"not_run": OVER, "limit": limit}
        if done.returncode < 0:
            return {"not_run": f"not run: ended by {signal.Signals(-done.returncode).name}, as for want of memory"}
        if done.returncode:
            return {"not_run": f"not run: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"}
        found = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# --- what they say -------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """``y = factor * x ** exponent``, with the standard error of the exponent, NaN below three points."""

    exponent: float
    error: float
    factor: float

    def __str__(self) -> str:
        return f"{self.exponent:.2f}" + ("" if np.isnan(self.error) else f" ± {self.error:.2f}")


def fit_exponent(x: Iterable[float], y: Iterable[float]) -> Fit | None:
    """The power law through points, by least squares of their logarithms; ``None`` below two different ``x``.

    Points whose ``y`` is not positive have no logarithm, and are left out.
    """
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if a > 0 and b > 0]
    if len({a for a, _ in pairs}) < 2:
        return None
    u, v = np.log(np.array(pairs, dtype=np.float64)).T
    line = scipy.stats.linregress(u, v)
    error = float("nan")
    if len(pairs) > 2:
        error = float(line.stderr) if np.ptp(v) else 0.0  # scipy has none where nothing grows
    return Fit(float(line.slope), error, float(np.exp(line.intercept)))


Results = Mapping[str, Sequence[tuple[Point, Mapping[str, Any]]]]  # of each axis


def fits_of(name: str, found: Sequence[tuple[Point, Mapping[str, Any]]]) -> dict[str, Fit | None]:
    """The exponent of each of :data:`MEASURES` on an axis, of the points that were measured."""
    done = [result for _, result in found if "not_run" not in result]
    return {key: fit_exponent([r[name] for r in done], [r[key] for r in done]) for key in MEASURES}


SIZES = ("interactions", "items", "length")
HEADERS = ("what grows", *SIZES, "pairs an epoch", "seconds an epoch", "batches timed", "peak MiB", "growth MiB")


def _cells(axis: str, point: Point, result: Mapping[str, Any]) -> list[str]:
    if "not_run" in result:
        return [axis, *(f"{size:,}" for size in asdict(point).values()), "", result["not_run"], "", "", ""]
    sizes = [f"{result[key]:,}" for key in (*SIZES, "pairs")]
    timed = f"{result['batches']} of {result['of']}"
    memory = [f"{result[key]:,.0f}" for key in ("peak_mib", "growth_mib")]
    return [axis, *sizes, f"{result['seconds']:.3g}", timed, *memory]


def markdown(results: Results) -> str:
    """A table of the points, and one of the exponents."""
    rows = [_cells(name, point, result) for name, found in results.items() for point, result in found]
    fitted = []
    for name, found in results.items():
        number = sum("not_run" not in result for _, result in found)
        fitted.append([name, str(number), *(str(fit or "-") for fit in fits_of(name, found).values())])
    headers = ["what grows", "points", "exponent of time", "exponent of memory (growth)"]
    where = sorted(
        {
            f"{result['device']}, {result['threads']} thread{'s' * (result['threads'] != 1)}"
            for found in results.values()
            for _, result in found
            if "not_run" not in result
        }
    )
    return "\n\n".join(
        [
            tabulate(rows, HEADERS, "github", disable_numparse=True, colalign=("left", *["right"] * 8)),
            tabulate(fitted, headers, "github", disable_numparse=True, colalign=("left", *["right"] * 3)),
            f"Packed training of CLIA on made logs ({'; '.join(where) or 'no point was measured'}); a part of an epoch "
            "is scaled to the whole.\n",
        ]
    )


def draw(results: Results, path: Path) -> None:
    """Time and memory against each size, on logarithmic scales, with the power laws."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(MEASURES), len(AXES), figsize=(10, 5.5), layout="constrained", squeeze=False)
    for column, name in enumerate(AXES):
        found = results.get(name, ())
        fits = fits_of(name, found)
        done = [result for _, result in found if "not_run" not in result]
        for panel, (key, title) in zip(axes[:, column], MEASURES.items(), strict=True):
            x = np.array([result[name] for result in done], dtype=np.float64)
            panel.plot(x, [result[key] for result in done], "o", color="C0")
            fit = fits[key]
            if fit is not None:
                ends = np.array([x.min(), x.max()])
                panel.plot(ends, fit.factor * ends**fit.exponent, "--", color="C1", label=f"exponent {fit}")
                panel.legend(frameon=False)
            panel.set(xlabel="length of histories" if name == "length" else name, ylabel=title if column == 0 else "")
            if done:
                panel.set(xscale="log", yscale="log")
            else:
                panel.set(xticks=[], yticks=[])
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


# --- the command ---------------------------------------------------------------------------


def points_of(words: Sequence[str], axes: Sequence[str]) -> dict[str, list[Point]]:
    """The points of each axis: its own, or those of ``AXIS=N,N`` among the words.

    Raises:
        UsageError: for an axis that is not measured, or a size that is no whole number or makes no log.
    """
    values: dict[str, Sequence[int]] = {name: AXES[name].values for name in dict.fromkeys(axes)}
    for word in words:
        name, _, listed = word.partition("=")
        if name not in values:
            raise UsageError(f"--points: {word!r} must have the form AXIS=N,N with an axis among {', '.join(values)}")
        try:
            numbers = [float(number) for number in listed.split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(number.is_integer() and number >= 1 for number in numbers):
            raise UsageError(f"--points: {word!r} must list whole numbers of at least 1, such as {name}=1000,1e4")
        values[name] = list(dict.fromkeys(map(int, numbers)))
    found = {name: [AXES[name].point(value) for value in sizes] for name, sizes in values.items()}
    for points in found.values():
        for point in points:
            if point.users < 1:
                raise UsageError(f"--points: {point}: a user alone has {point.length + HELD_OUT:,} interactions")
    return found


def scale(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    """Measure what is not there, and write tables and drawing.

    Raises:
        UsageError: for wrong arguments.
    """
    for name in ("limit", "batches", "seconds"):
        if not getattr(arguments, name) > 0:
            raise UsageError(f"--{name} must be positive, not {getattr(arguments, name)}")
    points = points_of(arguments.points, arguments.axes)
    data = (arguments.out / "data").resolve()
    given = parse_settings(words)
    own = {
        "data_path": str(data),
        "data_cache": str(data / "cache"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
        "time_unit": "s",
        "use_gpu": arguments.device == "cuda",
        "packed": True,
        "show_progress": False,
        "state": "ERROR",
    }
    for key in given:
        if key in own or key in ("MAX_ITEM_LIST_LENGTH", "model", "dataset"):
            raise UsageError(f"{key} cannot be set; the points of the axes decide on it")
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: {data} cannot be made: {error.strerror or error}") from error
    kept = arguments.out / "scaling.json"
    records: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.is_file() else {}
    threads = os.getenv("OMP_NUM_THREADS")
    results: dict[str, list[tuple[Point, dict[str, Any]]]] = {name: [] for name in points}
    todo = [(name, point) for name, of_axis in points.items() for point in of_axis]
    with tqdm(todo, desc="scaling", disable=None) as progress:
        for name, point in progress:
            progress.set_postfix_str(str(point))
            task = {
                "point": asdict(point),
                "settings": {**given, **own, "MAX_ITEM_LIST_LENGTH": point.length},
                "device": arguments.device,
                "batches": arguments.batches,
                "seconds": arguments.seconds,
            }
            key = json.dumps({**task, "threads": threads}, sort_keys=True)
            record = records.get(key)
            if record is None or record.get("limit", arguments.limit) < arguments.limit:
                record = measure(task, arguments.limit)
                if record.get("not_run", OVER) == OVER:  # whatever else went wrong is tried again
                    records[key] = record
                    kept.write_text(json.dumps(records, indent=1))
                said = record.get("not_run") or f"{record['seconds']:.3g} s an epoch, {record['growth_mib']:,.0f} MiB"
                progress.write(f"{point}: {said}")
            results[name].append((point, record))
    text = markdown(results)
    (arguments.out / "scaling.md").write_text(text, encoding="utf-8")
    draw(results, arguments.svg)
    print(f"\n{text}\nFigures: {kept}   Tables: {arguments.out / 'scaling.md'}   Drawing: {arguments.svg}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="the sizes that grow")
    parser.add_argument("--points", nargs="+", default=[], metavar="AXIS=N,N", help="other points of an axis")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a point, data included (default: 600)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batches", type=int, default=20, help="batches timed at most (default: 20)")
    parser.add_argument("--seconds", type=float, default=30.0, help="no batch begins later than this (default: 30)")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder for the logs and figures")
    parser.add_argument("--svg", type=Path, default=ROOT / "docs" / "scaling.svg", help="the drawing")
    for step in ("prepare", "measure"):
        parser.add_argument(f"--{step}", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    try:
        if arguments.prepare or arguments.measure:
            here = prepare_here if arguments.prepare else measure_here
            print(json.dumps(here(json.loads(arguments.prepare or arguments.measure))))
            return
        scale(arguments, rest)
    except UsageError as error:
        print(f"scaling: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
