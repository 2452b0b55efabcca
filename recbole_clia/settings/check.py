"""Refuse keys that nobody reads and values out of range, before anything is computed."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .properties import COMMON_PROPERTIES, PROPERTIES_DIR, Allowed, Property, read_properties

# RecBole's own files name the types of these, but not their ranges.
HOST_RANGES = {
    key: Allowed.parse(text)
    for key, text in {
        "epochs": "[0, inf)",
        "train_batch_size": "[1, inf)",
        "eval_batch_size": "[1, inf)",
        "learning_rate": "(0, inf)",
        "weight_decay": "[0, inf)",
        "eval_step": "[0, inf)",
        "stopping_step": "[0, inf)",
        "seed": "[0, 4294967295]",
        "worker": "[0, inf)",
        "MAX_ITEM_LIST_LENGTH": "[1, inf)",
        "metric_decimal_place": "[0, inf)",
        "learner": "['adam', 'adamw', 'sgd', 'adagrad', 'rmsprop']",  # no model has the sparse gradients of sparse_adam
        "state": "['debug', 'info', 'warning', 'error', 'critical']",
        "dropout_prob": "[0, 1)",
        "hidden_dropout_prob": "[0, 1)",
        "attn_dropout_prob": "[0, 1)",
    }.items()
}
# Read from the configuration by the entry points themselves.
LAUNCH_KEYS = {"model", "dataset", "config_files", "nproc", "world_size", "ip", "port", "group_offset", "offset"}
LAUNCH_KEYS |= {"local_rank", "resume", "packed"}

# The plugin's own models.
MODELS = ("CLIA", "CLSR")

# RecBole's models that the plugin can train packed, and all that can be.
PACKED_BASELINES = ("GRU4Rec", "SASRec", "NARM", "CORE")
PACKABLE = ("CLIA", *PACKED_BASELINES)
PACKED_PROPERTIES = PROPERTIES_DIR / "packed.yaml"

# None means "not set" here, whatever type RecBole's comment names.
DATA_KEYS = {"load_col"}

# Filters that RecBole leaves out, with a warning, where it cannot read them.
INTERVAL_KEYS = {
    f"{name}_interval" for name in ("user_inter_num", "item_inter_num", "entity_kg_num", "relation_kg_num")
}
_INTERVAL = re.compile(r"[\[(]\s*(?P<low>[-+.\w]+)\s*,\s*(?P<high>[-+.\w]+)\s*[\])]")

_READ = re.compile(r"""config\[\s*["'](\w+)["']\s*\]|config\.get\(\s*["'](\w+)["']|\bconfig\.(\w+)\b""")


def recbole_dir() -> Path:
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise UsageError("RecBole is not installed; install recbole==1.2.1")
    return Path(spec.origin).parent


def _keys_read_in(path: Path) -> set[str]:
    return {next(filter(None, groups)) for groups in _READ.findall(path.read_text(encoding="utf-8"))}


def protocols() -> dict[str, Path]:
    """The property files of whole evaluations, by the names under which a user asks for them."""
    return {path.stem: path for path in sorted((PROPERTIES_DIR / "protocol").glob("*.yaml"))}


@lru_cache(maxsize=1)
def framework_keys() -> frozenset[str]:
    """Every key that RecBole reads whatever the model: its files, its argument lists, its code."""
    root = recbole_dir()
    keys = set(LAUNCH_KEYS)
    for path in [
        root / "properties/overall.yaml",
        root / "properties/dataset/sample.yaml",
        COMMON_PROPERTIES,
    ]:
        keys |= set(read_properties(path))
    for path in sorted((root / "properties/quick_start_config").glob("*.yaml")):
        keys |= set(read_properties(path))
    for path in [*sorted((PROPERTIES_DIR / "dataset").glob("*.yaml")), *protocols().values()]:
        keys |= set(read_properties(path))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if parts[0] != "model" or len(parts) == 2:  # what lies deeper is one model's
            keys |= _keys_read_in(path)
    arguments = (root / "utils/argument_list.py").read_text(encoding="utf-8")
    keys |= set(re.findall(r"'(\w+)'", arguments))
    return frozenset(keys)


@lru_cache(maxsize=1)
def models() -> dict[str, Path]:
    """The file of every model that RecBole and the plugin offer, by the model's name."""
    found = {}
    for folder in (recbole_dir() / "model", Path(__file__).resolve().parent.parent / "models"):
        for path in sorted(folder.rglob("*.py")):
            for name in re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                if name.lower() == path.stem:
                    found[name] = path
    return found


def property_file(model: str) -> Path | None:
    """Where the defaults of ``model`` stand, if it has any."""
    files = [root / "model" / f"{model}.yaml" for root in (PROPERTIES_DIR, recbole_dir() / "properties")]
    return next((path for path in files if path.is_file()), None)


@cache
def model_keys(model: str) -> frozenset[str]:
    """Every key that ``model``, or a model that it extends, reads besides the framework's."""
    keys: set[str] = set()
    properties = property_file(model)
    if properties is not None:
        keys |= set(read_properties(properties))
    if model in PACKED_BASELINES:
        keys |= set(read_properties(PACKED_PROPERTIES))
    source = models().get(model)
    if source is not None:
        keys |= _keys_read_in(source)
        text = source.read_text(encoding="utf-8")
        for base in re.findall(r"^from recbole\.model\.\w+\.(\w+) import", text, re.MULTILINE):
            for parent in (recbole_dir() / "model").rglob(f"{base}.py"):
                keys |= _keys_read_in(parent)
    return frozenset(keys)


@cache
def _documented(model: str) -> dict[str, Property]:
    root = recbole_dir() / "properties"
    found: dict[str, Property] = {}
    for path in protocols().values():
        found.update(read_properties(path))
    found.update(read_properties(root / "overall.yaml"))
    found.update(read_properties(root / "dataset/sample.yaml"))
    found.update(read_properties(COMMON_PROPERTIES))
    properties = property_file(model)
    if properties is not None:
        found.update(read_properties(properties))
    if model in PACKED_BASELINES:
        found.update(read_properties(PACKED_PROPERTIES))
    return found


@cache
def text_keys(model: str) -> frozenset[str]:
    """The keys whose values are words, whatever they look like."""
    return frozenset(key for key, prop in _documented(model).items() if prop.is_text)


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` for the closest known word, or the shortest that begins so, or nothing."""
    by_case = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower(), by_case, n=1, cutoff=0.7)  # below that they share no meaning
    if not close and len(word) > 2:
        close = sorted((k for k in by_case if k.startswith(word.lower())), key=lambda k: (len(k), k))
    return f"; did you mean {by_case[close[0]]}?" if close else ""


def check_model(model: str) -> None:
    """Refuse a model that neither RecBole nor the plugin offers."""
    if model not in models():
        raise UsageError(f"model {model!r} is unknown{nearest(model, models())}")


def check_packed(model: str, loss_type: Any) -> None:
    """Refuse packed training of a model, or of a loss, that has no such form."""
    if model not in PACKABLE:
        raise UsageError(f"packed: {model} cannot be trained packed; {', '.join(PACKABLE)} can")
    if model in PACKED_BASELINES and loss_type != "CE":
        raise UsageError(f"packed: {model} is trained packed with loss_type CE only, not {loss_type}")


def check_keys(keys: Iterable[str], model: str, where: str, shared: bool = False) -> list[str]:
    """Refuse a key that nothing reads.

    Args:
        keys: the keys that were given.
        model: the model that will run.
        where: what the sentence names as their place.
        shared: whether keys of other models may stand there, as in a file for several models.

    Returns:
        A sentence for each key that only other models read, and that does nothing here.

    Raises:
        UsageError: for a key that nothing reads, or, unless ``shared``, that only other models read.
    """
    here = framework_keys() | model_keys(model)
    idle = []
    for key in keys:
        if key in here:
            continue
        if not any(key in model_keys(other) for other in models()):
            raise UsageError(f"{where}: the key {key!r} is read by nothing{nearest(key, here)}")
        idle.append(f"{where}: the key {key!r} is not read by {model}{nearest(key, model_keys(model))}")
        if not shared:
            raise UsageError(idle[-1])
    return idle


def _check_interval(where: str, value: Any) -> None:
    for part in str(value).split(";"):
        found = _INTERVAL.fullmatch(part.strip())
        try:
            right = found is not None and float(found["low"]) <= float(found["high"])
        except ValueError:
            right = False
        if not right:
            raise UsageError(f"{where} must be an interval such as '[5,inf)', or some with ';' between, not {value!r}")


def check_filters(settings: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a filter of rows that is none.

    Raises:
        UsageError: naming the key, what is allowed and what was given.
    """
    for key in keys:
        value = settings.get(key)
        if key in INTERVAL_KEYS and value is not None:
            _check_interval(key, value)
        if key == "val_interval" and value is not None:
            if not isinstance(value, Mapping):
                raise UsageError(f"val_interval must be a mapping of fields to intervals, not {value!r}")
            for field, interval in value.items():
                if not isinstance(interval, (list, tuple)):  # the tokens to be kept
                    _check_interval(f"val_interval: {field}", interval)


def check_values(settings: Mapping[str, Any], keys: Iterable[str], model: str) -> None:
    """Refuse a value of the wrong type or out of range.

    Raises:
        UsageError: naming the key, what is allowed and what was given.
    """
    documented = _documented(model)
    for key in keys:
        value = settings.get(key)
        prop = documented.get(key)
        if value is None and key in DATA_KEYS:
            continue
        if prop is not None and prop.complaint(prop.default) is None:
            complaint = prop.complaint(value)
            if complaint:
                raise UsageError(f"{key} {complaint}")
        allowed = HOST_RANGES.get(key)
        plain = value.lower() if isinstance(value, str) else value  # RecBole lowers them too
        if allowed is not None and value is not None and not allowed.admits(plain):
            raise UsageError(f"{key} must be {allowed}, not {value!r}")
