"""Laws of what a run warns of and does not refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_clia.settings.config import PluginConfig


@pytest.mark.parametrize("model", ["CLIA", "SASRec"])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_only_numbers_that_this_cpu_does_not_multiply_are_warned_of(
    made: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    loss_type: str,
    native: bool,
    dtype: str,
    model: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    packed = {"packed": loss_type == "CE" or model == "CLIA", "loss_type": loss_type}
    config = PluginConfig(model, "made", config_dict={**made, **packed, "softmax_dtype": dtype})
    with caplog.at_level("WARNING"):  # whatever level an earlier run has set
        config.log_remarks()
    warned = [record.getMessage() for record in caplog.records if "softmax_dtype" in record.getMessage()]
    assert len(warned) == (dtype == "bfloat16" and not native and loss_type == "CE")
    assert all("float32" in sentence and "auto" in sentence for sentence in warned)


@pytest.mark.parametrize(("loss_type", "warned"), [("CE", 3), ("SSM", 0), ("BPR", 0)])
def test_settings_of_negatives_do_nothing_without_them(
    made: dict[str, Any], caplog: pytest.LogCaptureFixture, loss_type: str, warned: int
) -> None:
    given = {"negative_sampling": "hard", "negative_num": 7, "exclude_history": True, "loss_type": loss_type}
    config = PluginConfig("CLIA", "made", config_dict={**made, **given})
    with caplog.at_level("WARNING"):
        config.log_remarks()
    told = [record.getMessage() for record in caplog.records if "nothing with loss_type CE" in record.getMessage()]
    assert len(told) == warned
