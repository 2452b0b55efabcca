"""RecBole's ``Config`` as the plugin's own entry points build it: checked, and without ``eval``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from recbole.config import Config
from recbole.utils import ModelType

from ..data.atomic import AtomicFile
from ..data.splitting import BY_PERIOD
from ..errors import UsageError
from ..losses.precision import multiplies_bfloat16
from .check import (
    check_filters,
    check_keys,
    check_model,
    check_packed,
    check_values,
    nearest,
    protocols,
    recbole_dir,
    text_keys,
)
from .nested import check_loaded, check_nested
from .properties import PROPERTIES_DIR, plain_value, plain_yaml, read_properties, unreadable


class PluginConfig(Config):  # type: ignore[misc]
    """A ``Config`` that takes only what it is given.

    It differs from RecBole's in nine ways: ``use_gpu: False`` keeps a run off the GPU, where RecBole looks at
    ``gpu_id`` alone; it reads ``properties/every_model.yaml`` for every model; it does
    not read ``sys.argv``; strings become values as Python literals or YAML, never through ``eval``;
    keys and values are checked; a config file may be the name of one in ``properties/protocol``;
    a model trained with cross-entropy needs no ``train_neg_sample_args: ~``;
    an ml-100k in ``data_path`` is taken before the one that RecBole brings;
    and for a dataset without a property file a sequential model loads users, items and times, where
    RecBole leaves out the times.

    Raises:
        UsageError: for an unknown model, dataset or key, a value out of range, or a file that
            cannot be read.
    """

    plugins_own = True  # for RecBole's own models too, properties/every_model.yaml is read

    def __init__(
        self,
        model: str,
        dataset: str,
        config_file_list: Sequence[str] | str | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ) -> None:
        check_model(model)
        self._model_name = model
        self.remarks: list[str] = []
        try:
            files = [config_file_list] if isinstance(config_file_list, str) else config_file_list
            super().__init__(model, dataset, list(files or []), dict(config_dict or {}))
        except UsageError:
            raise
        except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, AssertionError) as error:
            raise UsageError(f"configuration: {error}") from error
        self._prefer_own_copy()
        check_values(self.final_config_dict, self.external_config_dict, model)
        check_filters(self.final_config_dict, self.external_config_dict)
        check_loaded(self.final_config_dict, self.external_config_dict)
        if self["packed"]:
            check_packed(model, self["loss_type"])
        check_evaluation(self)
        check_dataset(self)

    def _load_config_files(self, file_list: list[str]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for file in file_list:
            values = read_config_file(file)
            self.remarks += check_keys(values, self._model_name, file, shared=True)
            merged.update(values)
        return merged

    def _load_variable_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        self.remarks += check_keys(config_dict, self._model_name, "settings")
        text = text_keys(self._model_name)
        values = {k: plain_value(v) if isinstance(v, str) else _plain(v) for k, v in config_dict.items()}
        # A folder may be called 2024.
        return {k: config_dict[k] if k in text and _is_number(v) else v for k, v in values.items()}

    def _prefer_own_copy(self) -> None:
        """RecBole takes the ml-100k that it brings, wherever the data are said to be."""
        if self.dataset != "ml-100k":
            return
        own = Path(self.external_config_dict.get("data_path") or self.internal_config_dict["data_path"]) / self.dataset
        if (own / f"{self.dataset}.inter").is_file():
            self.final_config_dict["data_path"] = str(own)
        elif "data_path" in self.external_config_dict:
            self.remarks.append(f"data_path: there is no {own / self.dataset}.inter, so RecBole's own copy is used")

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _get_final_config_dict(self) -> dict[str, Any]:
        check_nested(self.external_config_dict)
        final = super()._get_final_config_dict()
        if final.get("loss_type") == "CE" and "train_neg_sample_args" not in self.external_config_dict:
            final["train_neg_sample_args"] = None
        if isinstance(final.get("gpu_id"), (list, tuple)):
            final["gpu_id"] = ",".join(map(str, final["gpu_id"]))
        off = final.get("use_gpu") is False and "local_rank" not in final  # RecBole reads gpu_id alone
        if off or final.get("gpu_id") is None:
            final["gpu_id"] = ""
        if self._needs_time() and "load_col" not in self.external_config_dict and not self._has_dataset_file():
            final["load_col"] = {"inter": [final[field] for field in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")]}
        return final

    def _needs_time(self) -> bool:
        return bool(self.internal_config_dict["MODEL_TYPE"] == ModelType.SEQUENTIAL)

    def _has_dataset_file(self) -> bool:
        folders = (PROPERTIES_DIR, recbole_dir() / "properties")
        return any((folder / "dataset" / f"{self.dataset}.yaml").is_file() for folder in folders)

    def log_remarks(self) -> None:
        """Warn of the keys that do nothing for this model, and of what this machine is slow at."""
        remarks = list(self.remarks)
        if self["model"] == "CLIA" and self["loss_type"] == "CE":
            idle = [key for key in self.external_config_dict if key.startswith("negative_") or key == "exclude_history"]
            remarks += [f"{key}: it does nothing with loss_type CE; BPR and SSM take negatives" for key in idle]
        in_bfloat16 = self["loss_type"] == "CE" and self["softmax_dtype"] == "bfloat16"
        if in_bfloat16 and not multiplies_bfloat16(self["device"]):
            remarks.append(
                "softmax_dtype: this CPU does not multiply bfloat16 itself, so that training takes several times as "
                "long as with float32; auto takes the faster one"
            )
        for remark in remarks:
            getLogger().warning(remark)


def _plain(value: Any) -> Any:
    """Paths as text, numbers of numpy as Python's, and tuples as lists: what RecBole and its checkpoints take."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_config_file(file: str) -> dict[str, Any]:
    """A user's yaml file of settings, or a protocol by its name, as plain data.

    Raises:
        UsageError: if it cannot be read, is not YAML, or is not a mapping.
    """
    path = Path(file)
    if path.name == str(file) and not path.suffix and not path.is_file():
        known = protocols()
        if path.name not in known:
            raise UsageError(
                f"config file {file}: there is no such file, and no protocol of that name; "
                f"the protocols are {', '.join(known)}{nearest(path.name, known)}"
            )
        path = known[path.name]
    try:
        values = plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(unreadable(f"config file {file}", error)) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"config file {file}: must hold 'key: value' lines, not {type(values).__name__}")
    return values


def sampled_negatives(config: Config, phase: str) -> int:
    """Negatives of each positive in ``"valid"`` or ``"test"``; 0 where all items are ranked, or the data name them."""
    number = config[f"{phase}_neg_sample_args"]["sample_num"]
    return 0 if number == "none" else int(number)


def describe_evaluation(config: Config) -> str:
    """Among what the positives of validation and of test are ranked."""
    valid, test = (_describe_phase(config, phase) for phase in ("valid", "test"))
    return valid if valid == test else f"{valid} in validation, {test} in test"


def _describe_phase(config: Config, phase: str) -> str:
    number, mode = sampled_negatives(config, phase), config["eval_args"]["mode"][phase]
    if not number:
        return "full ranking" if mode == "full" else mode
    law = "by popularity" if mode.startswith("pop") else "uniformly"
    together = "" if config["sampled_groups"] == "positive" else ", all of a user together"
    return f"{number} negatives sampled {law}{together}"


_UNCUT = ("auc", "gauc", "pooledauc", "logloss", "mae", "rmse")  # metrics of all scores
_LEFT_OUT = ("valid_and_test", "valid_only", "test_only")


def _check_metrics(config: Config) -> None:
    """Refuse a metric for the early stopping that is not computed."""
    if not config["topk"]:
        raise UsageError("topk: it must be a number of at least 1 or a list of them, not empty")
    names: list[str] = []
    for metric in map(str.lower, config["metrics"]):
        names += [metric] if metric in _UNCUT else [f"{metric}@{k}" for k in config["topk"]]
    if str(config["valid_metric"]).lower() not in names:
        raise UsageError(
            f"valid_metric: {config['valid_metric']!r} is not among what metrics and topk compute, which is "
            f"{', '.join(names)}; set it to one of them"
        )


def check_evaluation(config: Config) -> None:
    """Refuse an evaluation that the data of the model cannot give, or that its metrics cannot be taken from."""
    _check_metrics(config)
    split = config["eval_args"]["split"]
    if isinstance(split, dict) and (len(split) != 1 or not set(split) <= {"RS", "LS", "TS"}):
        raise UsageError(f"eval_args: its split must have one of the keys RS, LS and TS, not {split}")
    if isinstance(split, dict) and "LS" in split and split["LS"] not in _LEFT_OUT:
        raise UsageError(f"eval_args: the split LS must be one of {', '.join(_LEFT_OUT)}, not {split['LS']!r}")
    order = config["eval_args"]["order"]
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and order != "TO":
        raise UsageError(
            f"eval_args: its order must be TO for {config['model']}, a sequential model, not {order}; what eval_args "
            "leaves out is split {'RS': [0.8, 0.1, 0.1]}, order RO, group_by user, mode full"
        )
    by_period = split == BY_PERIOD
    points = split.get("TS") if isinstance(split, dict) else None
    if isinstance(points, list) and not by_period and not all(isinstance(point, (int, float)) for point in points):
        raise UsageError(
            f"eval_args: its split must be {BY_PERIOD}, or ratios such as {{'TS': [0.8, 0.1, 0.1]}}, not {split}"
        )
    in_groups = config["sampled_groups"] == "positive"
    lacking = _why_no_log(config) if by_period or in_groups else None
    if lacking:
        asked = f"the split {BY_PERIOD}" if by_period else "sampled_groups: 'positive'"
        raise UsageError(f"eval_args: {asked} needs {lacking}")
    if "pooledauc" in [metric.lower() for metric in config["metrics"]] and not (
        in_groups and all(sampled_negatives(config, phase) for phase in ("valid", "test"))
    ):
        raise UsageError(
            "metrics: PooledAUC needs sampled_groups: 'positive', and in eval_args a mode such as 'pop99' for "
            "validation and test"
        )


def _why_no_log(config: Config) -> str | None:
    """What keeps this model from the plugin's log of interactions."""
    from recbole.data import dataset as datasets

    from ..data.dataset import LogDataset

    model, own = config["model"], getattr(datasets, f"{config['model']}Dataset", None)
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        return f"a sequential model, and {model} is none"
    if own is not None and own is not LogDataset:
        return f"the order of a log, and {model} has a dataset of its own in RecBole"
    if config["benchmark_filename"]:
        return "the order of a log, and benchmark_filename has already split it"
    if own is None and not (config["exact_time"] or config["lazy_augmentation"]):
        return "exact_time: True"
    return None


def check_dataset(config: Config) -> None:
    """Refuse a dataset of which there are no files and which RecBole cannot fetch either."""
    folder = Path(config["data_path"])
    name = config["dataset"]
    if name != Path(name).name:
        raise UsageError(f"dataset {name!r}: it must be a name; the folder that holds its folder is data_path")
    if folder.is_dir():
        if config["benchmark_filename"]:
            return
        file = folder / f"{name}.inter"
        if not file.is_file():
            raise UsageError(f"dataset {name!r}: there is no file {file}")
        _check_header(config, file)
        return
    fetched = read_properties(recbole_dir() / "properties/dataset/url.yaml")
    if name in fetched:
        return
    if (PROPERTIES_DIR / "dataset" / f"{name}.yaml").is_file():
        from ..converters.catalogue import how_to_get

        raise UsageError(f"dataset {name!r}: there is no folder {folder}; {how_to_get(name, folder)}")
    here = {path.parent.name for path in folder.parent.glob("*/*.inter")} | {"ml-100k"}
    known = {path.stem for path in (PROPERTIES_DIR / "dataset").glob("*.yaml")}
    raise UsageError(
        f"dataset {name!r} is unknown: there is no folder {folder}, and the data at hand are "
        f"{', '.join(sorted(here))}{nearest(name, here | known | set(fetched))}"
    )


def _check_header(config: Config, file: Path) -> None:
    fields = AtomicFile(file, config["field_separator"], config["encoding"] or "utf-8").header()
    needed = ["USER_ID_FIELD", "ITEM_ID_FIELD"]
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        needed.append("TIME_FIELD")
    for key in needed:
        if config[key] not in fields:
            raise UsageError(
                f"{file}, line 1: there is no field {config[key]!r} among {', '.join(fields)}; "
                f"name the column with --{key}"
            )
        loaded = (config["load_col"] or {}).get("inter")
        if loaded not in (None, "*") and config[key] not in loaded:
            raise UsageError(f"load_col: its 'inter' must hold {config[key]!r} ({key}), not only {', '.join(loaded)}")
