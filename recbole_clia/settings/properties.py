"""Property files: where they are, and what their comments say.

Every line of a property file documents itself in RecBole's manner::

    temperature: 0.1    # (float) Divisor of the cosine similarity. Range in (0, inf).

Type, meaning and range are read from there, by the checks and by the documentation alike, so
that each is written once.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .schedule import Schedule

_PACKAGE = Path(__file__).resolve().parent.parent
# Installed, the property files lie inside the package; in a checkout, beside it.
PROPERTIES_DIR = next(
    (d for d in (_PACKAGE / "properties", _PACKAGE.parent / "properties") if d.is_dir()), _PACKAGE / "properties"
)

# Read for every model that this package runs.
COMMON_PROPERTIES = PROPERTIES_DIR / "every_model.yaml"

_LINE = re.compile(r"^(?P<key>\w+):(?P<value>[^#]*?)\s*(?:#\s*(?P<comment>.*))?$")
_COMMENT = re.compile(r"^\((?P<type>[^)]*)\)\s*(?P<meaning>.*)$")
# Of numbers that float32 holds in full precision.
SMALLEST, LARGEST = 2.0**-126, 3.4e38
_RANGE = re.compile(r"\s*Range in (?P<range>[\[(].*[\])])\.?\s*$")


class _PlainLoader(yaml.SafeLoader):
    """YAML without code, reading ``1e-3`` as a number as RecBole does, in which no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in getattr(node, "value", ()):
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
        r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def plain_yaml(text: str) -> Any:
    """Parse YAML into plain data: no tag can name code.

    Raises:
        yaml.YAMLError: if ``text`` is not YAML or asks for anything but plain data.
    """
    return yaml.load(text, Loader=_PlainLoader)


def unreadable(where: str, error: OSError | UnicodeDecodeError | yaml.YAMLError) -> str:
    """One sentence about a file of settings that cannot be read, or is not YAML."""
    if not isinstance(error, yaml.YAMLError):
        return f"{where}: {getattr(error, 'strerror', None) or error}"
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    return f"{where}{line}: {getattr(error, 'problem', None) or error}"


def plain_value(text: str) -> Any:
    """A value from a command line or a dictionary of strings: a Python literal, a YAML list or mapping, or itself."""
    if text and not text.strip():  # a separator
        return text
    if text.strip().lower() in ("none", "null", "~", ""):
        return None
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    if text.strip()[:1] not in ("[", "{"):
        return text
    try:
        return plain_yaml(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return text


@dataclass(frozen=True)
class Allowed:
    """A set of values: an interval such as ``[0, 1)`` or a list such as ``['BPR', 'CE']``."""

    text: str
    choices: tuple[Any, ...] | None = None
    low: float = float("-inf")
    high: float = float("inf")

    @classmethod
    def parse(cls, text: str) -> Allowed:
        interval = re.fullmatch(r"([\[(])\s*([-+.\w]+)\s*,\s*([-+.\w]+)\s*([\])])", text)
        if interval:
            try:
                return cls(text, None, float(interval[2]), float(interval[3]))
            except ValueError:
                pass
        return cls(text, tuple(ast.literal_eval(text)))

    def admits(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        above = value > self.low or (self.text[0] == "[" and value == self.low)
        below = value < self.high or (self.text[-1] == "]" and value == self.high)
        return above and below

    def __str__(self) -> str:
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        return f"in {self.text}"


def _fits_single_precision(value: Any) -> bool:
    """Whether tensors hold the number; what is no number, or none at all, is judged elsewhere."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
        return True
    return value == 0 or SMALLEST <= abs(value) <= LARGEST


def _beyond(value: Any) -> str:
    return f"must be of a size between 1.2e-38 and 3.4e38, as single precision has it, not {value!r:.60}"


@dataclass(frozen=True)
class Property:
    """One documented line of a property file."""

    key: str
    default: Any
    type: str
    meaning: str
    allowed: Allowed | None

    @property
    def _types(self) -> list[str]:
        return [name.strip() for name in re.split(r"\bor\b|,|/", self.type)]

    @property
    def is_text(self) -> bool:
        """Whether its values are words and nothing else."""
        return "str" in self._types and set(self._types) <= {"str", "None"}

    def complaint(self, value: Any) -> str | None:
        """What is wrong with ``value``, or ``None``."""
        if value is None and ("None" in self.type or self.default is None):
            return None
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "list": (list, tuple), "dict": dict}
        names = self._types
        if "schedule" in names and isinstance(value, (list, tuple)):
            return self._complaint_of_schedule(value)
        wanted = tuple(kinds[n] for n in names if n in kinds)
        if wanted and "str" not in names:
            is_bool = isinstance(value, bool)
            if not any(isinstance(value, w) for w in wanted) or (is_bool and "bool" not in names):
                return f"must be {self.type}, not {value!r}"
        if self.is_text and isinstance(value, bool):
            return f"must be {self.type}, not {value!r}"
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if wanted and not all(map(_fits_single_precision, numbers)):
            return _beyond(value)
        if self.allowed is None:
            return None
        if "list" in names and isinstance(value, (list, tuple)) and value:
            if all(map(self.allowed.admits, value)):
                return None
            return f"must be a list whose elements are {self.allowed}, not {value!r}"
        if not self.allowed.admits(value):
            return f"must be {self.allowed}, not {value!r}"
        return None

    def _complaint_of_schedule(self, value: Any) -> str | None:
        try:
            values = Schedule(value).values
        except ValueError as error:
            return f"must be {self.type}: {error}"
        if not all(map(_fits_single_precision, values)):
            return _beyond(value)
        if self.allowed is not None and not all(map(self.allowed.admits, values)):
            return f"must be {self.allowed} in every epoch, not {value!r}"
        return None


@cache
def read_properties(path: Path) -> dict[str, Property]:
    """The documented top-level keys of a property file, in the file's order.

    A key without a ``# (type) meaning`` comment is given with an empty type and meaning.
    """
    text = path.read_text(encoding="utf-8")
    values = plain_yaml(text) or {}
    comments: dict[str, str] = {}
    key = None
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            key = match["key"]
            comments[key] = match["comment"] or ""
        elif key and re.match(r"^\s+#", line):
            comments[key] += " " + line.strip().lstrip("# ")
        elif not line.startswith(" "):
            key = None
    found = {}
    for key, default in values.items():
        comment = _COMMENT.match(comments.get(key, ""))
        kind, meaning = (comment["type"], comment["meaning"]) if comment else ("", "")
        in_range = _RANGE.search(meaning)
        try:
            allowed = Allowed.parse(in_range["range"]) if in_range else None
        except (ValueError, SyntaxError):
            allowed = None
        found[key] = Property(key, default, kind, _RANGE.sub("", meaning).strip(), allowed)
    return found
