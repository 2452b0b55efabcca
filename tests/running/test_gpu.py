"""The same on a GPU as on a CPU, where there is a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import exact, prepare

from recbole_clia import load_model, run
from recbole_clia.comparison.execute import execute
from recbole_clia.comparison.plan import make_plan
from recbole_clia.sampling.negatives import STRATEGIES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

FORMS: list[dict[str, Any]] = [
    {},
    {"packed": False},
    {"fusion": "mixture", "item_norm": False},
    {"short_term_encoder": "gru", "user_query": False},
    {"contrastive_loss": "triplet", "softmax_budget_mib": 0.001},
    {"contrastive_loss": "infonce", "contrastive_rows": 4096, "MAX_ITEM_LIST_LENGTH": 19},
    {"time_gaps": False, "repeats": False, "trend": False, "neighbours": False},
    {"long_term_attention": "mean", "short_term_attention": "mean"},
]


@pytest.fixture
def small(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "embedding_size": 8, "hidden_size": 8, "train_batch_size": 64, "dropout_prob": 0.0}


def losses_and_gradients(model: Any, batch: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
    model.zero_grad()
    for module in model.modules():
        if isinstance(module, torch.nn.RNNBase):
            module.train()  # cuDNN goes back through them in no other mode; one layer has no dropout
    losses = model.calculate_loss(batch)
    losses = losses if isinstance(losses, tuple) else (losses,)
    sum(losses).backward()
    gradients = {name: p.grad.detach().cpu().clone() for name, p in model.named_parameters() if p.grad is not None}
    return [loss.item() for loss in losses], gradients


def assert_equal_on_both(prepared: Any, model: Any) -> None:
    (batch, *_) = prepared.train
    rows = prepared.test._dataset
    histories = rows[np.arange(len(rows))]
    with torch.no_grad():
        scores = model.full_sort_predict(histories)
    losses, gradients = losses_and_gradients(model, batch)
    model = model.cuda()
    on_gpu, gradients_on_gpu = losses_and_gradients(model, batch.to("cuda"))
    np.testing.assert_allclose(on_gpu, losses, rtol=0, atol=1e-9)
    assert gradients.keys() == gradients_on_gpu.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_on_gpu[name], gradient, rtol=0, atol=1e-9)
    with torch.no_grad():
        found = model.full_sort_predict(histories.to("cuda"))
    torch.testing.assert_close(found.cpu()[:, 1:], scores[:, 1:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: " ".join(map(str, form.values())) or "as it is")
def test_clia_computes_the_same(small: dict[str, Any], form: dict[str, Any]) -> None:
    prepared = prepare({**small, **form})
    assert_equal_on_both(prepared, exact(prepared))


@pytest.mark.parametrize("model", ["GRU4Rec", "SASRec"])
def test_packed_baselines_compute_the_same(made: dict[str, Any], model: str) -> None:
    prepared = prepare({**made, "packed": True, "train_neg_sample_args": None}, model)
    assert_equal_on_both(prepared, prepared.model.double().eval())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("loss_type", ["BPR", "SSM"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])
def test_every_strategy_trains(small: dict[str, Any], strategy: str, loss_type: str, packed: bool) -> None:
    chosen = {"negative_sampling": strategy, "loss_type": loss_type, "packed": packed, "exclude_history": True}
    further = {"augmentation_weight": 0.1, "continuity_weight": 0.1, "same_target_weight": 0.1, "dropout_prob": 0.5}
    prepared = prepare({**small, **chosen, **further, "negative_clusters": 4})
    model = prepared.model.cuda()
    model.start_epoch(0)
    losses, gradients = losses_and_gradients(model, next(iter(prepared.train)).to("cuda"))
    assert len(losses) == 5
    assert np.isfinite(losses).all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("model", ["CLIA", "CLSR", "GRU4Rec"])
def test_a_run_is_stopped_resumed_and_loaded_elsewhere(made: dict[str, Any], model: str) -> None:
    settings = {**made, "use_gpu": True, "epochs": 4, "train_batch_size": 64}
    if model == "GRU4Rec":
        settings.update(packed=True, train_neg_sample_args=None)
    result = run(model, "made", config_dict={**settings, "epochs": 2})
    if model != "GRU4Rec":
        last = result["model_file"].replace(".pth", ".last.pth")
        assert run(model, "made", config_dict=settings, resume=last)["epochs"] == 4
    path = str(Path(result["model_file"]))
    prepared = prepare(settings, model)
    rows = prepared.test._dataset
    batch = rows[np.arange(len(rows))]
    here, there = load_model(path), load_model(path, device="cuda")
    with torch.no_grad():
        scores = here.full_sort_predict(batch).view(len(batch), -1)[:, 1:]
        found = there.full_sort_predict(batch.to("cuda")).view(len(batch), -1)[:, 1:]
    torch.testing.assert_close(found.cpu(), scores, rtol=1e-4, atol=1e-4)


def test_a_compared_run_says_where_it_ran(small: dict[str, Any], workplace: Path, here: list[str]) -> None:
    chosen = {key: small[key] for key in ("data_path", "load_col", "MAX_ITEM_LIST_LENGTH")}
    plan = make_plan(["CLIA"], ["made"], [1], settings={**chosen, "use_gpu": True, "epochs": 1})
    (outcome,) = execute(plan, workplace / "runs")
    assert outcome.record["state"] == "done", outcome.record
    assert outcome.record["device"].startswith("cuda")
    assert outcome.record["machine"]["gpu"] == torch.cuda.get_device_name()
    on_cpu = make_plan(["CLIA"], ["made"], [1], settings={**chosen, "use_gpu": False, "epochs": 1})
    assert [run.key for run in on_cpu] == [run.key for run in plan]
