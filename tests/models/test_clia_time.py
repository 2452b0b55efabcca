"""Laws of what CLIA makes of time, repetition and trend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Prepared, exact, prepare, random_rows, write_log
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_clia.data.dataset import TARGETS_SUFFIX
from recbole_clia.losses import all_logits
from recbole_clia.sampling import Anchors, Draw, NegativeSampler

FUSIONS = ["mixture", "vector"]
TIMED = ("time_gaps", "repeats", "trend")
OFF = dict.fromkeys((*TIMED, "neighbours"), False)


def rows_of(prepared: Prepared) -> Interaction:
    rows = prepared.train._dataset
    return rows[np.arange(len(rows))]


def with_columns(rows: Interaction, **columns: Tensor) -> Interaction:
    return Interaction({**rows.interaction, **columns})


def without(rows: Interaction, *names: str) -> Interaction:
    return Interaction({name: values for name, values in rows.interaction.items() if name not in names})


def beside(found: Any, item_num: int) -> Tensor:
    """What all items have beside the inner product, ``[N, I]``."""
    every = torch.arange(item_num).expand(len(found.user), -1)
    return found.offsets.of(every) + found.background.of(every)


@pytest.fixture
def plain(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "packed": False}


# ----- which of the times count


def other_times(rows: Interaction, seed: int = 3) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    times = torch.from_numpy(np.sort(rng.integers(0, 10**6, rows["timestamp_list"].shape), axis=1).astype(np.float64))
    return {"timestamp_list": times, "timestamp": times[:, -1] + 5}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_with_all_of_them_off_no_time_counts_and_no_parameter_is_left(plain: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**plain, **OFF, "fusion": fusion})
    names = {name.split(".")[0] for name, _ in prepared.model.named_parameters()}
    assert not names & {"gap", "since", "repeats", "trend", "neighbours"}
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    found = model._at_the_rows(rows)
    assert found.offsets is found.background is None
    scores, loss = model.full_sort_predict(rows), model.calculate_loss(rows)
    other = with_columns(rows, **other_times(rows))
    assert torch.equal(model.full_sort_predict(other), scores)
    assert all(torch.equal(a, b) for a, b in zip(model.calculate_loss(other), loss, strict=True))
    assert torch.equal(model.full_sort_predict(without(rows, "timestamp", "timestamp_list")), scores)


@pytest.mark.parametrize("part", TIMED)
def test_each_part_by_itself_looks_at_the_times(plain: dict[str, Any], part: str) -> None:
    prepared = prepare({**plain, **OFF, part: True})
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    scores = model.full_sort_predict(rows)
    changed = model.full_sort_predict(with_columns(rows, **other_times(rows)))
    assert (changed - scores)[:, 1:].abs().max() > 1e-3


def test_time_gaps_reach_the_short_term_interest_alone(plain: dict[str, Any]) -> None:
    prepared = prepare(plain)
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    before, after = (model._at_the_rows(r) for r in (rows, with_columns(rows, **other_times(rows))))
    assert torch.equal(before.long_interest, after.long_interest)
    assert (before.short_interest - after.short_interest).abs().max() > 1e-3
    assert torch.equal(before.long_proxy, after.long_proxy)
    assert torch.equal(before.short_proxy, after.short_proxy)


@pytest.mark.parametrize("constant", [1.0, 86_400.0, 2.0**30])
def test_without_trend_only_differences_of_times_count(plain: dict[str, Any], constant: float) -> None:
    scores = {}
    for trend in (False, True):
        prepared = prepare({**plain, "trend": trend})
        model, rows = exact(prepared, 0.3), rows_of(prepared)
        moved = {name: rows[name].double() + constant for name in ("timestamp", "timestamp_list")}
        scores[trend] = [model.full_sort_predict(r) for r in (rows, with_columns(rows, **moved))]
    assert torch.equal(*scores[False])
    assert constant < 1000 or not torch.equal(*scores[True])


def test_the_times_of_the_padding_do_not_count(plain: dict[str, Any]) -> None:
    prepared = prepare(plain)
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    padding = rows["item_id_list"] == 0
    assert padding.any()
    spoilt = with_columns(rows, timestamp_list=rows["timestamp_list"].masked_fill(padding, 1e9))
    assert torch.equal(model.full_sort_predict(spoilt), model.full_sort_predict(rows))


@pytest.mark.parametrize("with_now", [False, True])
def test_what_comes_later_changes_nothing_before_it(plain: dict[str, Any], with_now: bool) -> None:
    """Neither later items nor their times, at any place of the history."""
    prepared = prepare(plain)
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    rows = rows[rows["item_length"] >= 5]
    items, times = rows["item_id_list"], rows["timestamp_list"].double()
    width, number = items.shape[1], prepared.dataset.item_num
    everywhere = torch.ones_like(items, dtype=torch.bool)
    now = (times + 40).flatten() if with_now else None

    def look(items: Tensor, times: Tensor) -> list[Tensor]:
        found = model(rows["user_id"], items, everywhere, times, now)
        return [v.view(-1, width, v.shape[1]) for v in (*found[:6], beside(found, number))]

    before = look(items, times)
    generator = torch.Generator().manual_seed(0)
    for cut in (1, 3, 4):
        items_after, times_after = items.clone(), times.clone()
        items_after[:, cut:] = torch.randint(1, number, items[:, cut:].shape, generator=generator)
        times_after[:, cut:] += torch.randint(1, 9999, (len(items), 1), generator=generator)
        for changed in ((items_after, times), (items, times_after), (items_after, times_after)):
            after = look(*changed)
            for one, other in zip(before, after, strict=True):
                torch.testing.assert_close(one[:, :cut], other[:, :cut], rtol=0, atol=1e-12)
            assert any(not torch.equal(one[:, cut:], other[:, cut:]) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1000), ("us", 10**6)])
def test_the_unit_of_the_times_changes_no_score(workplace: Any, made: dict[str, Any], unit: str, factor: int) -> None:
    scores = []
    for name, times in (("s", 1), (unit, factor)):
        log = [(user, item, (1_600_000_000 + time % 64) * times) for user, item, time in random_rows(7)]
        log = [(user, item, time + n % 8 * times) for n, (user, item, time) in enumerate(log)]
        made["data_path"] = write_log(workplace / name, log)
        prepared = prepare({**made, "packed": False, "time_unit": name, "duplicate_rows": "keep"})
        scores.append(exact(prepared, 0.3).full_sort_predict(rows_of(prepared)))
    torch.testing.assert_close(*scores, rtol=0, atol=1e-9)


# ----- packed batches and rows


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("parts", [{}, *({part: False} for part in OFF), OFF], ids=str)
def test_packed_loss_equals_one_row_per_prefix(made: dict[str, Any], fusion: str, parts: dict[str, Any]) -> None:
    made.update(MAX_ITEM_LIST_LENGTH=20, train_batch_size=100_000, fusion=fusion, **parts)
    packed = prepare(made)
    model, (batch,) = exact(packed, 0.3), list(packed.train)
    rows = rows_of(prepare({**made, "packed": False}))
    got = model.calculate_loss(batch)
    for one, other in zip(got, model.calculate_loss(rows), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    later = {name: batch[name] * 3 for name in ("timestamp_list", "timestamp" + TARGETS_SUFFIX)}
    changed = model.calculate_loss(with_columns(batch, **later))[0]
    assert (abs(changed - got[0]).item() > 1e-6) == (parts != OFF)


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_in_training_packed_windows_and_rows_know_the_same_neighbours(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, loss_type: str
) -> None:
    made.update(MAX_ITEM_LIST_LENGTH=20, train_batch_size=100_000, dropout_prob=0.0, loss_type=loss_type)
    packed, unpacked = prepare(made), prepare({**made, "packed": False})
    all_as_negatives(monkeypatch, packed.dataset.item_num, shared=True, counted=False)
    losses = []
    for training in (True, False):
        model = exact(packed).train(training)
        (batch,) = packed.train
        losses.append([model.calculate_loss(some)[0].item() for some in (batch, rows_of(unpacked))])
        assert losses[-1][0] == pytest.approx(losses[-1][1], abs=1e-9)
    assert abs(losses[0][0] - losses[1][0]) > 1e-3  # a user's own history counts in ranking only


def test_the_loss_is_that_of_the_scores_at_the_time_of_the_target(plain: dict[str, Any]) -> None:
    for fusion in FUSIONS:
        prepared = prepare({**plain, "fusion": fusion})
        model, rows = exact(prepared, 0.3), rows_of(prepared)
        rows = with_columns(rows, timestamp=rows["timestamp"] + 1234)
        scores = model.full_sort_predict(rows)
        want = -scores.log_softmax(1)[torch.arange(len(rows)), rows["item_id"]].mean()
        torch.testing.assert_close(model.calculate_loss(rows)[0], want, rtol=0, atol=1e-11)


# ----- scores


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_history_at_several_times_is_several_requests(plain: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**plain, "fusion": fusion})
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    rows = rows[torch.arange(20).repeat(3)]
    rows = with_columns(rows, timestamp=rows["timestamp"] + torch.arange(3).repeat_interleave(20) * 2000)
    full = model.full_sort_predict(rows)
    assert (full[:20] - full[40:])[:, 1:].abs().max() > 1e-3
    item = torch.randint(1, prepared.dataset.item_num, (60,), generator=torch.Generator().manual_seed(0))
    got = model.predict(with_columns(rows, item_id=item))
    torch.testing.assert_close(got, full[torch.arange(60), item], rtol=0, atol=1e-12)


def test_scores_are_the_inner_products_and_what_stands_beside_them(plain: dict[str, Any]) -> None:
    prepared = prepare({**plain, "fusion": "vector"})
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    found = model._at_the_rows(rows)
    want = found.user @ model.scored_items().T + beside(found, prepared.dataset.item_num)
    torch.testing.assert_close(model.full_sort_predict(rows)[:, 1:], want[:, 1:], rtol=1e-12, atol=1e-12)
    assert found.offsets.value.abs().max() > 0.1
    assert found.background.of_all().abs().max() > 0.1


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_item_of_the_history_far_below_is_never_recommended(plain: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**plain, "fusion": fusion})
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    with torch.no_grad():
        model.repeats.of_state.bias.fill_(-1e6)
    scores = model.full_sort_predict(rows)
    assert not scores.isnan().any()
    for row, history in zip(scores, rows["item_id_list"].tolist(), strict=True):
        had = sorted(set(history) - {0})
        new = [i for i in range(1, prepared.dataset.item_num) if i not in had]
        assert row[had].max() < row[new].min() - 1e5
        assert row[0] == -torch.inf


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_fresh_model_has_no_opinion_on_repetition(plain: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**plain, "fusion": fusion, "neighbours": False})
    assert (prepared.model.eval()._at_the_rows(rows_of(prepared)).offsets.value == 0).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_without_times_is_all_at_once(plain: dict[str, Any], fusion: str) -> None:
    prepared = prepare({**plain, "fusion": fusion})
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    bare = without(rows, "timestamp", "timestamp_list")
    scores = model.full_sort_predict(bare)
    assert scores[:, 1:].isfinite().all()
    never = {name: torch.zeros_like(rows[name]) for name in ("timestamp", "timestamp_list")}
    assert torch.equal(scores, model.full_sort_predict(with_columns(rows, **never)))
    torch.testing.assert_close(
        model.predict(bare), scores[torch.arange(len(rows)), rows["item_id"]], rtol=0, atol=1e-12
    )
    first = model.full_sort_predict(bare[torch.arange(1)])
    torch.testing.assert_close(first, scores[:1], rtol=0, atol=1e-12)


def test_a_row_without_a_time_of_its_own_follows_its_last_interaction_at_once(plain: dict[str, Any]) -> None:
    prepared = prepare(plain)
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    last = rows["timestamp_list"].gather(1, rows["item_length"].unsqueeze(1) - 1).squeeze(1)
    want = model.full_sort_predict(with_columns(rows, timestamp=last))
    assert torch.equal(model.full_sort_predict(without(rows, "timestamp")), want)


def test_the_trend_is_that_of_the_training_interactions(plain: dict[str, Any]) -> None:
    prepared = prepare({**plain, "trend_periods": 5})
    model, rows = exact(prepared, 0.3), rows_of(prepared)
    _, times, items = prepared.train._dataset.events()
    assert model.trend.ends.tolist() == np.quantile(times, [0.2, 0.4, 0.6, 0.8, 1.0], method="lower").tolist()
    found = model._at_the_rows(rows).background
    ends = model.trend.ends.tolist()
    for time, group in zip(rows["timestamp"].tolist(), found.group.tolist(), strict=True):
        assert group == sum(end < time for end in ends)
        never = [i for i in range(1, prepared.dataset.item_num) if i not in set(items[times < time].tolist())]
        if never:  # what has not been had yet is last of all
            assert (found.features[:, group, 1:].amin(1, keepdim=True) == found.features[:, group, never]).all()


# ----- sampled losses


def all_as_negatives(monkeypatch: pytest.MonkeyPatch, item_num: int, shared: bool, counted: bool) -> None:
    """Each item but the target is a negative, once."""

    def draw(self: NegativeSampler, anchors: Anchors, wanted: int) -> Draw:
        every = torch.arange(1, item_num)
        items = every.unsqueeze(0) if shared else every.flip(0).expand(len(anchors.target), -1)
        log_count = torch.zeros((1, item_num - 1), dtype=torch.float64) if counted else None
        return Draw(items, items != anchors.target.unsqueeze(1), log_count)

    monkeypatch.setattr(NegativeSampler, "forward", draw)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_the_sampled_softmax_with_all_items_is_cross_entropy(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fusion: str, shared: bool, packed: bool
) -> None:
    made.update(fusion=fusion, packed=packed)
    whole, sampled = prepare(made), prepare({**made, "loss_type": "SSM", "negative_correction": True})
    batch = next(iter(whole.train))
    all_as_negatives(monkeypatch, whole.dataset.item_num, shared, counted=True)
    want, got = exact(whole, 0.3), exact(sampled, 0.3)
    losses = [model.calculate_loss(batch)[0] for model in (want, got)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-10)
    for model, loss in zip((want, got), losses, strict=True):
        loss.backward()
        assert model.repeats.of_state.weight.grad.abs().max() > 0
    gradients = [{n: p.grad for n, p in model.named_parameters() if p.grad is not None} for model in (want, got)]
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():  # softplus is coarser than float64
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=1e-8)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_pairwise_ranking_is_of_the_same_scores(
    plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fusion: str
) -> None:
    prepared = prepare({**plain, "fusion": fusion, "loss_type": "BPR"})
    model, rows, number = exact(prepared), rows_of(prepared), prepared.dataset.item_num
    all_as_negatives(monkeypatch, number, shared=True, counted=False)
    found = model._at_the_rows(rows)
    queries, log_weight = model._queries(found)
    logits = all_logits(queries, model.scored_items(), found.offsets, found.background).detach().numpy()
    weight, losses = log_weight.exp().detach().numpy(), []
    for n, target in enumerate(rows["item_id"].tolist()):
        for other in set(range(1, number)) - {target}:
            gaps = logits[:, n, target] - logits[:, n, other]
            losses.append(-np.log(float(weight[n] @ (1 / (1 + np.exp(-gaps))))))
    assert model.calculate_loss(rows)[0].item() == pytest.approx(np.mean(losses), rel=1e-10)


# ----- numbers of the logits, and other places where histories come up


@pytest.mark.parametrize("fusion", FUSIONS)
def test_coarse_logits_train_nearly_the_same(made: dict[str, Any], fusion: str) -> None:
    losses, gradients = {}, {}
    for name in ("float32", "bfloat16"):
        prepared = prepare({**made, "fusion": fusion, "softmax_dtype": name})
        model = exact(prepared).float()
        loss = model.calculate_loss(next(iter(prepared.train)))[0]
        loss.backward()
        losses[name] = loss.item()
        gradients[name] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert torch.cosine_similarity(gradients["float32"], gradients["bfloat16"], dim=0) > 0.99


def test_rows_of_one_item_each_train_with_every_further_loss(plain: dict[str, Any]) -> None:
    """No history has halves; the padding is as wide as ever."""
    further = {f"{name}_weight": 1.0 for name in ("augmentation", "continuity", "same_target")}
    prepared = prepare({**plain, **further})
    rows = rows_of(prepared)
    losses = prepared.model.calculate_loss(rows[rows["item_length"] == 1])
    assert len(losses) == 5
    assert losses[3].item() == 0
    assert all(loss.isfinite() for loss in losses)
    sum(losses).backward()


def test_no_row_at_all_has_no_score(plain: dict[str, Any]) -> None:
    prepared = prepare(plain)
    model, rows = exact(prepared), rows_of(prepared)
    none = rows[torch.zeros(0, dtype=torch.long)]
    assert model.full_sort_predict(none).shape == (0, prepared.dataset.item_num)
