"""Which runs a comparison consists of, each with its whole configuration, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..settings.check import MODELS, PACKED_BASELINES, check_keys, framework_keys, model_keys, models, nearest
from ..settings.config import PluginConfig, read_config_file
from ..version import __version__

GENERAL = ("BPR", "Pop")
# RecBole's sequential models that take items alone, and its two plainest general ones.
COMPARABLE = (
    *MODELS,
    *("BERT4Rec", "CORE", "Caser", "FEARec", "FPMC", "GCSAN", "GRU4Rec", "HGN", "HRM", "LightSANs", "NARM", "NPE"),
    *("NextItNet", "RepeatNet", "SASRec", "SHAN", "SINE", "SRGNN", "STAMP", "TransRec"),
    *GENERAL,
)

METRICS = ("NDCG@10", "Hit@10", "MRR@10", "Recall@20")
PROTOCOL: dict[str, Any] = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "exact_time": True,
    "repeatable": True,  # items of the history are ranked too, for RecBole's general models as for its sequential ones
    "metrics": ["NDCG", "Hit", "MRR", "Recall"],
    "topk": [10, 20],
    "valid_metric": "NDCG@10",
}
# What the protocol fixes besides, or what the command has an option for.
_NOT_SET = {*PROTOCOL, "seed", "model", "dataset", "benchmark_filename", "sampled_groups", "checkpoint_dir", "nproc"}
_NOT_SET |= {"resume", "config_files", "metric_decimal_place"}
# Settings that all models of a dataset share: its filters, and when training ends.
SHARED = (
    *("data_path", "encoding", "field_separator"),
    *("user_inter_num_interval", "item_inter_num_interval", "val_interval", "rm_dup_inter"),
    *("filter_inter_by_user_or_item", "duplicate_rows", "time_unit", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD"),
    *("epochs", "eval_step", "stopping_step", "train_seconds"),
)
# Settings that change no figure of a run, or that the files' fingerprint stands for.
IDLE = {
    "data_path",
    "data_cache",
    "checkpoint_dir",
    "show_progress",
    "state",
    "gpu_id",
    "use_gpu",
    "device",
    "config_files",
}
IDLE |= {"log_wandb", "wandb_project", "save_dataset", "save_dataloaders", "dataset_save_path"}
IDLE |= {"dataloaders_save_path", "local_rank", "world_size", "offset", "nproc", "ip", "port", "single_spec"}

FIRST_SEED = 2020


@dataclass(frozen=True)
class Run:
    """One model on one dataset with one seed.

    Attributes:
        settings: what is given to :class:`PluginConfig`; it needs no file but the dataset's.
        config: the whole configuration that comes of it, as plain data.
        key: hash of what decides on the figures; see :func:`key_of`.
        files: SHA-256 of the dataset's files; see :func:`fingerprint`.
    """

    model: str
    dataset: str
    seed: int
    settings: Mapping[str, Any] = field(compare=False, repr=False)
    config: Mapping[str, Any] = field(compare=False, repr=False)
    key: str
    files: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def packed(self) -> bool:
        return bool(self.config.get("packed"))

    @property
    def folder(self) -> str:
        """The name of the folder in which the run is kept."""
        return f"{self.model}-{self.dataset}-{self.seed}-{self.key}"

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Tuned:
    """What a study found for a model on a dataset.

    Attributes:
        trials: all that the study has, ``given_up`` of them early, and ``untrainable`` for an error.
        score: the best one's, in the protocol's ``valid_metric``.
        settings: what was searched, as the best trial had it.
        file: the property file of it.
    """

    trials: int
    given_up: int
    untrainable: int
    seed: int
    score: float
    settings: Mapping[str, Any]
    file: str


def seeds_of(number: int | None, named: Sequence[int] | None) -> list[int]:
    """``number`` seeds from 2020 on, or those that are named.

    Raises:
        UsageError: if both are given, or a number is out of range.
    """
    if number is not None and named:
        raise UsageError("compare: give --seeds N, a number of seeds, or --seed_list, the seeds themselves, not both")
    if number is not None and not 1 <= number <= 1000:
        raise UsageError(f"--seeds must be a number of seeds in [1, 1000], not {number}; --seed_list names seeds")
    seeds = list(named) if named else [FIRST_SEED + i for i in range(5 if number is None else number)]
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise UsageError(f"--seed_list: a seed must be in [0, {2**32 - 1}], not {seed}")
    return list(dict.fromkeys(seeds))


def check_models(names: Sequence[str]) -> list[str]:
    """The names without repetition.

    Raises:
        UsageError: for a model that cannot be compared.
    """
    for name in names:
        if name not in COMPARABLE:
            known = f"{name!r} cannot be compared" if name in models() else f"{name!r} is unknown"
            raise UsageError(
                f"--models: {known}{nearest(name, COMPARABLE)}; those that rank by users, items and times alone can: "
                f"{', '.join(COMPARABLE)}"
            )
    return list(dict.fromkeys(names))


def make_plan(
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int],
    config_files: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    tuned: Mapping[tuple[str, str], Tuned] | None = None,
) -> list[Run]:
    """All runs, seed after seed, so that each model has a figure early.

    Args:
        models, datasets, seeds: what is crossed.
        config_files: yaml files for every model, each with the keys that it reads; ``MODEL=FILE`` is for one model.  A
            seed in a file does not count.
        settings: ``key: value`` for every model that reads the key, or any of them for the framework's.
        tuned: what was found for a model and a dataset, in place of the model's defaults.

    Raises:
        UsageError: for anything that one of the runs could not take; nothing has run then.
    """
    models, datasets = check_models(models), list(dict.fromkeys(datasets))
    given = {model: _settings_of(model, models, config_files, settings or {}) for model in models}
    configs: dict[tuple[str, str], tuple[dict[str, Any], PluginConfig]] = {}
    for dataset in datasets:
        columns = _columns(dataset, given[models[0]])
        for model in models:
            found = (tuned or {}).get((model, dataset))
            own = {**(found.settings if found else {}), **given[model], **PROTOCOL}
            if model in PACKED_BASELINES:
                own.setdefault("packed", own.get("loss_type", "CE") == "CE")
            if model == "Pop":
                own["train_neg_sample_args"] = None  # it would count the negatives
            if model in GENERAL:
                own.setdefault("load_col", columns)
            configs[model, dataset] = own, PluginConfig(model, dataset, config_dict=own)
        _check_shared(dataset, {model: configs[model, dataset][1] for model in models})
    prints = {dataset: fingerprint(configs[models[0], dataset][1]) for dataset in datasets}
    runs = []
    for seed in seeds:
        for dataset in datasets:
            for model in models:
                own, config = configs[model, dataset]
                whole = {**plain(config.final_config_dict), "seed": seed}
                key = key_of(whole, prints[dataset])
                paths = {"data_path": os.path.abspath({**config.internal_config_dict, **own}["data_path"])}
                if config["data_cache"]:
                    paths["data_cache"] = os.path.abspath(config["data_cache"])
                runs.append(Run(model, dataset, seed, {**own, **paths, "seed": seed}, whole, key, prints[dataset]))
    return runs


def check_data(runs: Sequence[Run]) -> None:
    """Load each dataset once, which leaves it in the cache for the runs.

    Raises:
        UsageError: if the filters leave too little of one for a model to be trained and ranked.
    """
    from ..running.quick_start import _load

    for dataset in dict.fromkeys(run.dataset for run in runs):
        own = [run for run in runs if run.dataset == dataset]
        run = next((run for run in own if run.model not in GENERAL), own[0])
        config = PluginConfig(run.model, dataset, config_dict={**run.settings, "save_dataset": False})
        try:
            _load(config)
        except UsageError:
            raise
        except Exception:  # whatever it is, it is recorded of each run
            continue


def _columns(dataset: str, settings: Mapping[str, Any]) -> Any:
    """What a sequential model loads of the dataset, its times among it."""
    from recbole.utils.argument_list import dataset_arguments

    shared = {*dataset_arguments, "data_path"} - {"packed"}
    return PluginConfig("NARM", dataset, config_dict={k: v for k, v in settings.items() if k in shared})["load_col"]


def _settings_of(
    model: str, models: Sequence[str], config_files: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in config_files:
        name, equals, file = word.partition("=")
        if equals and name not in models:
            raise UsageError(f"--config_files: {word} is for {name!r}, which is none of {', '.join(models)}")
        if equals and name != model:
            continue
        values = read_config_file(file if equals else word)
        # A file that a search has written holds its seed, and the protocol if that was searched under.
        values = {k: v for k, v in values.items() if k != "seed" and (k not in PROTOCOL or v != PROTOCOL[k])}
        _refuse_fixed(values, word)
        check_keys(values, model, word, shared=not equals)
        found.update(_readable(values, model))
    _refuse_fixed(settings, "settings")
    for key in settings:
        check_keys([key], model, "settings", shared=True)
        if key not in framework_keys() and not any(key in model_keys(other) for other in models):
            raise UsageError(f"settings: the key {key!r} is read by none of {', '.join(models)}")
    found.update(_readable(settings, model))
    return found


def _readable(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    known = framework_keys() | model_keys(model)
    # It stands among the framework's keys, and is meant for the models that can be packed.
    if "packed" not in model_keys(model):
        known = known - {"packed"}
    return {key: value for key, value in settings.items() if key in known}


def _refuse_fixed(keys: Mapping[str, Any], where: str) -> None:
    for key in keys:
        if key in _NOT_SET:
            raise UsageError(
                f"{where}: {key} cannot be set; all models are compared by leave-one-out in exact order of time and "
                "full ranking, and the command has options for models, datasets, seeds and files"
            )


def _check_shared(dataset: str, configs: Mapping[str, PluginConfig]) -> None:
    for key in SHARED:
        values = {model: config[key] for model, config in configs.items()}
        first, *others = values
        for other in others:
            if values[other] != values[first]:
                raise UsageError(
                    f"{key}: it must be the same for all models of a dataset, and on {dataset!r} it is "
                    f"{values[first]!r} for {first} and {values[other]!r} for {other}"
                )


def plain(value: Any) -> Any:
    """Settings as JSON holds them; what is no plain data becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def fingerprint(config: PluginConfig) -> dict[str, str]:
    """SHA-256 of each file of a dataset, by its name; a dataset that RecBole can fetch is fetched."""
    folder = Path(config["data_path"])
    if not folder.is_dir():
        from recbole.data import create_dataset

        create_dataset(config)
    files = sorted(folder / f"{config['dataset']}.{suffix}" for suffix in ("inter", "item", "user"))
    return {file.name: _sha256(file) for file in files if file.is_file()}


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """What figures may depend on: ``major.minor`` of this package and of RecBole, ``major`` of torch and numpy."""
    found = {"recbole_clia": __version__, **{name: version(name) for name in ("recbole", "torch", "numpy")}}
    parts = {name: 2 if name.startswith("recbole") else 1 for name in found}
    return {name: ".".join(text.split(".")[: parts[name]]) for name, text in found.items()}


def key_of(config: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Twelve digits for a configuration with its seed, the dataset's files, and :func:`versions`."""
    what = {
        "config": {key: value for key, value in config.items() if key not in IDLE},
        "files": dict(files),
        "versions": versions(),
    }
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
