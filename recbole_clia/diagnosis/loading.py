"""A trained model and the data it was trained on, brought together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from recbole.config import Config
from recbole.utils import FeatureType
from recbole.utils.argument_list import training_arguments

from ..data.atomic import AtomicFile
from ..data.dataset import LogDataset
from ..errors import UsageError
from ..running.checkpoint import load_model
from ..running.trainer import read_checkpoint
from ..settings.check import LAUNCH_KEYS, MODELS, nearest
from ..settings.config import PluginConfig
from ..settings.properties import PROPERTIES_DIR, read_properties
from .figures import Floats

USUAL_LABEL = "motive"  # of `recbole-clia synth`: 1 for taste, 0 for the intent of the moment


class Loaded(NamedTuple):
    """What a diagnosis is of."""

    checkpoint: dict[str, Any]
    config: Any
    model: Any
    test: Any  # a dataset
    popularity: Floats  # [I], interactions of each item in the training data
    label: str | None


def load(path: str, label: str | None, given: dict[str, Any]) -> Loaded:
    """Read a model's file, and build its data as they were when it was trained.

    Args:
        path: file of the model.
        label: column of the log to load too; ``None`` for :data:`USUAL_LABEL` if there is one, ``""`` for none.
        given: settings of the data that are others than then.

    Raises:
        UsageError: if the file, the data or the label cannot be used; see :func:`.report.diagnose`.
    """
    checkpoint = read_checkpoint(path)
    config = checkpoint["config"]
    if not isinstance(config, Config):
        raise UsageError(f"checkpoint {path}: it holds no model of RecBole's")
    if config["model"] not in MODELS:
        raise UsageError(f"diagnose: {path} holds {config['model']}; only {' and '.join(MODELS)} have two interests")
    if "sizes" not in checkpoint:
        raise UsageError(f"checkpoint {path}: it does not say how many users and items the model knows")
    _take_settings(config, given)
    file = _file(config)
    if not file.is_file():
        raise UsageError(
            f"dataset {config['dataset']!r}: there is no file {file}; say where the data are with data_path"
        )
    label = _find_label(config, file, label)
    dataset = _dataset(config, label)
    for field, size in checkpoint["sizes"].items():
        if dataset.num(field) != size:
            raise UsageError(
                f"{file}: there are {dataset.num(field) - 1:,} values of {field!r}, and the model of {path} was "
                f"trained with {size - 1:,}; these are other data, or other filters"
            )
    parts = _built(dataset)
    test = parts[-1]
    if not len(test):
        raise UsageError(f"dataset {config['dataset']!r}: its split leaves nothing to test on")
    if label is not None:
        _check_label(test, label, file)
    popularity = np.asarray(parts[0].inter_matrix("csr").sum(axis=0), dtype=np.float64).reshape(-1)
    try:
        model = load_model(path, config["device"])
    except RuntimeError as error:
        raise UsageError(f"checkpoint {path}: its weights do not fit the model that its settings describe") from error
    return Loaded(checkpoint, config, model, test, popularity, label)


def _take_settings(config: Any, given: dict[str, Any]) -> None:
    """Replace settings of a trained model's configuration by those given, and the device by one that is here."""
    model = config["model"]
    for key in given:
        if key in ("model", "dataset"):
            raise UsageError(f"diagnose: {key} is what the trained model's file says, {config[key]!r}; leave it out")
        if key in read_properties(PROPERTIES_DIR / "model" / f"{model}.yaml"):
            raise UsageError(f"diagnose: {key} is a setting of the trained model, and stays {config[key]!r}")
        if key in (*training_arguments, "train_seconds"):
            raise UsageError(f"diagnose: {key} is a setting of training, which is over; leave it out")
    before = {key: value for key, value in config.external_config_dict.items() if key not in LAUNCH_KEYS}
    fresh = PluginConfig(model, config["dataset"], config_dict={**before, **given})  # refuses what is bad
    for key in (*given, "data_path", "device"):
        config[key] = fresh[key]


def _file(config: Any) -> Path:
    parts = config["benchmark_filename"]
    name = f"{config['dataset']}.{parts[-1]}" if parts else config["dataset"]
    return Path(config["data_path"]) / f"{name}.inter"


def _find_label(config: Any, file: Path, label: str | None) -> str | None:
    columns = list(AtomicFile(file, config["field_separator"], config["encoding"] or "utf-8").header())
    if not label:
        return USUAL_LABEL if label is None and USUAL_LABEL in columns else None
    if label not in columns:
        raise UsageError(
            f"label: there is no field {label!r} in {file}, only {', '.join(columns)}{nearest(label, set(columns))}"
        )
    if label in (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["TIME_FIELD"]):
        raise UsageError(f"label: {label!r} says who did what when, and is no label")
    return label


def _dataset(config: Any, label: str | None) -> Any:
    """The log of the run, with the label among its columns."""
    loaded = config["load_col"]
    columns = loaded.get("inter") if isinstance(loaded, dict) else None
    if label is None or not isinstance(columns, (list, tuple)) or label in columns:
        return _made(config)
    without = _made(config) if config["duplicate_rows"] == "first" else None
    config["load_col"] = {**loaded, "inter": [*columns, label]}
    config["data_cache"] = None  # another log than the run's
    dataset = _made(config)
    if without is not None and len(without.log) != len(dataset.log):
        raise UsageError(
            f"label: with {label!r} other interactions are there twice, so duplicate_rows: 'first' makes another log; "
            "train with the label among the columns of load_col"
        )
    return dataset


def _made(config: Any) -> Any:
    with _told(config):
        return LogDataset(config)


def _built(dataset: Any) -> Sequence[Any]:
    with _told(dataset.config):
        parts: Sequence[Any] = dataset.build()
        return parts


@contextmanager
def _told(config: Any) -> Iterator[None]:
    """Say in one sentence what RecBole finds wrong with the data."""
    try:
        yield
    except UsageError:
        raise
    except KeyError as error:
        raise UsageError(
            f"dataset {config['dataset']!r}: its settings name '{error.args[0]}', which is no field that is loaded"
        ) from error
    except (ValueError, OSError) as error:
        raise UsageError(f"dataset {config['dataset']!r}: {error}") from error


def _check_label(test: Any, label: str, file: Path) -> None:
    if label not in test.inter_feat:
        raise UsageError(f"label: the field {label!r} of {file} is not loaded (load_col, unload_col, unused_col)")
    if test.field2type[label] not in (FeatureType.TOKEN, FeatureType.FLOAT):
        raise UsageError(f"label: the field {label!r} of {file} must hold one number a row, not a sequence")
    values = values_of(test, label, np.asarray(test.inter_feat[label]))
    others = np.unique(values[(values != 0) & (values != 1)])
    if len(others):
        raise UsageError(
            f"label: the field {label!r} of {file} must hold 0 and 1 only, and has "
            + (f"{others[0]:g}" if not np.isnan(others).all() else "something that is no number")
            + "; an empty label stands for none"
        )


def values_of(dataset: Any, field: str, column: NDArray[Any]) -> Floats:
    """Numbers that a column of ids or of floats stands for; NaN for what is no number."""
    if dataset.field2type[field] == FeatureType.FLOAT:
        return column.astype(np.float64)
    words = dataset.field2id_token[field]
    distinct, of_row = np.unique(column, return_inverse=True)
    return np.array([_number(words[number]) for number in distinct], dtype=np.float64)[of_row]


def _number(word: Any) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
