"""Each space that comes with the package is one that its model can be searched in."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch
from conftest import prepare

from recbole_clia.settings.config import PluginConfig
from recbole_clia.settings.properties import read_properties
from recbole_clia.tuning.sampler import SeededTPE
from recbole_clia.tuning.space import Space, read_space, shipped_spaces

WITHOUT_SIDE_INFORMATION = [
    "GRU4Rec",
    "NARM",
    "STAMP",
    "SASRec",
    "BERT4Rec",
    "Caser",
    "NextItNet",
    "SINE",
    "SHAN",
    "HGN",
]
WITHOUT_SIDE_INFORMATION += [
    "CORE",
    "LightSANs",
    "FEARec",
    "FPMC",
    "TransRec",
    "HRM",
    "NPE",
    "RepeatNet",
    "SRGNN",
    "GCSAN",
]
MODELS = ["CLIA", "CLSR", *WITHOUT_SIDE_INFORMATION, "BPR"]


def test_there_is_one_for_each_model() -> None:
    assert sorted(shipped_spaces()) == sorted(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_the_space_is_valid_and_holds_the_defaults(made: dict[str, Any], model: str) -> None:
    """So the first trial is the model as it comes, and the search can only do better on validation."""
    space = read_space(model)
    defaults = PluginConfig(model, "made", config_dict=made).final_config_dict
    outside = [key for key, parameter in space.parameters.items() if not parameter.admits(defaults.get(key))]
    assert not outside
    assert all(line.meaning.endswith(".") for line in read_properties(shipped_spaces()[model]).values())


def _corner(space: Space, last: bool) -> dict[str, Any]:
    """The smallest model of the space, or the largest; batches stay small."""
    return {key: p.values[-1 if last else 0] for key, p in space.parameters.items() if key != "train_batch_size"}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_each_corner_and_of_a_draw_can_be_trained(made: dict[str, Any], model: str) -> None:
    space = read_space(model)
    drawn = space.suggest(optuna.create_study(sampler=SeededTPE(0)).ask())
    if model == "BPR":
        made = {**made, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}
    for settings in (_corner(space, False), _corner(space, True), {**drawn, "train_batch_size": 64}):
        prepared = prepare({**made, "train_batch_size": 64, **settings}, model)
        batch = next(iter(prepared.train))
        loss = prepared.model.calculate_loss(batch)
        total = sum(loss) if isinstance(loss, tuple) else loss
        total.backward()
        assert torch.isfinite(total)
