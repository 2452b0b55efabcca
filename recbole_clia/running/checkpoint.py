"""Load a trained model without its data."""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import get_model

from .trainer import read_checkpoint


class _Sizes:
    """Stands in for the dataset where only the number of users and items matters."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes

    def num(self, field: str) -> int:
        return self._sizes[field]


def load_model(path: str, device: Any = "cpu", trust_pickle: bool = False) -> torch.nn.Module:
    """The trained model of a checkpoint, in evaluation mode.

    The plugin's models, and RecBole's that were trained packed, need nothing but the file.  RecBole's own may ask the
    dataset for more than its size, so theirs is read again from where the run found it.

    Args:
        path: the file that a run has written.
        device: where the model goes.
        trust_pickle: see :func:`~recbole_clia.running.trainer.read_checkpoint`.

    Raises:
        UsageError: if the file is missing, damaged, or could run code.
    """
    checkpoint = read_checkpoint(path, "cpu", trust_pickle)
    config = checkpoint["config"]
    config["device"] = torch.device(device)
    if "sizes" in checkpoint:
        data: Any = _Sizes(checkpoint["sizes"])
    else:
        from recbole.data import create_dataset, data_preparation

        data = data_preparation(config, create_dataset(config))[0]._dataset
    model = get_model(config["model"])(config, data)
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    loaded: torch.nn.Module = model.to(config["device"]).eval()
    return loaded
