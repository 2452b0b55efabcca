"""Which runs this command makes: several commands may share a folder, and each run is made by one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from .plan import Run

LOCK = "lock"  # in the folder of a run, held by the command that makes it; the system takes it from one that dies


class Claims:
    """The locks that this command holds.

    Attributes:
        contested: runs that another command held when this one asked.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[Run, FileLock] = {}
        self.contested: set[Run] = set()

    def first(self, runs: Sequence[Run]) -> Run | None:
        """Claim the first of the runs that no other command holds; ``None`` if there is none."""
        for run in runs:
            folder = self._folder / run.folder
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self.contested.add(run)
                continue
            self._locks[run] = lock
            return run
        return None

    def release(self, run: Run, done: bool) -> None:
        """Let go of a run; once it is done nobody makes it, and the file of its lock can go."""
        if done:
            (self._folder / run.folder / LOCK).unlink(missing_ok=True)
        self._locks.pop(run).release()

    def release_all(self) -> None:
        """Let go of what is not done."""
        for run in list(self._locks):
            self.release(run, done=False)
