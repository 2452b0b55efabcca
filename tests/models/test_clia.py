"""Laws of CLIA: what it may see, what its scores and losses equal, and that it learns."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, exact, prepare, write_log
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional as F

from recbole_clia.data.dataset import TARGETS_SUFFIX
from recbole_clia.errors import UsageError
from recbole_clia.models import clia
from recbole_clia.nn import dropout_of
from recbole_clia.sampling import Anchors, Draw, NegativeSampler
from recbole_clia.sampling.negatives import STRATEGIES
from recbole_clia.settings.config import PluginConfig

KINDS = ["bpr", "triplet", "infonce"]


def user_vectors(model: Any, users: Tensor, items: Tensor, lengths: Tensor) -> Tensor:
    last = torch.arange(1, items.shape[1] + 1) == lengths.unsqueeze(1)
    return model(users, items, last).user


def encoded(model: Any, batch: Interaction) -> Any:
    """The interests at the trained positions of a packed batch."""
    where = batch[model.TARGETS] > 0
    now = batch["timestamp" + TARGETS_SUFFIX][where].double()
    return model(batch["user_id"], batch["item_id_list"], where, batch["timestamp_list"].double(), now)


def beside(found: Any, item_num: int) -> Tensor:
    """What all items have beside the inner product, ``[N, I]``."""
    every = torch.arange(item_num).expand(len(found.user), -1)
    return found.offsets.of(every) + found.background.of(every)


@pytest.fixture(params=[False, True], ids=["learnt", "on proxies"])
def prepared(made: dict[str, Any], request: pytest.FixtureRequest) -> Prepared:
    return prepare({**made, "proxy_residual": request.param})


@pytest.fixture
def batch(prepared: Prepared) -> Interaction:
    rows = prepared.test._dataset
    return rows[np.arange(len(rows))]


def fix_negatives(monkeypatch: pytest.MonkeyPatch, item_num: int, number: int = 5, shared: bool = False) -> Tensor:
    """Each target's negatives are those of a table ``[I, n]``; some of them do not count, each has a log count."""
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.integers(1, item_num, (1 if shared else item_num, number)))
    log_count = torch.from_numpy(rng.normal(size=table.shape))
    usable = torch.from_numpy(rng.random((item_num, number)) < 0.7)

    def draw(self: NegativeSampler, anchors: Anchors, wanted: int) -> Draw:
        which = torch.zeros(1, dtype=torch.long) if shared else anchors.target
        return Draw(table[which], usable[anchors.target], log_count[which])

    monkeypatch.setattr(NegativeSampler, "forward", draw)
    return table


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("loss_type", "shared"), [("CE", False), ("BPR", False), ("SSM", False), ("SSM", True)])
@pytest.mark.parametrize("fusion", ["mixture", "vector"])
def test_packed_loss_equals_one_row_per_prefix(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: str, loss_type: str, shared: bool, fusion: str
) -> None:
    """Each term, on histories no longer than the window, to 1e-9 in float64."""
    made.update(MAX_ITEM_LIST_LENGTH=20, contrastive_loss=kind, loss_type=loss_type, train_batch_size=100_000)
    made.update(fusion=fusion, same_target_weight=0.5)
    packed, rows = prepare(made), prepare({**made, "packed": False})
    model = exact(packed)
    (whole,) = list(packed.train)
    dataset = rows.train._dataset
    each = dataset[np.arange(len(dataset))]
    fix_negatives(monkeypatch, packed.dataset.item_num, shared=shared)
    got, want = model.calculate_loss(whole), model.calculate_loss(each)
    assert len(got) == len(want) == 3
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
        assert other > 0


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


def test_predict_agrees_with_full_ranking_in_mixed_precision(prepared: Prepared, batch: Interaction) -> None:
    model = prepared.model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores = model.full_sort_predict(batch)
        chosen = model.predict(batch)
    torch.testing.assert_close(chosen, scores.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1).to(chosen.dtype))


def test_rows_without_times_are_measured_as_if_all_were_at_once(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    columns = {key: value for key, value in batch.interaction.items() if not key.startswith("timestamp")}
    zeros = {"timestamp": torch.zeros(len(batch)), "timestamp_list": torch.zeros(batch["item_id_list"].shape)}
    for ours, theirs in zip(
        model.measure(Interaction(columns)), model.measure(Interaction({**columns, **zeros})), strict=True
    ):
        torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_a_packed_batch_without_targets_reaches_every_parameter(made: dict[str, Any]) -> None:
    """Processes that share the gradients wait for each of them."""
    prepared = prepare({**made, "packed": True})
    batch = next(iter(prepared.train))
    batch.interaction["item_id_targets"] = torch.zeros_like(batch["item_id_targets"])
    loss = sum(prepared.model.train().calculate_loss(batch))
    loss.backward()
    assert loss.item() == 0
    assert [name for name, parameter in prepared.model.named_parameters() if parameter.grad is None] == []


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
    for one, other in zip(before[:6], after[:6], strict=True):
        one, other = (v.view(*items.shape, -1)[:, :cut] for v in (one, other))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    one, other = (beside(v, prepared.dataset.item_num).view(*items.shape, -1)[:, :cut] for v in (before, after))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_renaming_the_items_renames_the_scores(prepared: Prepared, batch: Interaction) -> None:
    model = exact(prepared)
    before = model.full_sort_predict(batch)
    new_name = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(prepared.dataset.item_num - 1)])
    with torch.no_grad():
        renamed = torch.empty_like(model.item_embedding.weight)
        renamed[new_name] = model.item_embedding.weight
        model.item_embedding.weight.copy_(renamed)
        features = torch.empty_like(model.trend.features)
        features[:, :, new_name] = model.trend.features
        model.trend.features.copy_(features)
        item, near = new_name[model.neighbours.item.long()], model.neighbours.near
        model.neighbours.item[new_name] = item.to(model.neighbours.item.dtype)
        model.neighbours.near[new_name] = near.clone()
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
        row |= {"timestamp_list": items, "timestamp" + TARGETS_SUFFIX: targets}
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
            "timestamp_list": torch.tensor([[0.0, 0.0], [3.0, 3.0], [1e9, 0.0]]),
            "timestamp": torch.tensor([0.0, 1e9, 1e9]),
        }
    )
    assert torch.isfinite(model.full_sort_predict(strange)[:, 1:]).all()
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
    for _ in range(300):
        optimizer.zero_grad()
        sum(model.calculate_loss(batch)).backward()
        optimizer.step()
    model.eval()
    end = batch["item_length"].unsqueeze(1) - 1
    last, now = (batch[f"{name}{TARGETS_SUFFIX}"].gather(1, end).squeeze(1) for name in ("item_id", "timestamp"))
    scores = model.full_sort_predict(Interaction({**batch.interaction, "timestamp": now}))
    scores[:, 0] = -torch.inf
    assert (scores.argmax(1) == last).all()


# ----- negatives


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("loss_type", ["BPR", "SSM"])
@pytest.mark.parametrize("shared", [False, True], ids=["row", "shared"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])
def test_every_strategy_trains_and_is_the_seeds_alone(
    made: dict[str, Any], strategy: str, loss_type: str, shared: bool, packed: bool
) -> None:
    made.update(negative_sampling=strategy, loss_type=loss_type, negative_shared=shared, packed=packed)
    prepared = prepare({**made, "negative_pool": 10, "negative_clusters": 4, "exclude_history": strategy == "hard"})
    model, batch = prepared.model, next(iter(prepared.train))

    def losses_and_gradients(seed: int) -> tuple[list[float], dict[str, Tensor]]:
        model.zero_grad()
        torch.manual_seed(seed)
        model.start_epoch(0)
        losses = model.calculate_loss(batch)
        sum(losses).backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        return [loss.item() for loss in losses], gradients

    (losses, gradients), (same, same_gradients), (other, _) = (losses_and_gradients(seed) for seed in (1, 1, 2))
    assert len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert (gradients["item_embedding.weight"] != 0).any(1).sum() > 5
    assert losses == same
    assert all(torch.equal(gradient, same_gradients[name]) for name, gradient in gradients.items())
    assert losses[0] != other[0]


@pytest.mark.parametrize(
    ("loss_type", "given", "number"), [("BPR", None, 1), ("SSM", None, 128), ("BPR", 3, 3), ("SSM", 7, 7)]
)
def test_a_target_has_so_many_negatives(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, loss_type: str, given: int | None, number: int
) -> None:
    prepared = prepare({**made, "loss_type": loss_type, "negative_num": given})
    asked: list[int] = []
    draw = NegativeSampler.forward

    def watch(self: NegativeSampler, anchors: Anchors, wanted: int) -> Draw:
        asked.append(wanted)
        return draw(self, anchors, wanted)

    monkeypatch.setattr(NegativeSampler, "forward", watch)
    prepared.model.calculate_loss(next(iter(prepared.train)))
    assert asked == [number]


def test_the_number_of_negatives_follows_its_schedule(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare({**made, "loss_type": "SSM", "negative_num": [[0, 2], [4, 12]]})
    model, batch = prepared.model, next(iter(prepared.train))
    asked: list[int] = []
    draw = NegativeSampler.forward

    def watch(self: NegativeSampler, anchors: Anchors, wanted: int) -> Draw:
        asked.append(wanted)
        return draw(self, anchors, wanted)

    monkeypatch.setattr(NegativeSampler, "forward", watch)
    for epoch in (0, 1, 2, 4, 9):
        model.start_epoch(epoch)
        model.calculate_loss(batch)
    assert asked == [2, 4, 7, 12, 12]  # 4.5 is rounded to the even number


def test_the_anchors_are_the_positions_trained(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its target, its user, and the score that the model would give."""
    for packed in (True, False):
        prepared = prepare({**made, "loss_type": "BPR", "packed": packed, "fusion": "vector"})
        model, batch = exact(prepared), next(iter(prepared.train))
        seen: list[Anchors] = []

        def watch(self: NegativeSampler, anchors: Anchors, wanted: int, seen: list[Anchors] = seen) -> Draw:
            seen.append(anchors)
            return Draw(torch.ones(len(anchors.target), wanted, dtype=torch.long), None, None)

        monkeypatch.setattr(NegativeSampler, "forward", watch)
        model.calculate_loss(batch)
        ((target, user, score),) = seen
        if packed:
            places = [(r, c) for r, row in enumerate(batch[model.TARGETS].tolist()) for c, t in enumerate(row) if t]
            want = [(int(batch[model.TARGETS][r, c]), int(batch["user_id"][r])) for r, c in places]
        else:
            places = [(r, int(length) - 1) for r, length in enumerate(batch["item_length"])]
            want = list(zip(batch["item_id"].tolist(), batch["user_id"].tolist(), strict=True))
        assert list(zip(target.tolist(), user.tolist(), strict=True)) == want
        found = encoded(model, batch) if packed else model._at_the_rows(batch)
        assert len(found.user) == len(places)
        expected = found.user @ model.scored_items().T + beside(found, prepared.dataset.item_num)  # [N, I]
        every = torch.arange(prepared.dataset.item_num)
        torch.testing.assert_close(score(every.unsqueeze(0)), expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(score(every.flip(0).expand(len(target), -1)), expected.flip(1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("item_norm", [True, False])
def test_items_are_scored_by_their_directions_or_as_they_are(made: dict[str, Any], item_norm: bool) -> None:
    prepared = prepare({**made, "item_norm": item_norm, "packed": False, "fusion": "vector"})
    model = exact(prepared)
    rows = prepared.test._dataset
    rows = rows[np.arange(len(rows))]
    items = model.item_embedding.weight.detach().numpy()
    if item_norm:
        with torch.no_grad():
            model.direction.scale.fill_(3.0)
        items = [3.0 * item / max(np.sqrt((item**2).sum()), 1e-12) for item in items]
    found = model._at_the_rows(rows)
    extra = beside(found, prepared.dataset.item_num).detach().numpy()
    users = found.user.detach().numpy()
    want = [[u @ item + e for item, e in zip(items, own, strict=True)] for u, own in zip(users, extra, strict=True)]
    got = model.full_sort_predict(rows).detach().numpy()
    np.testing.assert_allclose(got[:, 1:], np.array(want)[:, 1:], rtol=0, atol=1e-10)
    assert any(name.startswith("direction") for name in model.state_dict()) == item_norm


def test_the_losses_are_those_of_their_equations(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On scores of one vector: BPR over the usable pairs, and the softmax with and without its correction."""
    table = fix_negatives(monkeypatch, 31)
    rng = np.random.default_rng(0)
    rng.integers(1, 31, (31, 5))
    log_count, usable = rng.normal(size=(31, 5)), rng.random((31, 5)) < 0.7
    for settings in ({"loss_type": "BPR"}, {"loss_type": "SSM"}, {"loss_type": "SSM", "negative_correction": False}):
        prepared = prepare({**made, **settings, "fusion": "vector"})
        assert prepared.dataset.item_num == 31
        model, batch = exact(prepared), next(iter(prepared.train))
        found = encoded(model, batch)
        vectors, extra = found.user.detach().numpy(), beside(found, 31).detach().numpy()
        items = model.scored_items().detach().numpy()
        pairs, rows = [], []
        targets = batch[model.TARGETS][batch[model.TARGETS] > 0].tolist()
        for vector, more, target in zip(vectors, extra, targets, strict=True):
            own = float(vector @ items[target]) + more[target]
            mass = math.exp(own)
            for j, negative in enumerate(table[target].tolist()):
                if usable[target, j]:
                    score = float(vector @ items[negative]) + more[negative]
                    pairs.append(math.log1p(math.exp(score - own)))
                    mass += math.exp(score - (log_count[target, j] if "negative_correction" not in settings else 0))
            rows.append(math.log(mass) - own)
        want = np.mean(pairs if settings["loss_type"] == "BPR" else rows)
        assert model.calculate_loss(batch)[0].item() == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("loss_type", ["BPR", "SSM"])
@pytest.mark.parametrize("fusion", ["mixture", "vector"])
def test_the_gradient_is_the_slope_of_the_loss(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, loss_type: str, fusion: str
) -> None:
    prepared = prepare({**made, "loss_type": loss_type, "fusion": fusion})
    fix_negatives(monkeypatch, prepared.dataset.item_num)
    model, batch = exact(prepared), next(iter(prepared.train))
    weight = model.item_embedding.weight
    (gradient,) = torch.autograd.grad(model.calculate_loss(batch)[0], weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    direction[0] = 0
    with torch.no_grad():
        ends = []
        for step in (1e-7, -2e-7):  # small, since the gate of the fusion has kinks
            weight += step * direction
            ends.append(model.calculate_loss(batch)[0].item())
    assert (ends[0] - ends[1]) / 2e-7 == pytest.approx((gradient * direction).sum().item(), rel=1e-4)


def test_corrected_the_sampled_softmax_tends_to_cross_entropy(made: dict[str, Any]) -> None:
    whole = prepare({**made, "fusion": "vector"})
    batch = next(iter(whole.train))
    want = exact(whole).calculate_loss(batch)[0].item()
    found = {}
    for number, correction in ((10, False), (4_000, True), (4_000, False)):
        sampled = {"loss_type": "SSM", "negative_num": number, "negative_correction": correction, "fusion": "vector"}
        model = exact(prepare({**made, **sampled}))
        torch.manual_seed(0)
        found[number, correction] = model.calculate_loss(batch)[0].item()
    assert found[4_000, True] == pytest.approx(want, abs=0.01)
    assert found[10, False] < want - 0.5  # ten items are not thirty
    assert found[4_000, False] > want + 3  # about log(4000 / 30) too much


def test_the_items_are_clustered_anew_at_each_epoch(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = prepare({**made, "loss_type": "SSM", "negative_sampling": "cluster"}).model
    given: list[Tensor] = []
    monkeypatch.setattr(NegativeSampler, "refresh", lambda self, embedding: given.append(embedding))
    model.start_epoch(0)
    model.start_epoch(1)
    assert all(embedding is model.item_embedding.weight for embedding in given)
    assert len(given) == 2
    prepare(made).model.start_epoch(0)  # cross-entropy has no negatives
    assert len(given) == 2


# ----- RecBole's way to ask for negatives


def config_of(kind: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], model: str = "CLIA") -> Any:
    monkeypatch.setattr(sys, "argv", ["run.py"])
    return kind(model=model, dataset="made", config_dict=dict(settings))


@pytest.mark.parametrize("kind", [PluginConfig, Config])
@pytest.mark.parametrize("loss_type", ["BPR", "SSM"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"distribution": "uniform", "sample_num": 3}, {"negative_sampling": "uniform", "negative_num": 3}),
        (
            {"distribution": "popularity", "sample_num": 2, "alpha": 0.5},
            {"negative_sampling": "popularity", "negative_num": 2, "popularity_exponent": 0.5},
        ),
        (
            {"distribution": "popularity"},
            {"negative_sampling": "popularity", "negative_num": 1, "popularity_exponent": 1},
        ),
        (
            {"distribution": "uniform", "sample_num": 2, "dynamic": True, "candidate_num": 7},
            {"negative_sampling": "hard", "negative_num": 2, "negative_pool": 7},
        ),
        ("{'distribution': 'popularity', 'sample_num': 4}", {"negative_sampling": "popularity", "negative_num": 4}),
        (None, {"negative_sampling": "uniform", "negative_num": None, "negative_pool": 100}),
    ],
)
def test_recboles_arguments_become_the_plugins_settings(
    made: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
    loss_type: str,
    arguments: Any,
    said: dict[str, Any],
) -> None:
    config = config_of(kind, monkeypatch, {**made, "loss_type": loss_type, "train_neg_sample_args": arguments})
    assert {key: config[key] for key in said} == said
    assert config["train_neg_sample_args"]["distribution"] == "none"  # RecBole's loader draws none beside


@pytest.mark.parametrize("kind", [PluginConfig, Config])
def test_the_plugins_settings_win_over_recboles_arguments(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    arguments = {"distribution": "popularity", "sample_num": 2, "alpha": 0.5}
    own = {"negative_sampling": "in_batch", "negative_num": 9}
    config = config_of(kind, monkeypatch, {**made, **own, "loss_type": "BPR", "train_neg_sample_args": arguments})
    assert {key: config[key] for key in own} == own
    assert config["popularity_exponent"] == 0.5


@pytest.mark.parametrize("kind", [PluginConfig, Config])
def test_recboles_arguments_are_refused_with_cross_entropy(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    arguments = {"distribution": "uniform", "sample_num": 1}
    with pytest.raises(UsageError, match=r"^train_neg_sample_args: .*CE takes no negatives"):
        config_of(kind, monkeypatch, {**made, "train_neg_sample_args": arguments}, "CLIA")


@pytest.mark.parametrize("kind", [PluginConfig, Config])
def test_recboles_arguments_are_clsrs_negatives_too(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    arguments = {"distribution": "popularity", "sample_num": 3, "alpha": 0.5}
    config = config_of(kind, monkeypatch, {**made, "train_neg_sample_args": arguments}, "CLSR")
    got = [config[key] for key in ("negative_sampling", "negative_num", "popularity_exponent", "negative_pool")]
    assert got == ["popularity", 3, 0.5, 20]


@pytest.mark.parametrize("kind", [PluginConfig, Config])
@pytest.mark.parametrize("model", ["CLIA", "CLSR"])
def test_no_distribution_is_no_argument(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: Any, model: str
) -> None:
    plain = config_of(kind, monkeypatch, made, model)
    none = config_of(kind, monkeypatch, {**made, "train_neg_sample_args": {"distribution": "none"}}, model)
    for key in ("negative_sampling", "negative_num", "negative_pool", "train_neg_sample_args"):
        assert none[key] == plain[key]


@pytest.mark.parametrize("kind", [PluginConfig, Config])
def test_recboles_arguments_reach_the_sampler(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    arguments = {"distribution": "popularity", "sample_num": 2, "alpha": 0.5}
    prepared = prepare({**made, "loss_type": "BPR", "train_neg_sample_args": arguments})
    sampler = prepared.model.negatives
    assert sampler.strategy == "popularity"
    assert sampler.popular.weight.max() < 4  # roots of the counts
    assert prepared.model.negative_num.at(0) == 2


# ----- further positives, and weights


FURTHER = ("augmentation", "continuity", "same_target")


def info_nce_by_loops(one: Tensor, other: Tensor, group: list[int], temperature: float) -> float:
    a, b = (v.detach().numpy() / np.linalg.norm(v.detach().numpy(), axis=1, keepdims=True) for v in (one, other))
    total = 0.0
    for anchor, opposite in ((a, b), (b, a)):
        for i in range(len(anchor)):
            against = [j for j in range(len(anchor)) if j == i or group[j] != group[i]]
            logits = [float(anchor[i] @ opposite[j]) / temperature for j in against]
            total += math.log(sum(map(math.exp, logits))) - float(anchor[i] @ opposite[i]) / temperature
    return total / (2 * len(a))


@pytest.mark.parametrize("packed", [True, False])
def test_each_weight_adds_exactly_one_loss(made: dict[str, Any], packed: bool) -> None:
    made.update(packed=packed)

    def losses(**weights: Any) -> list[float]:
        prepared = prepare({**made, **{f"{name}_weight": weight for name, weight in weights.items()}})
        torch.manual_seed(0)
        return [loss.item() for loss in prepared.model.calculate_loss(next(iter(prepared.train)))]

    bare = losses()
    assert len(bare) == 2
    assert losses(**dict.fromkeys(FURTHER, 0)) == losses(**{name: [[0, 0], [5, 0]] for name in FURTHER}) == bare
    for name in FURTHER:
        one, two = losses(**{name: 1.0}), losses(**{name: 2.0})
        assert one[:2] == two[:2] == bare
        assert len(one) == len(two) == 3
        assert one[2] > 0
        assert two[2] == pytest.approx(2 * one[2], rel=1e-6)
    assert len(losses(**dict.fromkeys(FURTHER, 0.5))) == 5
    assert losses(contrastive_loss=0.3)[1] == pytest.approx(3 * bare[1], rel=1e-5)


@pytest.mark.parametrize("name", ["contrastive_loss", *FURTHER])
def test_a_weight_follows_its_schedule(made: dict[str, Any], name: str) -> None:
    prepared = prepare({**made, f"{name}_weight": [[1, 0.0], [5, 2.0]]})
    model, batch = prepared.model, next(iter(prepared.train))

    def losses(epoch: int) -> list[float]:
        model.start_epoch(epoch)
        torch.manual_seed(0)
        return [loss.item() for loss in model.calculate_loss(batch)]

    place = 1 if name == "contrastive_loss" else 2
    start, middle, end, beyond = (losses(epoch) for epoch in (0, 3, 5, 50))
    assert start[place] == 0
    assert middle[place] > 0
    assert end[place] == beyond[place] == pytest.approx(2 * middle[place], rel=1e-6)
    assert len(start) == len(end) == place + 1
    assert start[0] == end[0]


def test_augmentation_tells_two_views_of_a_history_from_those_of_others(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"augmentation": ["mask", "crop"], "crop_ratio": 0.4, "mask_ratio": 0.2, "temperature": 0.3}
    prepared = prepare({**made, **wanted, "augmentation_weight": 0.7, "MAX_ITEM_LIST_LENGTH": 5})
    model, batch = exact(prepared), next(iter(prepared.train))
    users, items, lengths = (batch[c] for c in ("user_id", "item_id_list", "item_length"))
    assert len(users.unique()) < len(users)  # several windows of a user
    shorter = (lengths - 1).clamp(min=1)
    rolled = items.roll(1, 1).where(torch.arange(items.shape[1]) < lengths.unsqueeze(1), torch.zeros_like(items))
    views = [(items, shorter), (rolled, lengths)]
    given: list[Any] = []

    def fixed(*arguments: Any) -> tuple[Tensor, Tensor]:
        given.append(arguments[2:])
        return views[len(given) - 1]

    monkeypatch.setattr(clia, "augmented", fixed)
    got = model.calculate_loss(batch)[2].item()
    assert given == [(["mask", "crop"], {"mask": 0.2, "crop": 0.4})] * 2
    one, other = (user_vectors(model, users, *view) for view in views)
    assert got == pytest.approx(0.7 * info_nce_by_loops(one, other, users.tolist(), 0.3), rel=1e-9)


def test_continuity_joins_the_long_term_interests_of_both_halves(made: dict[str, Any]) -> None:
    prepared = prepare({**made, "continuity_weight": 0.7, "temperature": 0.3, "MAX_ITEM_LIST_LENGTH": 5})
    model, batch = exact(prepared), next(iter(prepared.train))
    lengths = batch["item_length"].tolist()
    assert 1 in lengths  # a history that has no halves
    halved: list[list[Tensor]] = [[], []]
    users = []
    for row, length in enumerate(lengths):
        if length == 1:
            continue
        users.append(int(batch["user_id"][row]))
        history = batch["item_id_list"][row, :length]
        for half, part in zip(halved, (history[: length // 2], history[length // 2 :]), strict=True):
            last = torch.arange(len(part)) == len(part) - 1
            half.append(model(batch["user_id"][row : row + 1], part[None], last[None]).long_interest[0])
    want = info_nce_by_loops(torch.stack(halved[0]), torch.stack(halved[1]), users, 0.3)
    assert model.calculate_loss(batch)[2].item() == pytest.approx(0.7 * want, rel=1e-9)


def test_continuity_of_histories_too_short_to_halve_is_zero_with_a_live_graph(made: dict[str, Any]) -> None:
    prepared = prepare({**made, "continuity_weight": 1.0})
    row = {
        "user_id": torch.tensor([1, 2]),
        "item_id_list": torch.tensor([[3], [4]]),
        "item_length": torch.tensor([1, 1]),
    }
    row |= {"timestamp_list": torch.tensor([[1.0], [2.0]]), "timestamp" + TARGETS_SUFFIX: torch.tensor([[3.0], [4.0]])}
    losses = prepared.model.calculate_loss(Interaction({**row, prepared.model.TARGETS: torch.tensor([[5], [6]])}))
    assert losses[2].item() == 0
    sum(losses).backward()
    assert all(p.grad.isfinite().all() for p in prepared.model.parameters() if p.grad is not None)


def test_same_target_joins_the_users_whose_next_item_is_the_same(made: dict[str, Any]) -> None:
    prepared = prepare({**made, "same_target_weight": 0.7, "temperature": 0.3})
    model, batch = exact(prepared), next(iter(prepared.train))
    where = batch[model.TARGETS] > 0
    target = batch[model.TARGETS][where].tolist()
    vectors = encoded(model, batch).user.detach().numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    losses = []
    for i in range(len(target)):
        others = [a for a in range(len(target)) if a != i]
        mass = math.log(sum(math.exp(vectors[i] @ vectors[a] / 0.3) for a in others))
        own = [mass - vectors[i] @ vectors[p] / 0.3 for p in others if target[p] == target[i]]
        losses += [np.mean(own)] if own else []
    assert len(losses) > 20
    assert model.calculate_loss(batch)[2].item() == pytest.approx(0.7 * np.mean(losses), rel=1e-9)


@pytest.mark.parametrize("cap", [2, 10, 100_000])
def test_so_many_rows_are_compared_at_most(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, cap: int) -> None:
    prepared = prepare({**made, "same_target_weight": 1.0, "contrastive_rows": cap})
    model, batch = exact(prepared), next(iter(prepared.train))
    assert model.contrastive_loss.rows == cap
    where = batch[model.TARGETS] > 0
    whole = encoded(model, batch).user
    targets = batch[model.TARGETS][where]
    compared: list[tuple[Tensor, Tensor]] = []

    def watch(user: Tensor, target: Tensor, temperature: float) -> Tensor:
        compared.append((user, target))
        return user.sum()

    monkeypatch.setattr(clia, "same_class", watch)
    for _ in range(2):
        model.calculate_loss(batch)
    for user, target in compared:
        assert len(user) == len(target) == min(cap, len(whole))
        near = (user.unsqueeze(1) - whole).abs().amax(-1) < 1e-12  # [n, N]
        found = near & (target.unsqueeze(1) == targets)
        assert found.any(1).all()
        assert len(user) < len(whole) or torch.equal(target, targets)
    if cap == 10:
        assert not torch.equal(compared[0][0], compared[1][0])


def test_the_further_losses_teach_what_they_say(made: dict[str, Any]) -> None:
    """A few steps on each by itself bring it down."""
    for name in FURTHER:
        prepared = prepare({**made, f"{name}_weight": 1.0, "dropout_prob": 0.0, "temperature": 0.5})
        model, batch = prepared.model, next(iter(prepared.train))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        values = []
        for _ in range(25):
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)[2]
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        assert np.mean(values[-3:]) < 0.9 * np.mean(values[:3]), name


def test_the_dropout_follows_the_training_targets_of_each_item(made: dict[str, Any], workplace: Path) -> None:
    """Of the four interactions of a user one is a training target: two are held out, and one is first."""
    write_log(workplace / "dataset", [(u, (u + i) % 4, float(i)) for u in range(300) for i in range(4)], "dense")
    sparse = prepare(made)
    assert len(sparse.train._dataset) / (sparse.model.n_items - 1) < 60
    assert sparse.model.dropout.p == 0.5
    for packed in (True, False):
        dense = prepare({**made, "packed": packed}, dataset="dense")
        assert dense.model.dropout.p == dropout_of(300 / 4) == 0.5 * (60 / 75) ** 0.5
    assert prepare({**made, "dropout_prob": 0.4}, dataset="dense").model.dropout.p == 0.4
    assert prepare({**made, "dropout_prob": 0}, dataset="dense").model.dropout.p == 0


@pytest.mark.parametrize("item_norm", [True, False])
def test_elements_of_the_scored_items_are_dropped_in_training_only(made: dict[str, Any], item_norm: bool) -> None:
    model = prepare({**made, "item_norm": item_norm, "item_dropout": 0.25, "embedding_size": 64}).model
    weight = model.item_embedding.weight.detach()
    whole = F.normalize(weight, dim=-1) if item_norm else weight
    model.eval()
    assert torch.equal(model.scored_items().detach(), whole)
    model.train()
    torch.manual_seed(0)
    items = model.scored_items().detach()
    gone = items[1:] == 0
    count = gone.numel()
    assert abs(gone.sum().item() - count / 4) < 5 * (count * 0.25 * 0.75) ** 0.5
    left = torch.where(gone, 0, weight[1:])  # what is left keeps its proportions
    torch.testing.assert_close(items[1:], F.normalize(left, dim=-1) if item_norm else left / 0.75)
    assert not items[0].any()


@pytest.mark.parametrize("loss_type", ["CE", "SSM", "BPR"])
def test_the_embedding_is_dropped_before_its_direction_is_taken_in_every_loss(
    made: dict[str, Any], loss_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare({**made, "loss_type": loss_type, "dropout_prob": 0.0})
    model, batch = prepared.model, next(iter(prepared.train))
    mask = (torch.arange(model.item_embedding.embedding_dim) % 3 > 0).float()

    def loss() -> float:
        torch.manual_seed(0)
        return float(model.calculate_loss(batch)[0].detach())

    whole, direction = loss(), model.direction.forward
    with monkeypatch.context() as patch:
        patch.setattr(model.direction, "forward", lambda embedding: direction(embedding * mask))
        expected = loss()
    monkeypatch.setattr(model.item_dropout, "forward", lambda embedding: embedding * mask)
    assert loss() == expected != whole


def test_interests_stand_on_their_proxies(made: dict[str, Any]) -> None:
    model = prepare({**made, "proxy_residual": True, "contrastive_recent_k": 2, "embedding_size": 16}).model.eval()
    items = torch.tensor([[3, 1, 4, 1], [5, 9, 0, 0]])
    where = torch.tensor([[True, False, False, True], [False, True, False, False]])
    user = torch.tensor([1, 2])
    whole = model(user, items, where)
    scales = [residual.scale.item() for residual in model.residuals]
    assert scales == [4.0, 4.0]  # the square root of 16
    with torch.no_grad():
        for residual in model.residuals:
            residual.scale.zero_()
    learnt = model(user, items, where)
    e = model.item_embedding.weight.detach()
    long_means = [e[3], (e[3] + e[1] + e[4] + e[1]) / 4, (e[5] + e[9]) / 2]
    short_means = [e[3], (e[4] + e[1]) / 2, (e[5] + e[9]) / 2]
    for name, means in (("long_interest", long_means), ("short_interest", short_means)):
        added = (getattr(whole, name) - getattr(learnt, name)).detach()
        torch.testing.assert_close(added, torch.stack([4 * mean / mean.norm() for mean in means]))
    torch.testing.assert_close(learnt.long_interest.norm(dim=-1), torch.full((3,), 0.3 * 4), rtol=1e-3, atol=0)
