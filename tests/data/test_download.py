"""A dataset that RecBole would fetch, and cannot, ends in one sentence that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import random_rows, write_log
from recbole.data import create_dataset
from recbole.data.dataset import dataset as host

from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig


def settings(workplace: Path) -> dict[str, Any]:
    return {"data_path": str(workplace / "dataset"), "state": "ERROR", "user_inter_num_interval": "[0,inf)"}


def test_what_cannot_be_fetched_is_told(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> bool:
        raise OSError("403 Access Denied")

    monkeypatch.setattr(host, "decide_download", refuse)
    config = PluginConfig("CLIA", "amazon-beauty", config_dict=settings(workplace))
    with pytest.raises(
        UsageError, match=r"could not be fetched \(403 Access Denied\); fetch its files from https://cseweb"
    ):
        create_dataset(config)
    assert not (workplace / "dataset/amazon-beauty").exists()


def test_what_was_fetched_is_loaded(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecBole's download ends in an error where there is one process only."""

    def fetch(url: str, folder: str) -> str:
        write_log(workplace / "dataset", random_rows(1), "amazon-beauty")
        (workplace / "dataset/amazon-beauty/x.zip").touch()
        return str(workplace / "dataset/amazon-beauty/x.zip")

    monkeypatch.setattr(host, "decide_download", lambda url: True)
    monkeypatch.setattr(host, "download_url", fetch)
    monkeypatch.setattr(host, "extract_zip", lambda path, folder: None)
    more = {"item_inter_num_interval": "[0,inf)"}
    dataset = create_dataset(PluginConfig("CLIA", "amazon-beauty", config_dict={**settings(workplace), **more}))
    assert dataset.inter_num == len(random_rows(1))
