"""What is kept of a run on disk: ``run.json``, the places of its test rows, and its log."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

RECORD, ROWS, LOG, OUTPUT, MODEL = "run.json", "rows.npy", "log.txt", "output.txt", "model.pth"
# Columns of the rows of a run, one test row each, in order of the users' tokens.
COLUMNS = ("user", "item", "history", "popularity", "rank", "hidden_rank", "repeat")

Rows = NDArray[np.int64]
# What a finished run tells, besides what every record has.
_RESULTS = (
    *("valid", "test", "hidden", "curve", "best_epoch", "seconds", "seconds_to_best"),
    *("parameters", "peak_mib", "rows_crc", "device", "machine"),
)


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
    if any(name not in record for name in _RESULTS) or read_rows(folder, record["rows_crc"]) is None:
        return None
    return record


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
