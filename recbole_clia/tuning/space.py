"""Read a search space: a property file whose values are ranges and choices.

Each line says what may be drawn, and in its comment how::

    learning_rate: [0.0005, 0.005]    # (float, log) Learning rate of Adam.
    n_layers: [1, 3]                  # (int) Layers; both ends can be drawn.
    pooling_type: ['max', 'average']  # (choice) One of these.

The kinds are ``float`` and ``int``, either with ``, log`` for a uniform logarithm, and ``choice``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import Trial

from ..errors import UsageError
from ..settings.check import LAUNCH_KEYS, check_keys, check_model, check_values, nearest, protocols
from ..settings.properties import COMMON_PROPERTIES, PROPERTIES_DIR, read_properties, unreadable

KINDS = ("float", "float, log", "int", "int, log", "choice")


class NothingToSearch(UsageError):
    """Every property of a space is fixed."""


@dataclass(frozen=True)
class Parameter:
    """One line of a space.

    Attributes:
        key: the property.
        kind: ``"float"``, ``"int"`` or ``"choice"``.
        values: the two ends of a range, which can both be drawn, or all choices.
        log: whether the logarithm is drawn uniformly.
    """

    key: str
    kind: str
    values: tuple[Any, ...]
    log: bool = False

    def suggest(self, trial: Trial) -> Any:
        """The value of this property in a trial."""
        if self.kind == "choice":
            names = [choice_name(value) for value in self.values]
            return self.values[names.index(trial.suggest_categorical(self.key, names))]
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(self.key, low, high, log=self.log)
        return trial.suggest_float(self.key, low, high, log=self.log)

    def admits(self, value: Any) -> bool:
        """Whether ``value`` can be drawn."""
        if self.kind == "choice":
            return choice_name(value) in map(choice_name, self.values)
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "int" else (int, float)):
            return False
        return bool(self.values[0] <= value <= self.values[1])

    def stored(self, value: Any) -> Any:
        """``value`` as a study stores it."""
        return choice_name(value) if self.kind == "choice" else value

    def restored(self, value: Any) -> Any:
        """What :meth:`stored` was given."""
        if self.kind != "choice":
            return value
        return next(choice for choice in self.values if choice_name(choice) == value)


def choice_name(value: Any) -> str:
    """A choice as text: studies store no lists, and tell neither 1 from 1.0 nor from True."""
    return json.dumps(value)


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        where: the file it comes from, for messages.
        parameters: by their keys, in the file's order.
    """

    where: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """A value for each property."""
        return {key: parameter.suggest(trial) for key, parameter in self.parameters.items()}

    def restored(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The properties that a trial had, from what the study stores of them."""
        return {key: p.restored(params[key]) for key, p in self.parameters.items() if key in params}

    def without(self, keys: Iterable[str]) -> Space:
        """The space of all other properties.

        Raises:
            NothingToSearch: if there are none.
        """
        left = {key: p for key, p in self.parameters.items() if key not in set(keys)}
        if not left:
            raise NothingToSearch(f"{self.where}: every property of this space is fixed; nothing is searched")
        return Space(self.where, left)

    @property
    def digest(self) -> str:
        """Equal for equal spaces, whatever their files' names and comments."""
        lines = sorted([p.key, p.kind, p.log, list(map(choice_name, p.values))] for p in self.parameters.values())
        return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:16]


def shipped_spaces() -> dict[str, Path]:
    """The spaces that come with the package, by their models."""
    return {path.stem: path for path in sorted((PROPERTIES_DIR / "tuning").glob("*.yaml"))}


def read_space(model: str, file: str | None = None) -> Space:
    """The space of a model, or one from a user's file.

    Args:
        model: a model's name.
        file: the user's file, in place of the model's own.

    Raises:
        UsageError: for a model without a space, a file that cannot be read, a line that is not a range or a choice, a
            key that the model does not read or that decides what is measured, and values that the property excludes.
    """
    check_model(model)
    if file is None:
        known = shipped_spaces()
        if model not in known:
            raise UsageError(
                f"model {model}: there is no search space for it; give one with --space FILE, as in "
                f"{PROPERTIES_DIR / 'tuning'}"
            )
        path = known[model]
    else:
        path = Path(file)
    where = f"search space {path.name if file is None else file}"
    try:
        # Not from the cache: a user's file may have changed.
        lines = read_properties.__wrapped__(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(unreadable(where, error)) from error
    except (AttributeError, TypeError) as error:  # a list or a word in place of lines
        raise UsageError(f"{where}: must hold 'key: [values]  # (kind)' lines") from error
    if not lines:
        raise UsageError(f"{where}: it is empty")
    check_keys(lines, model, where)
    parameters = {key: _parameter(key, line.default, line.type, where) for key, line in lines.items()}
    measured = _what_is_measured()
    for key, parameter in parameters.items():
        if key in measured:
            raise UsageError(f"{where}: {key} decides what is measured or on which data, so it cannot be searched")
        for value in parameter.values:
            try:
                check_values({key: value}, [key], model)
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from error
    return Space(where, parameters)


def _parameter(key: str, values: Any, kind: str, where: str) -> Parameter:
    if kind not in KINDS:
        told = f"({kind}) is none of the kinds" if kind else "its kind is missing"
        raise UsageError(
            f"{where}: {key}: {told}; the comment must begin with one of "
            + ", ".join(f"({known})" for known in KINDS)
            + nearest(kind, KINDS)
        )
    if not isinstance(values, list) or not values:
        raise UsageError(f"{where}: {key} must be a list, such as [1, 3], not {values!r}")
    if kind == "choice":
        names = list(map(_name_of_choice, values))
        if None in names:
            raise UsageError(f"{where}: {key}: {values[names.index(None)]!r} cannot be a choice")
        if len(set(names)) != len(names):
            raise UsageError(f"{where}: {key} has a choice twice, in {values!r}")
        if len(names) < 2:
            raise UsageError(f"{where}: {key} leaves no choice: {values!r}; set it with --{key}=")
        return Parameter(key, kind, tuple(values))
    kind, log = kind.partition(", ")[0], kind.endswith("log")
    wanted = int if kind == "int" else (int, float)
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, wanted) for v in values):
        raise UsageError(f"{where}: {key} must be two of {kind}, [lowest, highest], not {values!r}")
    low, high = values
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"{where}: {key}: the range {values!r} is empty or endless; the first must be below the second"
        )
    if log and low <= 0:
        raise UsageError(f"{where}: {key}: a range with log must begin above 0, not at {low!r}")
    return Parameter(key, kind, (low, high), log)


def _name_of_choice(value: Any) -> str | None:
    try:
        return choice_name(value)
    except (TypeError, ValueError):
        return None


def _what_is_measured() -> set[str]:
    """Keys that must be the same in all trials, or their scores compare with nothing."""
    from recbole.utils import argument_list

    keys = {*argument_list.general_arguments, *argument_list.evaluation_arguments, *argument_list.dataset_arguments}
    for path in [COMMON_PROPERTIES, *protocols().values()]:
        keys |= set(read_properties(path))
    return (keys | LAUNCH_KEYS) - {"MAX_ITEM_LIST_LENGTH"}
