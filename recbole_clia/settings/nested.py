"""Refuse what stands wrong inside a setting that is a mapping or a list, where RecBole would ignore or trip over it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..errors import UsageError
from .check import nearest

EVALUATION = ("split", "order", "group_by", "mode")
PHASES = ("valid", "test")
SOURCES = ("inter", "user", "item", "kg", "link")
CLIPPING = ("max_norm", "norm_type", "error_if_nonfinite", "foreach")


def check_nested(given: Mapping[str, Any]) -> None:
    """Check the settings that were given, before RecBole completes them.

    Raises:
        UsageError: naming the key, what is allowed in it and what was given.
    """
    if "topk" in given:
        _check_topk(given["topk"])
    evaluation = given.get("eval_args")
    if isinstance(evaluation, Mapping):
        _check_keys("eval_args", evaluation, EVALUATION)
        if isinstance(evaluation.get("mode"), Mapping):
            _check_keys("eval_args: its mode", evaluation["mode"], PHASES)
        group = evaluation.get("group_by")
        if group is not None and str(group).lower() not in ("user", "none"):
            raise UsageError(f"eval_args: its group_by must be user or none, not {group!r}")
        if evaluation.get("order", "TO") not in ("TO", "RO"):
            raise UsageError(f"eval_args: its order must be TO or RO, not {evaluation['order']!r}")
    if isinstance(given.get("clip_grad_norm"), Mapping):
        _check_keys("clip_grad_norm", given["clip_grad_norm"], CLIPPING)
    for key in ("load_col", "unload_col"):
        if isinstance(given.get(key), Mapping):
            _check_columns(key, given[key], given.get("additional_feat_suffix") or ())
    if "device" in given:
        raise UsageError("device: it follows from use_gpu and gpu_id; set these in its place")


def check_loaded(settings: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a filter by a field that is not among those loaded, and a threshold that is no number."""
    columns = settings.get("load_col")
    lists = list(columns.values()) if isinstance(columns, Mapping) else ["*"]
    loaded = None if "*" in lists else {field for names in lists for field in names or ()}
    for key in ("threshold", "val_interval"):
        value = settings.get(key)
        if key not in keys or not isinstance(value, Mapping):
            continue
        for field, bound in value.items():
            if loaded is not None and field not in loaded:
                raise UsageError(
                    f"{key}: the field {field!r} is not loaded; name it in load_col, beside {', '.join(sorted(loaded))}"
                )
            if key == "threshold" and (isinstance(bound, bool) or not isinstance(bound, (int, float))):
                raise UsageError(f"threshold: {field} must have a number, not {bound!r}")


def _check_topk(value: Any) -> None:
    several = value if isinstance(value, list) else [value]
    if not several:
        return  # told with the metrics
    for one in several:
        if isinstance(one, bool) or not isinstance(one, int) or one < 1:
            raise UsageError(f"topk: it must be a whole number of at least 1 or a list of them, not {value!r}")


def _check_keys(where: str, given: Mapping[Any, Any], known: Collection[str]) -> None:
    for key in given:
        if key not in known:
            raise UsageError(f"{where} has no key {key!r}; its keys are {', '.join(known)}{nearest(str(key), known)}")


def _check_columns(key: str, given: Mapping[Any, Any], further: Any) -> None:
    _check_keys(key, given, [*SOURCES, *([further] if isinstance(further, str) else further)])
    for source, names in given.items():
        is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not is_list and names != "*":
            raise UsageError(f"{key}: {source} must be a list of fields, or '*' for all, not {names!r}")
