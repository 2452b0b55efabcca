"""Load a trained model without its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from recbole.utils import get_model

from ..errors import UsageError, first_line
from .trainer import read_checkpoint


class _Sizes:
    """Stands in for the dataset where only the number of users and items and the length of histories matter."""

    def __init__(self, sizes: dict[str, int], config: Any) -> None:
        self._sizes = sizes
        self.field2seqlen = {config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]: config["MAX_ITEM_LIST_LENGTH"]}

    def num(self, field: str) -> int:
        return self._sizes[field]

    def __len__(self) -> int:
        return 0  # nothing is trained


def load_model(
    path: str, device: Any = "cpu", trust_pickle: bool = False, data_path: str | None = None
) -> torch.nn.Module:
    """The trained model of a checkpoint, in evaluation mode.

    The plugin's models, and RecBole's that were trained packed, need nothing but the file.  RecBole's own may ask the
    dataset for more than its size, so theirs is read again, from where the run found it or from ``data_path``.

    Args:
        path: the file that a run has written.
        device: where the model goes.
        trust_pickle: see :func:`~recbole_clia.running.trainer.read_checkpoint`.
        data_path: the folder that holds the dataset's folder, as in the settings, where it is another than then; read
            for a model that needs its data.

    Raises:
        UsageError: if the file is missing, damaged, or could run code, the device cannot be used, or the data that the
            model needs are gone or have changed.
    """
    device = _checked(device)
    checkpoint = read_checkpoint(path, "cpu", trust_pickle)
    config = checkpoint["config"]
    config["device"] = device
    if "sizes" in checkpoint:
        data: Any = _Sizes(checkpoint["sizes"], config)
    else:
        if data_path is not None:
            config["data_path"] = str(Path(data_path) / config["dataset"])
        data = _read_again(config)
    model = get_model(config["model"])(config, data)
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:  # a line for each tensor
        if "sizes" in checkpoint:
            raise
        raise UsageError(
            f"checkpoint {path}: its weights do not fit the data of {config['data_path']}; these are other data, or "
            "other filters"
        ) from error
    model.load_other_parameter(checkpoint.get("other_parameter"))
    loaded: torch.nn.Module = model.to(config["device"]).eval()
    return loaded


def _checked(device: Any) -> torch.device:
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except Exception as error:  # torch reports it by several types
        raise UsageError(
            f"device: {str(device)!r} cannot be used here, and 'cpu' always can: {first_line(error)}"
        ) from error
    return found


def _read_again(config: Any) -> Any:
    """The training data of a run."""
    from recbole.data import create_dataset, data_preparation

    folder, name = Path(config["data_path"]), config["dataset"]
    for part in config["benchmark_filename"] or [None]:
        file = folder / f"{name}{f'.{part}' if part else ''}.inter"
        if not file.is_file():
            raise UsageError(
                f"dataset {name!r}: {config['model']} is loaded with its data, and there is no "
                f"{f'file {file.name} in {folder}' if folder.is_dir() else f'folder {folder}'}; say with data_path "
                "which folder holds the dataset's folder"
            )
    return data_preparation(config, create_dataset(config))[0]._dataset
