"""Repeated targets are ranked among the history as a loop over the log has it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.quick_start import load_data_and_model

import recbole_clia

sys.path.append(str(Path(recbole_clia.__file__).resolve().parent.parent / "benchmarks"))

import repeated_targets


def test_each_row_is_ranked_among_what_its_user_had(made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    settings = {key: value for key, value in made.items() if key != "MAX_ITEM_LIST_LENGTH"}
    result = recbole_clia.run("CLIA", "made", config_dict={**settings, "epochs": 1})
    placed = repeated_targets.place(Path(result["model_file"]))
    config, model, dataset, _, _, loader = load_data_and_model(result["model_file"])
    log = pd.read_csv(Path(made["data_path"]) / "made" / "made.inter", sep="\t", dtype={"timestamp:float": float})
    model.eval()
    of_all, of_history = [], []
    for batch in loader:
        interaction = batch[0].to(config["device"])
        with torch.no_grad():
            scores = model.full_sort_predict(interaction).numpy()
        for place, user in enumerate(interaction["user_id"].tolist()):
            token = dataset.field2id_token["user_id"][user]
            own = log[log["user_id:token"] == token].sort_values("timestamp:float", kind="stable")
            *had, target = (dataset.field2token_id["item_id"][name] for name in own["item_id:token"])
            above = [item for item in range(1, scores.shape[1]) if scores[place, item] > scores[place, target]]
            of_all.append(len(above) + 1)
            of_history.append(len(set(above) & set(had)) + 1 if target in had else 0)
    first = np.array(of_all) <= 10
    np.testing.assert_array_equal(placed.of_history, of_history)
    np.testing.assert_array_equal(placed.of_all[first], np.array(of_all)[first])
    assert 0 < (placed.of_history > 0).sum() < len(placed.of_history)
    name, rows, repeated, *_ = repeated_targets.line("made", placed)
    assert (name, rows) == ("made", len(of_all))
    assert repeated == pytest.approx(np.mean(np.array(of_history) > 0))
    repeated_targets.main([result["model_file"]])
    assert "among the history" in capsys.readouterr().out
