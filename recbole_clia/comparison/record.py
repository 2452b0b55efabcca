"""What is kept of a run on disk: ``run.json``, the places of its test rows, and its log."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .plan import METRICS

RECORD, ROWS, LOG, OUTPUT, MODEL = "run.json", "rows.npy", "log.txt", "output.txt", "model.pth"
# Columns of the rows of a run, one test row each, in order of the users' tokens.
COLUMNS = ("user", "item", "history", "popularity", "rank", "hidden_rank", "repeat")

Rows = NDArray[np.int64]
_NUMBER, _NUMBER_OR_NONE = (int, float), (int, float, type(None))
# What a finished run tells, besides what every record has.
_RESULTS: dict[str, Any] = {
    **dict.fromkeys(("valid", "test", "hidden", "machine"), dict),
    **dict.fromkeys(("seconds", "parameters", "peak_mib", "rows_crc"), _NUMBER),
    **{"curve": list, "best_epoch": _NUMBER_OR_NONE, "seconds_to_best": _NUMBER_OR_NONE, "device": str},
    **dict.fromkeys(("began", "ended"), str),
}


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let ``write`` fill a file beside ``path`` that takes its place once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda stream: _write(stream, text.encode("utf-8")))


def _write(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json``; numbers that are none become null."""
    write_text(folder / RECORD, json.dumps(_finite(record), indent=1, default=str) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_rows(folder: Path, rows: Rows) -> int:
    """Write ``rows.npy``, ``[T, 7]`` of :data:`COLUMNS`; returns its checksum for the record."""
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    write_atomically(folder / ROWS, lambda stream: np.save(stream, rows, allow_pickle=False))
    return zlib.crc32(rows.tobytes())


def read_record(folder: Path, key: str) -> dict[str, Any] | None:
    """The record of a run, or ``None`` if there is none, it is damaged, or it is of another run.

    A record of a run that failed has ``state: failed`` and its ``sentence``.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("key") != key or record.get("state") not in ("done", "failed"):
        return None
    if record["state"] == "failed":
        return record if isinstance(record.get("sentence"), str) else None
    return record if _is_whole(record) and read_rows(folder, record["rows_crc"]) is not None else None


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record has what a leaderboard reads: somebody may have edited it."""
    if any(not isinstance(record.get(name, ...), kind) for name, kind in _RESULTS.items()):
        return False
    figures = [record[part].get(metric, ...) for part in ("test", "hidden") for metric in METRICS]
    points = record["curve"]
    if not all(isinstance(point, dict) for point in points):
        return False
    figures += [point.get(name, ...) for point in points for name in ("train_seconds", "valid_score")]
    times = (record["began"], record["ended"])
    return all(isinstance(figure, _NUMBER_OR_NONE) for figure in figures) and all(map(_is_time, times))


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def wall_seconds(record: Mapping[str, Any]) -> float:
    """How long the process of a finished run was at work."""
    began, ended = (datetime.fromisoformat(record[name]) for name in ("began", "ended"))
    return float(max((ended - began).total_seconds(), record["seconds"]))


def device_of(record: Mapping[str, Any]) -> str:
    """What a finished run was trained on; seconds and memory of different devices do not compare."""
    return "CPU" if record["device"] == "cpu" else str(record["machine"]["gpu"])


def read_rows(folder: Path, crc: int) -> Rows | None:
    """The test rows of a run, or ``None`` if they are not those of its record."""
    try:
        rows = np.load(folder / ROWS, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != len(COLUMNS):
        return None
    return rows if zlib.crc32(np.ascontiguousarray(rows).tobytes()) == crc else None
