"""Laws of what the trainer does around each epoch: it measures without changing, and it stops in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_clia import run
from recbole_clia.errors import UsageError
from recbole_clia.running.trainer import read_checkpoint

MEASURES = ["alpha", "long_own", "long_other", "short_own", "short_other", "long_entropy", "short_entropy", "alpha_std"]


@pytest.fixture
def settings(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "epochs": 3, "contrastive_length_threshold": 2}


@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
def test_each_epoch_is_measured_in_checkpoint_log_and_tensorboard(
    settings: dict[str, Any], workplace: Path, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    with caplog.at_level("INFO"):
        result = run(model, "made", config_dict={**settings, "state": "INFO"})
    last = Path(result["model_file"]).with_suffix("")
    history = read_checkpoint(f"{last}.last.pth")["history"]
    assert [epoch["epoch"] for epoch in history] == [0, 1, 2]
    events = EventAccumulator(str(next((workplace / "log_tensorboard").iterdir())))
    events.Reload()
    for name in MEASURES:
        drawn = [event.value for event in events.Scalars(f"Diagnosis/{name}")]
        kept = [epoch["diagnosis"][name] for epoch in history]
        assert drawn == pytest.approx(kept, rel=1e-6)
        assert all(np.isfinite(kept))
        assert all(f"{name}: {value:.3f}" in caplog.text for value in kept)


@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
def test_measuring_changes_no_result(settings: dict[str, Any], model: str) -> None:
    measured, not_measured = (run(model, "made", config_dict={**settings, "diagnosis_rows": n}) for n in (512, 0))
    for key in ("best_valid_result", "test_result", "best_epoch"):
        assert measured[key] == not_measured[key]
    one, other = (
        read_checkpoint(str(Path(result["model_file"]).with_suffix("")) + ".last.pth")
        for result in (measured, not_measured)
    )
    for name, tensor in other["state_dict"].items():
        torch.testing.assert_close(one["state_dict"][name], tensor, rtol=0, atol=0, equal_nan=True)
    assert other["history"][0]["diagnosis"] == {}


@pytest.mark.parametrize("model", ["CLIA", "STAMP", "BPR"])
def test_the_epoch_in_which_time_is_up_is_the_last_and_is_validated(made: dict[str, Any], model: str) -> None:
    limit = {"train_seconds": 1e-6, "epochs": 50, "eval_step": 20}
    result = run(model, "made", config_dict={**made, **limit})
    assert (result["epochs"], result["best_epoch"]) == (1, 0)
    assert result["test_result"]["ndcg@10"] >= 0


@pytest.mark.parametrize("model", ["CLIA", "STAMP"])
def test_time_is_up_without_validation_too(made: dict[str, Any], model: str) -> None:
    args = {"split": {"LS": "test_only"}, "order": "TO", "group_by": "user", "mode": "full"}
    result = run(model, "made", config_dict={**made, "train_seconds": 1e-6, "epochs": 50, "eval_args": args})
    assert (result["epochs"], result["best_epoch"]) == (1, None)
    assert result["test_result"]["ndcg@10"] >= 0


@pytest.mark.parametrize("model", ["CLIA", "GRU4Rec"])
def test_a_loss_that_is_no_number_gets_one_sentence(made: dict[str, Any], model: str) -> None:
    with pytest.raises(
        UsageError, match=r"no number any more after \d+ whole epochs; a smaller learning_rate than 1e\+30"
    ):
        run(model, "made", config_dict={**made, "learning_rate": 1e30, "epochs": 20})


def test_time_that_is_not_up_changes_nothing(settings: dict[str, Any]) -> None:
    one = run("CLIA", "made", config_dict=settings)
    other = run("CLIA", "made", config_dict={**settings, "train_seconds": 1e6})
    assert one["test_result"] == other["test_result"]
    assert one["epochs"] == other["epochs"] == 3
