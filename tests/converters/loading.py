"""Converted files as RecBole loads them with the property file of their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole.data import create_dataset

from recbole_clia.settings.config import PluginConfig


def load(name: str, data_path: Path) -> Any:
    """The dataset ``data_path/name`` with its own settings, but for the filters by number."""
    settings = {
        "data_path": str(data_path),
        "state": "ERROR",
        "user_inter_num_interval": "[0,inf)",
        "item_inter_num_interval": "[0,inf)",
    }
    return create_dataset(PluginConfig("GRU4Rec", name, config_dict=settings))


def numbers(name: str, data_path: Path) -> tuple[int, int, int]:
    """How many users, items and interactions RecBole finds."""
    dataset = load(name, data_path)
    return dataset.user_num - 1, dataset.item_num - 1, dataset.inter_num  # RecBole counts the padding
