"""Laws of CLSR: what its scores and losses equal, what it sees, and that it runs, loads and ranks all items."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, prepare, write_log
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional as F

from recbole_clia import load_model, run
from recbole_clia.errors import UsageError
from recbole_clia.losses import InterestContrastiveLoss
from recbole_clia.losses.discrepancy import discrepancy_loss
from recbole_clia.sampling import Anchors, Draw, NegativeSampler
from recbole_clia.sampling.in_batch import others_of_batch
from recbole_clia.sampling.negatives import STRATEGIES

VARIANTS: list[dict[str, Any]] = [
    {},
    {"category_field": "category"},
    {"target_in_query": False},
    {"interest_evolve": False},
    {"query_start": "zero"},
    {"sequential_model": "gru"},
    {"sequential_model": "lstm"},
    {"manual_alpha": 0.3},
    {"alpha_inputs": "paper"},
    {"last_time_index": "item"},
    {"time_unit_seconds": 86400.0},
]


@pytest.fixture
def settings(made: dict[str, Any], workplace: Path) -> dict[str, Any]:
    """The made data with a category for most items."""
    lines = ["item_id:token\tcategory:token"] + [f"i{item}\tc{item % 4}" for item in range(28)]
    (workplace / "dataset/made/made.item").write_text("\n".join(lines) + "\n")
    return made


def with_categories(settings: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any]:
    loaded = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "category"]}
    return {**settings, **variant, **({"load_col": loaded} if "category_field" in variant else {})}


def away_from_start(prepared: Prepared, seed: int = 0) -> Any:
    """In evaluation mode and float64, with weights and statistics of order one."""
    generator = torch.Generator().manual_seed(seed)
    model = prepared.model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator, dtype=torch.float64))
    return model


def all_rows(dataset: Any) -> Interaction:
    return dataset[np.arange(len(dataset))]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_full_ranking_equals_predicting_every_item(settings: dict[str, Any], variant: dict[str, Any]) -> None:
    prepared = prepare(with_categories(settings, variant), "CLSR")
    model = away_from_start(prepared)
    rows = all_rows(prepared.test._dataset)
    with torch.no_grad():
        each = []
        for item in range(prepared.dataset.item_num):
            rows["item_id"] = torch.full_like(rows["item_id"], item)
            each.append(model.predict(rows))
        want = torch.stack(each, 1)
        assert want.std() > 1e-3
        for budget in (1, 200_000, 2**28):
            model.budget = budget
            torch.testing.assert_close(model.full_sort_predict(rows), want, rtol=0, atol=1e-9)


def written_out(model: Any, rows: Interaction, b: int) -> Tensor:
    """The score of row ``b``'s item, each step by itself, without padding."""
    n = int(rows["item_length"][b])
    items, times, now = rows["item_id_list"][b, :n], rows["timestamp_list"][b, :n], rows["timestamp"][b]
    user, target = rows["user_id"][b], model.embed(rows["item_id"][b])
    x, mask = model.embed(items)[None], torch.ones(1, n, dtype=torch.bool)

    def attend(attention: Any, values: Tensor, query: Tensor) -> Tensor:
        a = attention.projection(values[0])
        q = query.expand(n, -1)
        weight = attention.mlp(torch.cat([a, q, a - q, a * q], -1)).softmax(0)
        return weight @ values[0]

    long = attend(model.long_attention, x, model.user_long(user))
    state = model.query_gru(x, mask, model.user_short(user)[None])[1][0]
    origin = model.first_time[user]
    following = torch.cat([times[1:], now[None]])
    unit = 86.4
    first = ((following - origin) / unit).clamp(min=0.5).log()
    to_now = ((now - times) / unit).clamp(min=0.5).log()
    values = model.short_encoder(x, first.float().double()[None], to_now.float().double()[None], mask)[0]
    short = attend(model.short_attention, values, torch.cat([state, target]))
    last = to_now[-1:].float().double() if n == rows["item_id_list"].shape[1] else torch.zeros(1).double()
    alpha = torch.sigmoid(
        model.alpha_mlp(torch.cat([model.fusion_gru(x, mask)[1][0], target, long, short, last])[None])
    )
    user_vector = alpha * long + (1 - alpha) * short
    return model.score_mlp(torch.cat([user_vector, target])[None])[0]


def test_scores_are_those_of_the_equations(settings: dict[str, Any]) -> None:
    prepared = prepare({**settings, "time_unit": "s"}, "CLSR")
    model = away_from_start(prepared)
    rows = all_rows(prepared.test._dataset)
    with torch.no_grad():
        got = model.predict(rows)
        want = torch.stack([written_out(model, rows, b) for b in range(len(rows))])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9)
    full = rows["item_length"] == rows["item_id_list"].shape[1]
    assert full.any()
    assert not full.all()


def test_times_count_from_the_first_interaction_even_where_it_was_cut_off(settings: dict[str, Any]) -> None:
    prepared = prepare(settings, "CLSR")
    log = prepared.dataset.log
    first = prepared.model.first_time
    for user in range(1, prepared.dataset.user_num):
        times = log.column("timestamp")[log.column("user_id") == user]
        assert first[user] == times.min()
    rows = all_rows(prepared.test._dataset)
    assert (first[rows["user_id"]] < rows["timestamp_list"][:, 0]).any()


def test_padding_changes_nothing_where_alpha_sees_the_last_item(settings: dict[str, Any]) -> None:
    narrow = prepare({**settings, "last_time_index": "item", "MAX_ITEM_LIST_LENGTH": 19}, "CLSR")
    wide = prepare({**settings, "last_time_index": "item", "MAX_ITEM_LIST_LENGTH": 40}, "CLSR")
    model = away_from_start(narrow)
    with torch.no_grad():
        torch.testing.assert_close(
            model.predict(all_rows(narrow.test._dataset)),
            model.predict(all_rows(wide.test._dataset)),
            rtol=0,
            atol=1e-9,
        )


def test_losses_at_the_start(settings: dict[str, Any]) -> None:
    prepared = prepare(settings, "CLSR")
    data, contrast, discrepancy, l2 = prepared.model.calculate_loss(all_rows(prepared.train._dataset))
    assert data.item() == pytest.approx(np.log(5), abs=0.01)
    assert contrast.item() == pytest.approx(16.0, abs=0.01)
    assert -1e-5 < discrepancy.item() < 0
    assert 0 < l2.item() < 1e-2


def test_losses_are_those_of_the_equations(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_clia.sampling import negatives as sampling

    prepared = prepare(with_categories(settings, {"category_field": "category"}), "CLSR")
    model = away_from_start(prepared)
    rows = all_rows(prepared.train._dataset)
    negatives = others_of_batch(rows["item_id"], 4, prepared.dataset.item_num)
    monkeypatch.setattr(sampling, "others_of_batch", lambda *_: negatives)
    with torch.no_grad():
        data, contrast, discrepancy, l2 = model.calculate_loss(rows)
        candidates = torch.cat([rows["item_id"][:, None], negatives], 1)
        scores = []
        for g in range(5):
            one = Interaction(dict(rows.interaction))
            one["item_id"] = candidates[:, g]
            scores.append(model.predict(one))
        assert data.item() == pytest.approx(-torch.stack(scores, 1).log_softmax(1)[:, 0].mean().item(), abs=1e-9)

        _, history, interests = model.forward(rows, candidates)
        tasks = []
        for b in range(len(rows)):
            n = int(rows["item_length"][b])
            if n <= 5:
                continue
            x = model.embed(rows["item_id_list"][b, :n])
            pl, ps, long = x.mean(0), x[-3:].mean(0), history.long_interest[b]
            for g in range(5):
                short = interests.short_interest[b, g]
                d = {
                    k: (i - p) ** 2
                    for k, i, p in (("ll", long, pl), ("ls", long, ps), ("sl", short, pl), ("ss", short, ps))
                }
                gaps = (d["ll"] - d["ls"], d["ss"] - d["sl"], d["ll"] - d["sl"], d["ss"] - d["ls"])
                tasks.append(sum(F.relu(gap + 1).sum() for gap in gaps))
        assert contrast.item() == pytest.approx(0.1 * torch.stack(tasks).mean().item(), abs=1e-9)

        users = rows["user_id"].unique()
        gap = ((model.user_long.weight[users] - model.user_short.weight[users]) ** 2).mean().item()
        assert discrepancy.item() == pytest.approx(-0.01 * min(gap, 1.0), abs=1e-9)

        items = torch.cat([rows["item_id_list"].flatten(), candidates.flatten()]).unique()
        squares = sum(
            (t.weight[ids] ** 2).sum()
            for t, ids in (
                (model.item_embedding, items),
                (model.category_embedding, model.category[items].unique()),
                (model.user_long, users),
                (model.user_short, users),
            )
        )
        layers = sum(
            (p**2).sum() for name, p in model.named_parameters() if "embedding" not in name and "user_" not in name
        )
        assert l2.item() == pytest.approx(1e-6 * (squares + layers).item() / 2, rel=1e-9)


def test_a_batch_of_short_histories_has_no_contrast_and_a_live_graph(settings: dict[str, Any]) -> None:
    prepared = prepare({**settings, "contrastive_length_threshold": 50}, "CLSR")
    losses = prepared.model.calculate_loss(all_rows(prepared.train._dataset))
    assert losses[1].item() == 0
    sum(losses).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in prepared.model.parameters())


def test_the_gradient_of_each_tensor_is_cut(settings: dict[str, Any]) -> None:
    prepared = prepare({**settings, "gradient_norm": 1e-3}, "CLSR")
    sum(prepared.model.calculate_loss(all_rows(prepared.train._dataset))).backward()
    norms = [p.grad.norm().item() for p in prepared.model.parameters() if p.grad is not None]
    assert max(norms) == pytest.approx(1e-3, rel=1e-4)
    free = prepare({**settings, "gradient_norm": None}, "CLSR").model
    sum(free.calculate_loss(all_rows(prepared.train._dataset))).backward()
    assert max(p.grad.norm().item() for p in free.parameters() if p.grad is not None) > 1e-2


def test_the_gradient_of_a_copy_is_cut_too(settings: dict[str, Any]) -> None:
    prepared = prepare({**settings, "gradient_norm": 1e-3}, "CLSR")
    model = copy.deepcopy(copy.deepcopy(prepared.model))
    sum(model.calculate_loss(all_rows(prepared.train._dataset))).backward()
    norms = [p.grad.norm().item() for p in model.parameters() if p.grad is not None]
    assert max(norms) == pytest.approx(1e-3, rel=1e-4)


def test_no_rows_have_no_scores(settings: dict[str, Any]) -> None:
    prepared = prepare(settings, "CLSR")
    none = all_rows(prepared.test._dataset)[torch.tensor([], dtype=torch.long)]
    model = prepared.model.eval()
    assert model.predict(none).shape == (0,)
    assert model.full_sort_predict(none).shape == (0, model.n_items)


def test_the_discrepancy_is_bounded() -> None:
    long = torch.full((3, 2), 5.0, requires_grad=True)
    assert discrepancy_loss(long, torch.zeros(3, 2)).item() == -25
    bounded = discrepancy_loss(long, torch.zeros(3, 2), bound=1.0)
    assert bounded.item() == -1
    bounded.backward()
    assert (long.grad == 0).all()


def test_the_triplet_of_vectors_is_the_papers() -> None:
    long, s, pl, ps = (torch.from_numpy(v) for v in np.random.default_rng(0).normal(size=(4, 6, 5)))
    d = {k: ((i - p) ** 2).sum(-1) for k, i, p in (("ll", long, pl), ("ls", long, ps), ("sl", s, pl), ("ss", s, ps))}
    gaps = (d["ll"] - d["ls"], d["ss"] - d["sl"], d["ll"] - d["sl"], d["ss"] - d["ls"])
    want = sum(F.relu(gap + 1).mean() for gap in gaps)
    torch.testing.assert_close(InterestContrastiveLoss("triplet", form="vector")(long, s, pl, ps), want)
    with pytest.raises(ValueError, match="form must be one of dimension, vector"):
        InterestContrastiveLoss("triplet", form="scalar")


def test_a_category_that_is_not_loaded_is_told(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"no field 'category' of items; load it from the \.item file"):
        prepare({**settings, "category_field": "category"}, "CLSR")


@pytest.mark.parametrize("variant", [{}, {"category_field": "category"}], ids=str)
def test_it_runs_and_loads_without_its_data(settings: dict[str, Any], variant: dict[str, Any]) -> None:
    chosen = with_categories(
        {**settings, "epochs": 2, "train_batch_size": 64, "topk": [5], "valid_metric": "MRR@5"}, variant
    )
    result = run("CLSR", "made", config_dict=chosen)
    assert 0 <= result["test_result"]["mrr@5"] <= 1
    model = load_model(result["model_file"])
    prepared = prepare(chosen, "CLSR")
    prepared.model.load_state_dict(model.state_dict())
    rows = all_rows(prepared.test._dataset)
    with torch.no_grad():
        torch.testing.assert_close(model.full_sort_predict(rows), prepared.model.eval().full_sort_predict(rows))


def test_it_learns_what_follows_what(workplace: Path) -> None:
    rows = [(user, (user + t) % 6, float(t)) for user in range(20) for t in range(6 + user % 3)]
    settings = {"data_path": write_log(workplace / "dataset", rows), "state": "ERROR", "learning_rate": 0.01}
    torch.manual_seed(0)
    prepared = prepare({**settings, "MAX_ITEM_LIST_LENGTH": 8}, "CLSR")
    batch = all_rows(prepared.train._dataset)
    optimizer = torch.optim.Adam(prepared.model.parameters(), lr=0.01)
    data = []
    for _ in range(60):
        losses = prepared.model.calculate_loss(batch)
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        data.append(losses[0].item())
    assert np.mean(data[-5:]) < 0.5 * np.log(5)


# ----- negatives


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("correction", [False, True], ids=["plain", "corrected"])
def test_every_strategy_trains_and_is_the_seeds_alone(
    settings: dict[str, Any], strategy: str, correction: bool
) -> None:
    chosen = {"negative_sampling": strategy, "negative_correction": correction, "negative_pool": 6}
    prepared = prepare({**settings, **chosen, "negative_clusters": 4, "exclude_history": strategy == "uniform"}, "CLSR")
    model, batch = prepared.model, next(iter(prepared.train))
    start = copy.deepcopy(model.state_dict())

    def losses_and_gradients(seed: int) -> tuple[list[float], list[Tensor]]:
        model.load_state_dict(start)
        model.zero_grad()
        torch.manual_seed(seed)
        model.start_epoch(0)
        losses = model.calculate_loss(batch)
        sum(losses).backward()
        return [loss.item() for loss in losses], [p.grad.clone() for p in model.parameters() if p.grad is not None]

    (losses, gradients), (same, same_gradients), (other, _) = (losses_and_gradients(seed) for seed in (1, 1, 2))
    assert model.training
    assert all(map(math.isfinite, losses))
    assert losses[0] > 0
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any((gradient != 0).any() for gradient in gradients)
    assert losses == same
    assert all(torch.equal(one, two) for one, two in zip(gradients, same_gradients, strict=True))
    assert losses[0] != other[0]


def test_the_anchors_are_the_rows(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its target, its user, and the score that the model gives, without a trace of the mode."""
    prepared = prepare(settings, "CLSR")
    model, rows = away_from_start(prepared), all_rows(prepared.train._dataset)
    found: list[Any] = []

    def watch(self: NegativeSampler, anchors: Anchors, number: int) -> Draw:
        items = torch.stack([(anchors.target + step) % (self.item_num - 1) + 1 for step in range(number)], 1)
        found.append((anchors.target, anchors.user, items, anchors.score(items)))
        return Draw(items, None, None)

    monkeypatch.setattr(NegativeSampler, "forward", watch)
    model.calculate_loss(rows)
    ((target, user, items, score),) = found
    assert torch.equal(target, rows["item_id"])
    assert torch.equal(user, rows["user_id"])
    with torch.no_grad():
        for place in range(items.shape[1]):
            one = Interaction({**rows.interaction, "item_id": items[:, place]})
            torch.testing.assert_close(score[:, place], model.predict(one), rtol=0, atol=1e-9)
    assert not model.training


@pytest.mark.parametrize("strategy", ["hard", "online"])
def test_scoring_a_pool_leaves_no_trace_in_the_statistics(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """The step is that of a model that was given the same negatives."""
    prepared = prepare({**settings, "negative_sampling": strategy, "negative_pool": 6}, "CLSR")
    model, batch = prepared.model, next(iter(prepared.train))
    given = copy.deepcopy(model)
    draws: list[Draw] = []
    draw = NegativeSampler.forward

    def keep(self: NegativeSampler, anchors: Anchors, number: int) -> Draw:
        draws.append(draw(self, anchors, number))
        return draws[-1]

    monkeypatch.setattr(NegativeSampler, "forward", keep)
    torch.manual_seed(0)
    losses = model.calculate_loss(batch)
    monkeypatch.setattr(NegativeSampler, "forward", lambda *_: draws[0])
    want = given.calculate_loss(batch)
    assert [loss.item() for loss in losses] == [loss.item() for loss in want]
    moved = 0
    for (name, one), (_, other) in zip(model.named_buffers(), given.named_buffers(), strict=True):
        assert torch.equal(one, other) or one.isnan().any(), name
        moved += name.endswith("running_mean") and bool((one != 0).any())
    assert moved > 2
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("correction", [False, True])
def test_the_data_loss_is_that_of_the_group(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, correction: bool
) -> None:
    """Cross-entropy of the target in its group, whose others are weighed by their log counts if corrected."""
    prepared = prepare({**settings, "negative_correction": correction, "negative_sampling": "popularity"}, "CLSR")
    model, rows = away_from_start(prepared), all_rows(prepared.train._dataset)
    rng = np.random.default_rng(0)
    items = torch.from_numpy(rng.integers(1, prepared.dataset.item_num, (len(rows), 4)))
    log_count = torch.from_numpy(rng.normal(size=items.shape))
    monkeypatch.setattr(NegativeSampler, "forward", lambda *_: Draw(items, None, log_count))
    with torch.no_grad():
        got = model.calculate_loss(rows)[0].item()
        scores = model.forward(rows, torch.cat([rows["item_id"][:, None], items], 1))[0].numpy()
    counts = log_count.numpy() if correction else np.zeros(items.shape)
    losses = [np.log(np.exp(s[0]) + np.exp(s[1:] - c).sum()) - s[0] for s, c in zip(scores, counts, strict=True)]
    assert got == pytest.approx(np.mean(losses), rel=1e-9)
    if not correction:
        whole = F.cross_entropy(torch.from_numpy(scores), torch.zeros(len(rows), dtype=torch.long))
        assert got == pytest.approx(whole.item(), rel=1e-12)


def test_numbers_and_weights_follow_their_schedules(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    schedules = {"negative_num": [[0, 1], [4, 5]], "contrastive_loss_weight": [[0, 0.0], [4, 0.4]]}
    prepared = prepare({**settings, **schedules}, "CLSR")
    model, rows = away_from_start(prepared), all_rows(prepared.train._dataset)
    asked: list[int] = []
    draw = NegativeSampler.forward

    def watch(self: NegativeSampler, anchors: Anchors, number: int) -> Draw:
        asked.append(number)
        return draw(self, anchors, number)

    monkeypatch.setattr(NegativeSampler, "forward", watch)
    contrast = []
    for epoch in (0, 2, 4, 50):
        model.start_epoch(epoch)
        contrast.append(model.calculate_loss(rows)[1].item())
    assert asked == [1, 3, 5, 5]
    assert contrast[0] == 0
    assert 0 < contrast[1] < contrast[2]
    model.start_epoch(2)
    fixed = prepare({**settings, "negative_num": 3, "contrastive_loss_weight": 0.2}, "CLSR")
    same = away_from_start(fixed)
    torch.manual_seed(0)
    got = model.calculate_loss(rows)
    torch.manual_seed(0)
    assert [loss.item() for loss in got] == [loss.item() for loss in same.calculate_loss(rows)]


@pytest.mark.parametrize("variant", [{}, {"category_field": "category"}], ids=str)
def test_clusters_are_those_of_the_whole_embedding(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, variant: dict[str, Any]
) -> None:
    """With the category's part of it, where there is one."""
    model = prepare(with_categories({**settings, "negative_sampling": "cluster"}, variant), "CLSR").model
    given: list[Tensor] = []
    monkeypatch.setattr(NegativeSampler, "refresh", lambda self, embedding: given.append(embedding))
    model.start_epoch(0)
    (embedding,) = given
    assert embedding.shape == (model.n_items, 40)
    if variant:
        want = torch.cat([model.item_embedding.weight, model.category_embedding.weight[model.category]], 1)
        assert torch.equal(embedding, want)
    else:
        assert torch.equal(embedding, model.item_embedding.weight)


@pytest.mark.parametrize("strategy", ["hard", "cluster"])
def test_it_runs_and_loads_without_its_data_whatever_the_negatives(settings: dict[str, Any], strategy: str) -> None:
    chosen = {"negative_sampling": strategy, "negative_pool": 5, "negative_clusters": 3, "exclude_history": True}
    result = run("CLSR", "made", config_dict={**settings, **chosen, "epochs": 1, "train_batch_size": 64})
    Path(settings["data_path"], "made", "made.inter").unlink()
    model: Any = load_model(result["model_file"])
    assert model.negatives is None
    assert model.n_items > 2


def test_the_weights_follow_their_schedules(settings: dict[str, Any]) -> None:
    schedules = {"contrastive_loss_weight": [[0, 0.0], [4, 0.4]], "discrepancy_loss_weight": [[1, 0.02], [3, 0.0]]}
    prepared = prepare({**settings, **schedules}, "CLSR")
    model, rows = away_from_start(prepared), all_rows(prepared.train._dataset)
    plain = prepare({**settings, "contrastive_loss_weight": 1.0, "discrepancy_loss_weight": 1.0}, "CLSR")
    reference = away_from_start(plain)
    for epoch, weights in ((0, (0.0, 0.02)), (1, (0.1, 0.02)), (2, (0.2, 0.01)), (9, (0.4, 0.0))):
        model.start_epoch(epoch)
        torch.manual_seed(5)
        got = model.calculate_loss(rows)[1:3]
        torch.manual_seed(5)
        want = reference.calculate_loss(rows)[1:3]
        for one, other, weight in zip(got, want, weights, strict=True):
            assert one.item() == pytest.approx(weight * other.item(), abs=1e-12)


def test_gradients_are_not_cut_while_they_are_scaled(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="gradient_norm: enable_scaler scales the gradients before they are cut"):
        prepare({**settings, "enable_scaler": True, "gradient_norm": 2.0}, "CLSR")
    prepare({**settings, "enable_scaler": True, "gradient_norm": None}, "CLSR")


def test_histories_of_one_item_are_trained_though_the_last_batch_is_one_row(settings: dict[str, Any]) -> None:
    settings = {**settings, "MAX_ITEM_LIST_LENGTH": 1}
    rows = len(prepare(settings, "CLSR").train._dataset)
    result = run("CLSR", "made", config_dict={**settings, "train_batch_size": rows - 1, "epochs": 1})
    assert result["epochs"] == 1


def test_infonce_does_not_set_a_history_against_itself(settings: dict[str, Any]) -> None:
    """Its candidates share the long-term interest and both proxies."""
    prepared = prepare({**settings, "contrastive_loss": "infonce", "contrastive_length_threshold": 0}, "CLSR")
    model = away_from_start(prepared)
    rows = all_rows(prepared.train._dataset)[:1]
    once, often = (model._contrast(*model.forward(rows, torch.tensor([[1] * number]))[1:]) for number in (1, 5))
    assert once > 0
    torch.testing.assert_close(often, once)
