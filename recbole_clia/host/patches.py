"""Faults of RecBole 1.2.1 on today's Python stack, each mended only where it is present.

A patch is two functions, ``present`` and ``mend``, with the reason beside them.  Nothing here
knows of the plugin's models: RecBole alone is better for it.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Patch:
    """One fault: what it is, RecBole's own thread on it if there is one, how to see it and how to mend it."""

    name: str
    reason: str
    thread: str
    present: Callable[[], bool]
    mend: Callable[[], None]


# --- ray -----------------------------------------------------------------------------------


class _RayTuneStandIn(types.ModuleType):
    """Takes the place of ``ray.tune`` where ray cannot be imported."""

    @staticmethod
    def report(**_metrics: Any) -> None:
        """Outside a Ray Tune session the real function does nothing either."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"ray.tune.{name} needs a working ray, and the installed one cannot be imported")


def _ray_is_broken() -> bool:
    if "recbole.quick_start" in sys.modules:
        return False
    before = set(sys.modules)
    try:
        importlib.import_module("ray.tune")
    except Exception:  # an old ray fails on new numpy and setuptools in several ways
        for name in set(sys.modules) - before:
            if name == "ray" or name.startswith("ray."):
                del sys.modules[name]
        return True
    return False


def _import_quick_start_without_ray() -> None:
    ray, tune = types.ModuleType("ray"), _RayTuneStandIn("ray.tune")
    ray.tune = tune  # type: ignore[attr-defined]
    sys.modules.update({"ray": ray, "ray.tune": tune})
    try:
        importlib.import_module("recbole.quick_start")
    finally:
        del sys.modules["ray"], sys.modules["ray.tune"]


# --- numpy ---------------------------------------------------------------------------------

_NUMPY_ALIASES = {
    "bool": "bool_",
    "int": "int_",
    "float": "float64",
    "complex": "complex128",
    "object": "object_",
    "str": "str_",
    "long": "int_",
    "unicode": "str_",
}


def _numpy_lost_its_aliases() -> bool:
    import numpy as np

    return not all(hasattr(np, alias) for alias in _NUMPY_ALIASES)


def _set_numpy_aliases() -> None:
    import numpy as np
    from recbole.config import Config

    def compatibility_settings(self: Any) -> None:
        for alias, name in _NUMPY_ALIASES.items():
            setattr(np, alias, getattr(np, name))

    Config.compatibility_settings = compatibility_settings
    compatibility_settings(None)  # a checkpoint brings its Config along, and makes none


# --- torch ---------------------------------------------------------------------------------


def _torch_load_can_be_strict() -> bool:
    import inspect

    import torch

    return "weights_only" in inspect.signature(torch.load).parameters


def _make_config_a_safe_pickle() -> None:
    """Let RecBole's checkpoints through ``torch.load(weights_only=True)``.

    A checkpoint pickles the whole ``Config``, in a protocol that the strict loader cannot read.
    The two classes inside that are not data (the model's class and a yaml loader) are left out,
    what remains is put on torch's list of types that cannot run code, and the protocol is torch's own.
    """
    import os

    import numpy as np
    import scipy.sparse as sp
    import torch
    from recbole.config import Config
    from recbole.trainer import Trainer
    from recbole.utils import EvaluatorType, InputType, ModelType
    from torch.nn import Module

    def plain_state(self: Any) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("model_class", "yaml_loader")}

    def _checkpoint_state(self: Any, epoch: int) -> dict[str, Any]:
        return {
            "config": self.config,
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "state_dict": self.model.state_dict(),
            # A module among them is in the state_dict already, and would be pickled as code.
            "other_parameter": {k: v for k, v in self.model.other_parameter().items() if not isinstance(v, Module)},
            "optimizer": self.optimizer.state_dict(),
        }

    def _save_checkpoint(self: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        if not self.config["single_spec"] and self.config["local_rank"] != 0:
            return
        path = kwargs.pop("saved_model_file", self.saved_model_file)
        torch.save(self._checkpoint_state(epoch), f"{path}.part")
        os.replace(f"{path}.part", path)  # a run that is stopped leaves no half file
        if verbose:
            self.logger.info(f"Saving current: {path}")

    Config.__getstate__ = plain_state
    Trainer._checkpoint_state = _checkpoint_state
    Trainer._save_checkpoint = _save_checkpoint
    scalar: Any = np.float64(0).__reduce__()[0]
    array: Any = np.zeros(1).__reduce__()[0]
    dtypes = {type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool", "uint8")}
    matrices = [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.lil_matrix, sp.dok_matrix]
    torch.serialization.add_safe_globals(
        [
            Config,
            ModelType,
            InputType,
            EvaluatorType,
            np.ndarray,
            np.matrix,
            np.dtype,
            scalar,
            array,
            *dtypes,
            *matrices,
        ]
    )


def _a_model_debugs_the_process() -> bool:
    import torch

    before = torch.is_anomaly_enabled()
    importlib.import_module("recbole.model.sequential_recommender")
    return torch.is_anomaly_enabled() and not before


def _stop_debugging() -> None:
    import torch

    torch.autograd.set_detect_anomaly(False)


# --- scipy ---------------------------------------------------------------------------------


def _dok_matrix_lost_update() -> bool:
    import scipy.sparse as sp

    return not hasattr(sp.dok_matrix, "_update")


def _restore_dok_update() -> None:
    import scipy.sparse as sp

    def _update(self: Any, data: dict[tuple[int, int], float]) -> None:
        self._dict.update(data)

    sp.dok_matrix._update = _update


# --- hyperopt ------------------------------------------------------------------------------


def _hyperopt_draws_with_a_generator() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        numbers = [int(part) for part in version("hyperopt").split(".")[:3] if part.isdigit()]
    except PackageNotFoundError:
        return False
    return numbers >= [0, 2, 6]


class _NumpyOfGenerators(types.ModuleType):
    """numpy, with the generators of today under the name of the old one."""

    def __getattr__(self, name: str) -> Any:
        import numpy as np

        return types.SimpleNamespace(RandomState=np.random.default_rng) if name == "random" else getattr(np, name)


def _search_exhaustively_with_a_generator() -> None:
    from recbole.trainer import hyper_tuning

    hyper_tuning.np = _NumpyOfGenerators("numpy")


# --- several processes without a GPU ---------------------------------------------------------


def _no_cuda() -> bool:
    import torch

    return not torch.cuda.is_available()


def _spread_over_cpus() -> None:
    """RecBole asks for nccl and numbered devices whatever the machine has."""
    import torch
    from recbole.config import Config
    from recbole.trainer import trainer as host

    cuda_init_device = Config._init_device
    cuda_ddp = host.DistributedDataParallel

    def _init_device(self: Any) -> None:
        settings = self.final_config_dict
        if "local_rank" not in settings:
            cuda_init_device(self)
            return
        torch.distributed.init_process_group(
            backend="gloo",
            rank=settings["local_rank"] + settings["offset"],
            world_size=settings["world_size"],
            init_method=f"tcp://{settings['ip']}:{settings['port']}",
        )
        settings.update(device=torch.device("cpu"), single_spec=False)
        if settings["local_rank"] != 0:
            settings.update(state="error", show_progress=False, verbose=False)

    def distributed(module: Any, device_ids: Any = None, **kwargs: Any) -> Any:
        return cuda_ddp(module, device_ids=None, **kwargs)

    Config._init_device = _init_device
    host.DistributedDataParallel = distributed


def _always() -> bool:
    return True


def _share_files() -> None:
    """Runs name their checkpoints by the second; processes of a run race for folders, and only the first one writes."""
    import os
    import uuid

    import torch.distributed as dist
    from recbole.trainer import Trainer
    from recbole.utils import ensure_dir as host_ensure_dir

    def ensure_dir(dir_path: str) -> None:
        os.makedirs(dir_path, exist_ok=True)

    for name, module in list(sys.modules.items()):
        if name.startswith("recbole.") and getattr(module, "ensure_dir", None) is host_ensure_dir:
            module.ensure_dir = ensure_dir  # type: ignore[attr-defined]

    init, evaluate = Trainer.__init__, Trainer.evaluate

    def __init__(self: Any, config: Any, model: Any) -> None:
        init(self, config, model)
        start, end = os.path.splitext(self.saved_model_file)
        self.saved_model_file = f"{start}-{uuid.uuid4().hex[:6]}{end}"
        if not config["single_spec"]:
            name = [self.saved_model_file]
            dist.broadcast_object_list(name, src=0)
            self.saved_model_file = name[0]

    def evaluate_after_writing(
        self: Any, eval_data: Any, load_best_model: bool = True, model_file: Any = None, show_progress: bool = False
    ) -> Any:
        if load_best_model and not self.config["single_spec"]:
            dist.barrier()
        return evaluate(self, eval_data, load_best_model, model_file, show_progress)

    Trainer.__init__ = __init__
    Trainer.evaluate = evaluate_after_writing


# --- metrics -------------------------------------------------------------------------------


def _collect_what_is_no_tensor() -> None:
    from recbole.evaluator.collector import Collector

    collect = Collector.get_data_struct

    def get_data_struct(self: Any) -> Any:
        held = self.data_struct._data_dict
        other = {key: value for key, value in held.items() if not hasattr(value, "cpu")}
        for key in other:
            del held[key]
        struct = collect(self)
        for data in (held, struct._data_dict):
            data.update(other)
        return struct

    Collector.get_data_struct = get_data_struct


# --- memory --------------------------------------------------------------------------------

_SLAB_BYTES = 4 << 20  # as much as stays in a processor's cache: six times as fast as 256 MiB


def _rank_a_slab_of_rows_at_a_time() -> None:
    """A batch of TransRec's evaluation has a vector for each pair of a row and an item."""
    from recbole.model.sequential_recommender import TransRec

    rank = TransRec.full_sort_predict

    def full_sort_predict(self: Any, interaction: Any) -> Any:
        rows = max(1, _SLAB_BYTES // (4 * self.item_embedding.weight.numel()))
        if len(interaction) <= rows:
            return rank(self, interaction)
        # Taken once: what is kept between one slab and the next would keep the memory of slabs from being used again.
        scores = self.bias.weight.new_empty(len(interaction), len(self.bias.weight))
        for start in range(0, len(interaction), rows):
            scores[start : start + rows] = rank(self, interaction[start : start + rows])
        return scores

    TransRec.full_sort_predict = full_sort_predict


# --- noise ---------------------------------------------------------------------------------


def _silence_future_warnings() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.(trainer|data)\.")


PATCHES = (
    Patch(
        "ray",
        "recbole.quick_start imports ray.tune, and ray 2.6.3 needs pkg_resources and numpy.bool8, which are gone",
        "RecBole #2078, #2215",
        _ray_is_broken,
        _import_quick_start_without_ray,
    ),
    Patch(
        "numpy aliases",
        "Config() reads numpy.float_, numpy.complex_ and numpy.unicode_, removed in numpy 2",
        "RecBole #1604, #2215",
        _numpy_lost_its_aliases,
        _set_numpy_aliases,
    ),
    Patch(
        "checkpoints",
        "torch.load refuses the pickled Config in RecBole's checkpoints, so the best model cannot be evaluated",
        "RecBole #2155, #2215",
        _torch_load_can_be_strict,
        _make_config_a_safe_pickle,
    ),
    Patch(
        "anomaly mode",
        "sine.py, imported with every sequential model, turns on torch's anomaly mode and slows all training down",
        "",
        _a_model_debugs_the_process,
        _stop_debugging,
    ),
    Patch(
        "scipy dok_matrix",
        "LightGCN and other graph models call dok_matrix._update, removed from scipy",
        "RecBole #2185",
        _dok_matrix_lost_update,
        _restore_dok_update,
    ),
    Patch(
        "exhaustive search",
        "HyperTuning's exhaustive search hands numpy's RandomState to hyperopt, which needs a Generator since 0.2.6",
        "RecBole #1320, #1868",
        _hyperopt_draws_with_a_generator,
        _search_exhaustively_with_a_generator,
    ),
    Patch(
        "processes on CPU",
        "--nproc asks for nccl and numbered GPUs even where there is none",
        "",
        _no_cuda,
        _spread_over_cpus,
    ),
    Patch(
        "shared files",
        "runs that start in the same second write one checkpoint; with --nproc processes race for folders, name the "
        "checkpoint by their clocks, and read before it is written",
        "",
        _always,
        _share_files,
    ),
    Patch(
        "catalogue metrics",
        "the collector takes numbers and counters for tensors, so that ItemCoverage, GiniIndex, AveragePopularity and "
        "TailPercentage fail",
        "",
        _always,
        _collect_what_is_no_tensor,
    ),
    Patch(
        "TransRec's ranking",
        "TransRec keeps a vector for each pair of a row and an item: 13 GB and more for 4,096 rows and 12,000 items",
        "",
        _always,
        _rank_a_slab_of_rows_at_a_time,
    ),
    Patch(
        "FutureWarnings",
        "RecBole's trainer and dataset make torch and pandas 2 warn of what still works, again and again",
        "",
        _always,
        _silence_future_warnings,
    ),
)

_applied: list[Patch] = []


def apply_patches() -> None:
    """Mend what is broken here; a second call does nothing."""
    if _applied:
        return
    for patch in PATCHES:
        if patch.present():
            patch.mend()
            _applied.append(patch)


def applied_patches() -> tuple[Patch, ...]:
    """The faults that were present in this process."""
    return tuple(_applied)
