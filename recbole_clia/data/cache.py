"""Processed data on disk: plain arrays that are memory-mapped, and a manifest that vouches for them.

A cache is a folder of ``.npy`` files, which hold no code, and ``manifest.json``, which is
written last.  It is used only if the manifest names the same sources (size and time of change) and
the manifest and each array have the checksum that was written down; otherwise it is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 3
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """What a cache holds: named arrays and facts that JSON can hold."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Cache:
    """The cache of one dataset under some settings.

    Args:
        folder: where caches lie.
        name: the dataset.
        sources: the files that it is made from; those that do not exist count too.
        settings: all that decides what is made from them.
    """

    def __init__(self, folder: Path, name: str, sources: Sequence[Path], settings: Mapping[str, Any]) -> None:
        described = {"format": FORMAT, "sources": [str(path.resolve()) for path in sources], "settings": settings}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()
        self.path = folder / f"{name}-{digest[:16]}"
        # As they are before they are read: what changes while they are is noticed by the next run.
        states = [path.stat() if path.is_file() else None for path in sources]
        self._state_of_sources = [s and [s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in states]

    def load(self) -> Stored | None:
        """What was stored, its arrays mapped and writable in memory only; ``None`` if it has to be made."""
        try:
            if not self.path.exists():
                return None
            written = json.loads((self.path / "manifest.json").read_text())
            manifest = written["manifest"]
            if zlib.crc32(json.dumps(manifest).encode()) != written["crc32"]:
                raise ValueError("manifest.json has changed")
            if manifest["sources"] != self._state_of_sources:
                getLogger().info(f"the cache {self.path} is older than its files; it is made again")
                return None
            arrays = {}
            for name, entry in manifest["arrays"].items():
                file = self.path / entry["file"]
                if file.parent != self.path or _checksum(file) != entry["crc32"]:
                    raise ValueError(f"{file} has changed")
                arrays[name] = np.load(file, mmap_mode="c" if entry["size"] else None, allow_pickle=False)
            return Stored(manifest["facts"], arrays)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            getLogger().warning(f"the cache {self.path} is damaged ({error}); it is made again")
            return None

    def save(self, stored: Stored) -> None:
        """Store it, in place of what was there; where nothing can be written it is left."""
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            part.mkdir(parents=True)
            entries = {}
            for number, (name, array) in enumerate(stored.arrays.items()):
                file = part / f"{number}.npy"
                np.save(file, np.ascontiguousarray(array), allow_pickle=False)
                entries[name] = {"file": file.name, "size": array.size, "crc32": _checksum(file)}
            manifest = {"sources": self._state_of_sources, "facts": stored.facts, "arrays": entries}
            written = {"crc32": zlib.crc32(json.dumps(manifest).encode()), "manifest": manifest}
            (part / "manifest.json").write_text(json.dumps(written))
            if self.path.exists():
                old = self.path.with_name(f"{self.path.name}.{os.getpid()}.old")
                self.path.rename(old)
                shutil.rmtree(old, ignore_errors=True)
            part.rename(self.path)
        except OSError as error:
            # No room, no right to write, or another process that was faster.
            getLogger().warning(f"the cache {self.path} could not be written ({error.strerror})")
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _checksum(file: Path) -> int:
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value
