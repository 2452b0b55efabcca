"""Small made data, and shortcuts from settings to a model with its loaders."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, init_seed

import recbole_clia  # noqa: F401  RecBole does not import without it
from recbole_clia.settings.config import PluginConfig

# Two small matrix products cost more in waiting for each other than they gain.
torch.set_num_threads(1)


class Prepared(NamedTuple):
    config: PluginConfig
    dataset: Any
    train: Any
    valid: Any
    test: Any
    model: Any


def write_log(folder: Path, rows: list[tuple[int, int, float]], name: str = "made") -> str:
    """Write (user, item, time) rows as an atomic file; returns the data path for RecBole."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{user}\ti{item}\t{time}" for user, item, time in rows]
    (folder / name / f"{name}.inter").write_text("\n".join(lines) + "\n")
    return str(folder)


def random_rows(seed: int, users: int = 24, items: int = 30, longest: int = 19) -> list[tuple[int, int, float]]:
    """Histories of 1 to ``longest`` items, shuffled, with whole times that RecBole's float32 holds exactly."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        length = int(rng.integers(1, longest + 1))
        times = np.sort(rng.choice(10_000, size=length, replace=False))
        rows += [(user, int(rng.integers(items)), float(time)) for time in times]
    return [rows[i] for i in rng.permutation(len(rows))]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: RecBole writes its logs and models there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, (logging.FileHandler, logging.StreamHandler)):
            root.removeHandler(handler)
            handler.close()


@pytest.fixture
def made(workplace: Path) -> dict[str, Any]:
    """Settings that select a small made dataset."""
    return {
        "data_path": write_log(workplace / "dataset", random_rows(7)),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": 8,
        "show_progress": False,
        "state": "ERROR",
        "use_gpu": False,
    }


def prepare(settings: dict[str, Any], model: str = "CLIA", dataset: str = "made") -> Prepared:
    """Everything that a run has before it trains."""
    config = PluginConfig(model, dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    loaders = data_preparation(config, data)
    return Prepared(config, data, *loaders, get_model(model)(config, loaders[0]._dataset))


def exact(prepared: Prepared, scale: float = 0.1) -> Any:
    """CLIA in evaluation mode and float64, with weights away from their start."""
    generator = torch.Generator().manual_seed(0)
    model = prepared.model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        model.item_embedding.weight[0].zero_()
    return model


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make each run of a comparison in this process; the folders of those that were made."""
    from recbole_clia.comparison import execute as execution
    from recbole_clia.comparison import worker

    made: list[str] = []

    class Ended:
        stdin = None

        def __init__(self, task: Path) -> None:
            made.append(task.parent.name)
            self.returncode = worker.main(str(task))

        def poll(self) -> int:
            return self.returncode

    monkeypatch.setattr(execution, "_launch", lambda task, environment: Ended(task))
    return made
