"""RecBole's models that can be trained packed: the same model, the same loss, the same evaluation."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recbole.trainer
import torch
from conftest import Prepared, prepare
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.utils import get_model, get_trainer

from recbole_clia import load_model, run
from recbole_clia.data.loader import PackedTrainDataLoader
from recbole_clia.errors import UsageError
from recbole_clia.running.trainer import CLIATrainer
from recbole_clia.settings.config import PluginConfig

BASELINES = ["GRU4Rec", "SASRec", "NARM", "CORE"]
CLOSE = {"CORE": 1e-6}  # its weights are in float32, whatever the model is in


@pytest.fixture(params=BASELINES)
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def settings(made: dict[str, Any], model: str) -> dict[str, Any]:
    size = {"CORE": {"embedding_size": 8}}.get(model, {"hidden_size": 8})
    return {**made, "packed": True, "train_batch_size": 64, "epochs": 2, **size}


def both(made: dict[str, Any], name: str) -> tuple[Prepared, Prepared]:
    """The model packed and as RecBole has it, with the same weights, in float64 without dropout."""
    packed, host = prepare({**made, "packed": True}, name), prepare({**made, "packed": False}, name)
    generator = torch.Generator().manual_seed(0)
    for prepared in (packed, host):
        prepared.model.double().eval()
    with torch.no_grad():
        for parameter in packed.model.parameters():  # the padding's row too, as RecBole trains it
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    host.model.load_state_dict(packed.model.state_dict(), strict=True)
    return packed, host


def loss_and_gradients(model: Any, interaction: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model.calculate_loss(interaction)
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "window",
    [{"MAX_ITEM_LIST_LENGTH": 20}, {"MAX_ITEM_LIST_LENGTH": 4, "packed_stride": 1}],
    ids=["short histories", "no context cut"],
)
@pytest.mark.parametrize("budget", [None, 0.001])
def test_loss_and_gradient_are_those_of_recboles_rows(
    made: dict[str, Any], model: str, window: dict[str, int], budget: float | None
) -> None:
    packed, host = both({**made, **window, "train_batch_size": 100_000, "softmax_budget_mib": budget}, model)
    (whole,) = list(packed.train)
    rows = host.train._dataset
    assert int((whole["item_id_targets"] > 0).sum()) == len(rows)
    got, got_gradients = loss_and_gradients(packed.model, whole)
    want, want_gradients = loss_and_gradients(host.model, rows[np.arange(len(rows))])
    torch.testing.assert_close(got, want, rtol=0, atol=CLOSE.get(model, 1e-9))
    assert got_gradients.keys() == want_gradients.keys()
    for name, gradient in want_gradients.items():
        torch.testing.assert_close(got_gradients[name], gradient, rtol=0, atol=CLOSE.get(model, 1e-9))
    assert (want_gradients["item_embedding.weight"][0] != 0).any()  # the padding is among RecBole's classes


def test_each_batch_has_the_loss_of_its_pairs(made: dict[str, Any], model: str) -> None:
    """Trimmed to their longest window, and of histories at different places of their windows."""
    packed, host = both({**made, "MAX_ITEM_LIST_LENGTH": 20, "train_batch_size": 16}, model)
    rows = host.train._dataset
    each = rows[np.arange(len(rows))]
    row_of = {
        (user, length): number
        for number, (user, length) in enumerate(
            zip(each["user_id"].tolist(), each["item_length"].tolist(), strict=True)
        )
    }
    widths = set()
    for batch in packed.train:
        widths.add(batch["item_id_list"].shape[1])
        places = (batch["item_id_targets"] > 0).nonzero().tolist()
        index = [row_of[batch["user_id"][window].item(), column + 1] for window, column in places]
        torch.testing.assert_close(
            packed.model.calculate_loss(batch),
            host.model.calculate_loss(rows[np.array(index)]),
            rtol=0,
            atol=CLOSE.get(model, 1e-9),
        )
    assert len(widths) > 1


def test_it_is_recboles_model(made: dict[str, Any], model: str) -> None:
    packed, host = both(made, model)
    assert type(host.model) is get_model(model)
    assert isinstance(packed.model, type(host.model))
    packed.model.load_state_dict(host.model.state_dict(), strict=True)
    rows = packed.test._dataset
    batch = rows[np.arange(600) % len(rows)]  # more than are encoded at once, short and long ones mixed
    for of_batch in ("full_sort_predict", "predict", "calculate_loss"):
        ours, theirs = getattr(packed.model, of_batch)(batch), getattr(host.model, of_batch)(batch)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=CLOSE.get(model, 1e-12))
    nobody = rows[np.arange(0)]
    assert packed.model.full_sort_predict(nobody).shape == (0, packed.model.n_items)
    again = copy.deepcopy(packed.model)
    assert type(again) is type(packed.model)
    assert torch.equal(again.full_sort_predict(batch), packed.model.full_sort_predict(batch))


def test_an_untrained_model_starts_from_the_same_weights(made: dict[str, Any], model: str) -> None:
    states = [prepare({**made, "packed": packed}, model).model.state_dict() for packed in (True, False)]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


@pytest.mark.parametrize("config_class", [PluginConfig, Config])
@pytest.mark.parametrize("packed", [True, False])
def test_the_setting_decides_on_loader_model_and_trainer(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, model: str, config_class: type, packed: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    config = config_class(
        model, "made", config_dict={**made, "packed": packed, "train_neg_sample_args": None, "exact_time": packed}
    )
    train, valid, test = data_preparation(config, create_dataset(config))
    built = get_model(model)(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, built)
    assert type(train) is (PackedTrainDataLoader if packed else TrainDataLoader)
    assert {type(valid), type(test)} == {FullSortEvalDataLoader}
    assert type(trainer) is (CLIATrainer if packed else recbole.trainer.Trainer)
    assert (type(built) is get_model(model)) is not packed


def test_not_packed_is_the_default(made: dict[str, Any], model: str) -> None:
    assert PluginConfig(model, "made", config_dict=made)["packed"] is False


def test_packed_needs_no_order_of_time(made: dict[str, Any], model: str) -> None:
    made.update(packed=True, exact_time=False, lazy_augmentation=False)
    assert type(prepare(made, model).train) is PackedTrainDataLoader


def test_run_recbole_gives_what_run_gives(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    theirs = run_recbole(model=model, dataset="made", config_dict=settings)
    ours = run(model, "made", config_dict=settings)
    assert ours["test_result"] == theirs["test_result"]
    assert ours["best_valid_result"] == theirs["best_valid_result"]
    model_file = ours["model_file"]
    again, test = load_data_and_model(model_file)[1::4]
    config = torch.load(model_file)["config"]
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, again)
    assert trainer.evaluate(test, load_best_model=True, model_file=model_file) == ours["test_result"]


def test_it_learns(settings: dict[str, Any], model: str) -> None:
    result = run(model, "made", config_dict={**settings, "epochs": 8, "learning_rate": 0.01, "stopping_step": 20})
    losses = [epoch["train_loss"] for epoch in torch.load(last_file(result))["history"]]
    assert len(losses) == 8
    assert losses[-1] < losses[0]


def last_file(result: dict[str, Any]) -> str:
    return str(Path(result["model_file"]).with_suffix("")) + ".last.pth"


def test_a_resumed_run_is_bit_equal_to_one_that_was_not_stopped(settings: dict[str, Any], model: str) -> None:
    settings.update(epochs=4)
    whole = run(model, "made", config_dict={**settings, "checkpoint_dir": "whole"})
    stopped = run(model, "made", config_dict={**settings, "checkpoint_dir": "part", "epochs": 2})
    resumed = run(model, "made", config_dict={**settings, "checkpoint_dir": "part"}, resume=last_file(stopped))
    assert resumed["test_result"] == whole["test_result"]
    one, other = (torch.load(last_file(result)) for result in (whole, resumed))
    assert [e["train_loss"] for e in one["history"]] == [e["train_loss"] for e in other["history"]]
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


def test_training_stops_when_its_time_is_up(settings: dict[str, Any], model: str) -> None:
    assert run(model, "made", config_dict={**settings, "epochs": 50, "train_seconds": 1e-6})["epochs"] == 1


def test_it_is_loaded_without_its_data(settings: dict[str, Any], workplace: Path, model: str) -> None:
    prepared = prepare(settings, model)
    rows = prepared.test._dataset
    batch = rows[np.arange(len(rows))]
    path = run(model, "made", config_dict=settings)["model_file"]
    prepared.model.load_state_dict(torch.load(path)["state_dict"])
    (workplace / "dataset/made/made.inter").unlink()
    loaded: Any = load_model(path)
    assert torch.equal(loaded.full_sort_predict(batch), prepared.model.eval().full_sort_predict(batch))


@pytest.mark.parametrize("config_class", [PluginConfig, Config])
@pytest.mark.parametrize(
    ("model", "settings", "sentence"),
    [
        ("SASRec", {"loss_type": "BPR"}, "packed: SASRec is trained packed with loss_type CE only, not BPR"),
        ("GRU4Rec", {"loss_type": "BPR"}, "packed: GRU4Rec is trained packed with loss_type CE only, not BPR"),
        ("HGN", {}, "packed: HGN cannot be trained packed; CLIA, GRU4Rec, SASRec, NARM, CORE can"),
        ("CLSR", {}, "packed: CLSR cannot be trained packed; CLIA, GRU4Rec, SASRec, NARM, CORE can"),
        ("Pop", {}, "packed: Pop cannot be trained packed; CLIA, GRU4Rec, SASRec, NARM, CORE can"),
    ],
)
def test_what_cannot_be_packed_is_refused(
    made: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    config_class: type,
    model: str,
    settings: dict[str, Any],
    sentence: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    if model not in ("Pop",) and not settings:
        settings = {"train_neg_sample_args": None}

    def go() -> None:
        config = config_class(model, "made", config_dict={**made, "packed": True, **settings})
        data_preparation(config, create_dataset(config))

    with pytest.raises(UsageError) as caught:
        go()
    assert str(caught.value) == sentence


def test_packed_false_is_everyones(made: dict[str, Any]) -> None:
    assert PluginConfig("HGN", "made", config_dict={**made, "packed": False})["packed"] is False
