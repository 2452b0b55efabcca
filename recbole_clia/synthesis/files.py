"""Write a made log as a dataset in RecBole's atomic form."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ..converters.writer import AtomicWriter
from ..errors import UsageError
from ..version import __version__
from .generator import Made, World, ceiling_auc, generate

NAME = "synth"  # the name that has a property file
INTER = {"user_id": "token", "item_id": "token", "motive": "float", "session": "token", "timestamp": "float"}
ITEM = {"item_id": "token", "category": "token"}
USER = {"user_id": "token", "tastes": "token_seq"}
_ROWS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What was made.

    Attributes:
        folder: where the files lie.
        interactions, sessions, users: how many there are.
        items: how many of the items were taken at least once.
        long_share: share of the interactions that taste drove.
        ceiling_auc: see :func:`recbole_clia.synthesis.generator.ceiling_auc`.
    """

    folder: Path
    interactions: int
    sessions: int
    users: int
    items: int
    long_share: float
    ceiling_auc: float | None


def files(folder: Path) -> tuple[Path, Path, Path, Path]:
    """The interactions, items, users and numbers of the dataset ``folder``."""
    inter, item, user, world = (
        folder / f"{folder.name}.{suffix}" for suffix in ("inter", "item", "user", "world.json")
    )
    return inter, item, user, world


def make(world: World, seed: int = 0, name: str = NAME, out: Path = Path("dataset"), force: bool = False) -> Facts:
    """Draw a log and write ``NAME.inter``, ``.item``, ``.user`` and ``.world.json`` to ``out/NAME``.

    Users, items, categories and sessions are numbered from 1.  The rows of ``.inter`` are in order of time over all
    users; ``motive`` is 1 where taste drove the interaction and 0 where the intent did; ``timestamp`` is in whole
    milliseconds since 1970.  ``tastes`` are those that a user begins with, the heaviest first.

    Args:
        world: the numbers of the world.
        seed: of all randomness.
        name: of the dataset.
        out: folder of datasets, RecBole's ``data_path``.
        force: whether files that are already there are replaced.

    Raises:
        UsageError: if ``name`` is no plain word, a file is already there, or :func:`generate` refuses.
    """
    if name in ("", ".", "..") or name != Path(name).name:
        raise UsageError(f"the name of a dataset must be a plain word, not {name!r}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; it must be the folder for the result")
    folder = out / name
    for there in files(folder):
        if there.exists() and not force:
            raise UsageError(f"{there} is already there; give another name or folder, or replace it with --force")
    fresh = next((path for path in (*reversed(folder.parents), folder) if not path.exists()), None)
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before the work, since it may be refused
        made = _generate(world, seed, name)
        facts = Facts(
            folder=folder,
            interactions=len(made),
            sessions=len(made.length),
            users=world.users,
            items=len(np.unique(made.item)),
            long_share=float(made.long.mean()),
            ceiling_auc=ceiling_auc(world, made),
        )
        _write(made, folder)
        _write_numbers(world, seed, facts)
    except BaseException:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        raise
    return facts


def _generate(world: World, seed: int, name: str) -> Made:
    with ExitStack() as shown:
        bars: list[Any] = []

        def progress(done: int, total: int) -> None:
            if not bars:  # nothing is refused any more
                bars.append(shown.enter_context(tqdm(desc=name, total=total, unit="it", unit_scale=True)))
            bars[0].update(done)

        return generate(world, seed, progress)


def _write(made: Made, folder: Path) -> None:
    inter, item, user, _ = files(folder)
    order = np.argsort(made.time, kind="stable")
    catalogue = made.catalogue
    first_session = np.flatnonzero(np.diff(made.session_user, prepend=-1))  # of each user
    heaviest = np.argsort(-made.taste_weight, axis=1, kind="stable")
    tastes = 1 + np.take_along_axis(made.tastes[first_session], heaviest, axis=1)
    # All appear together, when the context ends.
    with (
        AtomicWriter(inter, INTER) as interactions,
        AtomicWriter(item, ITEM) as items,
        AtomicWriter(user, USER) as users,
    ):
        for begin in range(0, len(made), _ROWS_AT_ONCE):
            rows = order[begin : begin + _ROWS_AT_ONCE]
            columns = {
                "user_id": 1 + made.user[rows],
                "item_id": 1 + made.item[rows],
                "motive": made.long[rows].astype(np.int8),
                "session": 1 + made.session[rows],
                "timestamp": made.time[rows],
            }
            interactions.write(pa.table(columns))
        items.write(
            pa.table({"item_id": np.arange(1, 1 + len(catalogue.category)), "category": 1 + catalogue.category})
        )
        words = [" ".join(map(str, row)) for row in tastes.tolist()]
        users.write(pa.table({"user_id": np.arange(1, 1 + len(words)), "tastes": words}))


def _write_numbers(world: World, seed: int, facts: Facts) -> None:
    numbers = {
        "version": __version__,
        "numpy": np.__version__,
        "seed": seed,
        "world": asdict(world),
        "interactions": facts.interactions,
        "sessions": facts.sessions,
        "users": facts.users,
        "items": facts.items,
        "long_share": facts.long_share,
        "ceiling_auc": facts.ceiling_auc,
    }
    path = files(facts.folder)[3]
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
