"""What stands wrong inside a setting is told in one sentence, and what is right passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_clia.errors import UsageError
from recbole_clia.settings.config import PluginConfig
from recbole_clia.settings.nested import check_loaded, check_nested

SEQUENTIAL = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"eval_args": {**SEQUENTIAL, "modee": "uni5"}},
            "eval_args has no key 'modee'; its keys are split, .*did",
        ),
        (
            {"eval_args": {**SEQUENTIAL, "mode": {"vald": "uni5"}}},
            "eval_args: its mode has no key 'vald'; .*did you",
        ),
        ({"eval_args": {**SEQUENTIAL, "group_by": "foo"}}, "its group_by must be user or none, not 'foo'"),
        ({"eval_args": {**SEQUENTIAL, "order": "up"}}, "its order must be TO or RO, not 'up'"),
        ({"eval_args": {"mode": "uni5"}}, "eval_args: its order must be TO for CLIA, a sequential model, not RO; what"),
        ({"clip_grad_norm": {"max_nrm": 5}}, "clip_grad_norm has no key 'max_nrm'; .*did you mean max_norm"),
        ({"load_col": {"itm": ["user_id"]}}, "load_col has no key 'itm'; its keys are inter, .*did you mean item"),
        (
            {"load_col": {"inter": "user_id"}},
            "load_col: inter must be a list of fields, or '\\*' for all, not",
        ),
        ({"load_col": {"inter": None}}, "load_col: inter must be a list of fields"),
        (
            {"threshold": {"rating": 2}},
            "threshold: the field 'rating' is not loaded; name it in load_col, beside it",
        ),
        ({"val_interval": {"rating": "[1,2]"}}, "val_interval: the field 'rating' is not loaded"),
        ({"threshold": {"timestamp": "x"}}, "threshold: timestamp must have a number, not 'x'"),
        ({"topk": ["a"]}, "topk: it must be a whole number of at least 1 or a list of them, not \\['a'\\]"),
        ({"topk": [5.5]}, "topk: it must be a whole number"),
        ({"topk": True}, "topk: it must be a whole number"),
        ({"topk": [3, 0]}, "topk: it must be a whole number"),
        ({"device": "foo"}, "device: it follows from use_gpu and gpu_id"),
    ],
)
def test_what_is_wrong_is_refused(made: dict[str, Any], given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        PluginConfig("CLIA", "made", config_dict={**made, **given})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        {"eval_args": SEQUENTIAL},
        {"eval_args": {**SEQUENTIAL, "group_by": None, "mode": {"valid": "uni5", "test": "full"}}},
        {"clip_grad_norm": {"max_norm": 5, "norm_type": 2}},
        {"load_col": {"inter": "*", "item": ["item_id"]}},
        {"load_col": {"inter": ["a"], "vectors": ["b"]}, "additional_feat_suffix": ["vectors"]},
        {"topk": 3},
        {"topk": [1, 20]},
    ],
)
def test_what_is_right_passes(given: dict[str, Any]) -> None:
    check_nested(given)


def test_a_field_counts_as_loaded_wherever_it_is() -> None:
    filters = {"val_interval": {"price": "[1,2]"}, "threshold": {"price": 1.5}}
    check_loaded({"load_col": {"inter": ["a"], "item": ["price"]}, **filters}, filters)
    check_loaded({"load_col": {"inter": "*"}, **filters}, filters)
    check_loaded({"load_col": None, **filters}, filters)
    with pytest.raises(UsageError, match=r"'price' is not loaded; name it in load_col, beside a, b$"):
        check_loaded({"load_col": {"inter": ["b", "a"]}, **filters}, filters)


def test_paths_tuples_and_numpys_numbers_are_taken(made: dict[str, Any]) -> None:
    given = {
        "data_path": Path(made["data_path"]),
        "epochs": np.int64(2),
        "topk": (5,),
        "learning_rate": np.float32(0.5),
    }
    given |= {
        "checkpoint_dir": Path("here"),
        "valid_metric": "MRR@5",
        "eval_args": {**SEQUENTIAL, "split": {"RS": (8, 1, 1)}},
    }
    config = PluginConfig("CLIA", "made", config_dict={**made, **given})
    assert config["data_path"] == str(Path(made["data_path"]) / "made")
    assert (config["checkpoint_dir"], config["topk"], config["learning_rate"]) == ("here", [5], 0.5)
    assert type(config["epochs"]) is int
    assert config["eval_args"]["split"] == {"RS": [8, 1, 1]}


@pytest.mark.parametrize(
    ("given", "gpu_id", "device"),
    [
        ({}, "0", "cuda"),
        ({"use_gpu": True, "gpu_id": (0, 1)}, "0,1", "cuda"),
        ({"use_gpu": False}, "", "cpu"),
        ({"use_gpu": False, "gpu_id": "1"}, "", "cpu"),
        ({"gpu_id": ""}, "", "cpu"),
    ],
)
def test_the_device_is_the_one_asked_for(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], gpu_id: str, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = {key: value for key, value in made.items() if key != "use_gpu"}
    config = PluginConfig("CLIA", "made", config_dict={**settings, **given})
    assert (config["gpu_id"], config["device"].type) == (gpu_id, device)


def test_one_file_need_not_stand_in_a_list(made: dict[str, Any], workplace: Path) -> None:
    (workplace / "one.yaml").write_text("embedding_size: 8\n")
    assert PluginConfig("CLIA", "made", "one.yaml", made)["embedding_size"] == 8
