"""Laws of CLIA: what it may see, what its scores and losses equal, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, prepare, write_log
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_clia.data.dataset import TARGETS_SUFFIX

KINDS = ["bpr", "triplet", "infonce"]


def exact(prepared: Prepared) -> Any:
    """The model in evaluation mode and float64, with weights away from their start."""
    generator = torch.Generator().manual_seed(0)
    model = prepared.model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        model.item_embedding.weight[0].zero_()
    return model


def user_vectors(model: Any, users: Tensor, items: Tensor, lengths: Tensor) -> Tensor:
    last = torch.arange(1, items.shape[1] + 1) == lengths.unsqueeze(1)
    return model(users, items, last).user


@pytest.fixture
def prepared(made: dict[str, Any]) -> Prepared:
    return prepare(made)


@pytest.fixture
def batch(prepared: Prepared) -> Interaction:
    rows = prepared.test._dataset
    return rows[np.arange(len(rows))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_packed_loss_equals_one_row_per_prefix(made: dict[str, Any], kind: str, loss_type: str) -> None:
    """Each term, on histories no longer than the window, to 1e-6 and better in float64."""
    made.update(MAX_ITEM_LIST_LENGTH=20, contrastive_loss=kind, loss_type=loss_type, train_batch_size=100_000)
    packed, rows = prepare(made), prepare({**made, "packed": False})
    model = exact(packed)
    (whole,) = list(packed.train)
    dataset = rows.train._dataset
    each = dataset[np.arange(len(dataset))]
    if loss_type == "BPR":
        rng = np.random.default_rng(0)
        negative_of = torch.from_numpy(rng.integers(1, packed.dataset.item_num, packed.dataset.item_num))
        target = whole["item_id" + TARGETS_SUFFIX]
        whole["neg_item_id" + TARGETS_SUFFIX] = negative_of[target].unsqueeze(-1)
        each.update(Interaction({"neg_item_id": negative_of[each["item_id"]]}))
    got, want = model.calculate_loss(whole), model.calculate_loss(each)
    assert len(got) == len(want) == 2
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    assert want[1] > 0


def test_packed_gradient_equals_that_of_the_rows(made: dict[str, Any]) -> None:
    made.update(MAX_ITEM_LIST_LENGTH=20, train_batch_size=100_000)
    packed, rows = prepare(made), prepare({**made, "packed": False})
    model = exact(packed)
    dataset = rows.train._dataset
    gradients = []
    for interaction in (next(iter(packed.train)), dataset[np.arange(len(dataset))]):
        model.zero_grad()
        sum(model.calculate_loss(interaction)).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_long_histories_differ_only_by_the_context_that_a_window_cuts(made: dict[str, Any]) -> None:
    """With a stride of 1 no context is cut, and the losses are equal again."""
    made.update(MAX_ITEM_LIST_LENGTH=4, contrastive_length_threshold=1, train_batch_size=100_000, packed_stride=1)
    packed, rows = prepare(made), prepare({**made, "packed": False})
    model = exact(packed)
    dataset = rows.train._dataset
    got, want = model.calculate_loss(next(iter(packed.train))), model.calculate_loss(dataset[np.arange(len(dataset))])
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_full_ranking_equals_predict_item_by_item(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    full = model.full_sort_predict(batch)
    assert full.shape == (len(batch), prepared.dataset.item_num)
    for item in range(prepared.dataset.item_num):
        one = Interaction({**batch.interaction, "item_id": torch.full((len(batch),), item)})
        torch.testing.assert_close(model.predict(one), full[:, item], rtol=0, atol=1e-12)


def test_padding_changes_no_score(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    users, items, lengths = batch["user_id"], batch["item_id_list"], batch["item_length"]
    wide = torch.nn.functional.pad(items, (0, 5))
    torch.testing.assert_close(
        user_vectors(model, users, items, lengths), user_vectors(model, users, wide, lengths), rtol=0, atol=1e-12
    )
    for row, length in enumerate(lengths.tolist()):
        alone = user_vectors(model, users[row : row + 1], items[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], user_vectors(model, users, items, lengths)[row], rtol=0, atol=1e-12)


def test_the_batch_around_a_row_changes_no_score(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    columns = [batch[c] for c in ("user_id", "item_id_list", "item_length")]
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1))
    whole = user_vectors(model, *columns)
    shuffled = user_vectors(model, *(c[order] for c in columns))
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-12)
    half = user_vectors(model, *(c[: len(batch) // 2] for c in columns))
    torch.testing.assert_close(half, whole[: len(batch) // 2], rtol=0, atol=1e-12)


def test_the_future_changes_no_interest(prepared: Prepared, batch: Interaction) -> None:
    """Position t of every interest and proxy is a function of the first t items."""
    model = exact(prepared)
    users, items = batch["user_id"], batch["item_id_list"].clone()
    everywhere = torch.ones_like(items, dtype=torch.bool)
    before = model(users, items, everywhere)
    cut = 3
    items[:, cut:] = torch.randint(1, prepared.dataset.item_num, items[:, cut:].shape)
    after = model(users, items, everywhere)
    for one, other in zip(before, after, strict=True):
        one, other = (v.view(*items.shape, -1)[:, :cut] for v in (one, other))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_renaming_the_items_renames_the_scores(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    before = model.full_sort_predict(batch)
    new_name = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(prepared.dataset.item_num - 1)])
    with torch.no_grad():
        renamed = torch.empty_like(model.item_embedding.weight)
        renamed[new_name] = model.item_embedding.weight
        model.item_embedding.weight.copy_(renamed)
    after = model.full_sort_predict(Interaction({**batch.interaction, "item_id_list": new_name[batch["item_id_list"]]}))
    torch.testing.assert_close(after[:, new_name], before, rtol=0, atol=1e-12)


def test_weight_zero_is_the_model_without_the_contrast(made: dict[str, Any]) -> None:
    prepared = prepare({**made, "contrastive_loss_weight": 0.0})
    batch = next(iter(prepared.train))
    prepared.model.eval()
    gradients = []
    for terms in (slice(0, 1), slice(0, 2)):
        prepared.model.zero_grad()
        sum(prepared.model.calculate_loss(batch)[terms]).backward()
        gradients.append({n: p.grad.clone() for n, p in prepared.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() <= gradients[1].keys()
    for name, gradient in gradients[1].items():
        assert torch.equal(gradient, gradients[0].get(name, torch.zeros_like(gradient))), name


@pytest.mark.parametrize("kind", KINDS)
def test_no_history_over_the_threshold_gives_a_contrast_of_zero(made: dict[str, Any], kind: str) -> None:
    prepared = prepare({**made, "contrastive_length_threshold": 1000, "contrastive_loss": kind})
    recommendation, contrast = prepared.model.calculate_loss(next(iter(prepared.train)))
    assert contrast.item() == 0
    (recommendation + contrast).backward()
    assert all(torch.isfinite(p.grad).all() for p in prepared.model.parameters() if p.grad is not None)


def test_the_threshold_is_strict(made: dict[str, Any]) -> None:
    def contrast(threshold: int) -> float:
        model = exact(prepare({**made, "contrastive_length_threshold": threshold, "contrastive_loss": "triplet"}))
        users, items = torch.tensor([1]), torch.tensor([[1, 2, 3, 4]])
        targets = torch.tensor([[0, 0, 0, 5]])
        row = {"user_id": users, "item_id_list": items, "item_id" + TARGETS_SUFFIX: targets}
        return model.calculate_loss(Interaction(row))[1].item()

    assert contrast(4) == 0
    assert contrast(3) > 0


def test_strangers_get_finite_scores_and_gradients(prepared: Prepared) -> None:
    """A user never seen, the unknown user, a history of one item, an item that nobody chose."""
    model = prepared.model
    strange = Interaction(
        {
            "user_id": torch.tensor([10**6, 0, 1]),
            "item_id_list": torch.tensor([[3, 0], [1, 2], [prepared.dataset.item_num - 1, 0]]),
            "item_length": torch.tensor([1, 2, 1]),
            "item_id": torch.tensor([2, 1, 4]),
        }
    )
    assert torch.isfinite(model.full_sort_predict(strange)).all()
    loss = sum(model.calculate_loss(strange))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_user_never_seen_is_the_unknown_user(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    items, lengths = batch["item_id_list"], batch["item_length"]
    unknown = user_vectors(model, torch.zeros_like(batch["user_id"]), items, lengths)
    beyond = user_vectors(model, torch.full_like(batch["user_id"], prepared.dataset.user_num), items, lengths)
    assert torch.equal(unknown, beyond)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_fixed_alpha_mixes_the_interests(made: dict[str, Any], alpha: float) -> None:
    prepared = prepare({**made, "fixed_alpha": alpha})
    items = torch.tensor([[1, 2, 3]])
    interests = exact(prepared)(torch.tensor([1]), items, torch.ones_like(items, dtype=torch.bool))
    mixed = alpha * interests.long_interest + (1 - alpha) * interests.short_interest
    torch.testing.assert_close(interests.user, mixed)


def test_proxies_of_a_short_history_are_equal(prepared: Prepared) -> None:
    items = torch.tensor([[1, 2, 3, 4]])
    interests = exact(prepared)(torch.tensor([1]), items, torch.ones_like(items, dtype=torch.bool))
    same = (interests.long_proxy == interests.short_proxy).all(-1)
    assert same.tolist() == [True, True, True, False]


def test_thirty_two_histories_can_be_learnt_by_heart(workplace: Any, made: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    rows = [(u, int(i), float(t)) for u in range(32) for t, i in enumerate(rng.permutation(40)[:8])]
    made["data_path"] = write_log(workplace / "dataset", rows)
    prepared = prepare({**made, "dropout_prob": 0.0, "contrastive_length_threshold": 3})
    model = prepared.model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    (batch,) = list(prepared.train)
    for _ in range(150):
        optimizer.zero_grad()
        sum(model.calculate_loss(batch)).backward()
        optimizer.step()
    model.eval()
    last = batch["item_id" + TARGETS_SUFFIX].gather(1, batch["item_length"].unsqueeze(1) - 1).squeeze(1)
    scores = model.full_sort_predict(batch)
    scores[:, 0] = -torch.inf
    assert (scores.argmax(1) == last).all()
