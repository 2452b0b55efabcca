"""Laws of what a run warns of and does not refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_clia.settings.config import PluginConfig


@pytest.mark.parametrize("model", ["CLIA", "SASRec"])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("native", [True, False])
def test_only_numbers_that_this_cpu_does_not_multiply_are_warned_of(
    made: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    native: bool,
    dtype: str,
    model: str,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    packed = {"packed": True, "loss_type": "CE"}
    config = PluginConfig(model, "made", config_dict={**made, **packed, "softmax_dtype": dtype})
    with caplog.at_level("WARNING"):  # whatever level an earlier run has set
        config.log_remarks()
    warned = [record.getMessage() for record in caplog.records if "softmax_dtype" in record.getMessage()]
    assert len(warned) == (dtype == "bfloat16" and not native)
    assert all("float32" in sentence and "auto" in sentence for sentence in warned)
