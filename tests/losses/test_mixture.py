"""Laws of the mixture of softmaxes, with and without what is added, and of the mixture of pairwise rankings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.losses import Background, BPRLoss, Offsets, linear_cross_entropy, mixture_cross_entropy

PARTS, ROWS, ITEMS, DIM = 3, 7, 11, 4


def made(parts: int = PARTS, rows: int = ROWS, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn((parts, rows, DIM), generator=generator, dtype=torch.float64)
    items = torch.randn((ITEMS, DIM), generator=generator, dtype=torch.float64)
    log_weight = torch.randn((rows, parts), generator=generator, dtype=torch.float64).log_softmax(1)
    target = torch.randint(1, ITEMS, (rows,), generator=generator)
    return queries, log_weight, items, target


def reference(queries: Tensor, log_weight: Tensor, items: Tensor, target: Tensor) -> float:
    """Plain loops: the padding has no probability."""
    losses = []
    for n in range(queries.shape[1]):
        probability = 0.0
        for k in range(len(queries)):
            scores = [float(np.dot(queries[k, n].numpy(), items[i].numpy())) for i in range(1, len(items))]
            share = np.exp(scores[int(target[n]) - 1]) / np.sum(np.exp(scores))
            probability += np.exp(float(log_weight[n, k])) * share
        losses.append(-np.log(probability))
    return float(np.mean(losses))


def autograd(queries: Tensor, log_weight: Tensor, items: Tensor, target: Tensor) -> Tensor:
    logits = queries @ items[1:].T  # [K, N, I - 1]
    of_target = logits.log_softmax(-1)[:, torch.arange(len(target)), target - 1]  # [K, N]
    return -(of_target.T + log_weight).logsumexp(1).mean()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_equals_plain_loops(parts: int) -> None:
    case = made(parts)
    assert mixture_cross_entropy(*case).item() == pytest.approx(reference(*case), abs=1e-12)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 100])
def test_gradients_are_those_of_autograd_in_slabs_of_any_size(parts: int, rows_at_once: int) -> None:
    gradients = []
    for loss in (autograd, mixture_cross_entropy):
        queries, log_weight, items, target = made(parts)
        leaves = [t.requires_grad_() for t in (queries, log_weight, items)]
        budget = (rows_at_once * parts * ITEMS * 8,) if loss is mixture_cross_entropy else ()
        value = loss(queries, log_weight, items, target, *budget)
        gradients.append([value.detach(), *torch.autograd.grad(3 * value, leaves)])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_equal_parts_are_one() -> None:
    queries, _, items, target = made(1)
    several = mixture_cross_entropy(queries.expand(3, -1, -1), made(3)[1], items, target)
    assert several.item() == pytest.approx(linear_cross_entropy(queries[0], items, target).item(), abs=1e-12)


def test_a_part_without_weight_counts_for_nothing_and_has_no_gradient() -> None:
    queries, _, items, target = made(2)
    queries.requires_grad_()
    log_weight = torch.tensor([[0.0, -torch.inf]], dtype=torch.float64).expand(ROWS, 2)
    loss = mixture_cross_entropy(queries, log_weight, items, target)
    assert loss.item() == pytest.approx(linear_cross_entropy(queries[0], items, target).item(), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, queries)
    assert (gradient[1] == 0).all()
    assert gradient[0].abs().max() > 0


def test_a_part_that_gives_the_target_no_probability_does_no_harm() -> None:
    queries, _, items, target = made(2)
    items[1:, 0], items[target, 0] = 1.0, 0.0
    queries[1] = torch.tensor([2000.0, 0, 0, 0], dtype=torch.float64)  # e^-2000 is 0
    log_weight = torch.full((ROWS, 2), np.log(0.5), dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (queries, log_weight, items)]
    loss = mixture_cross_entropy(queries, log_weight, items, target)
    assert loss.item() == pytest.approx(linear_cross_entropy(queries[0], items, target).item() + np.log(2), abs=1e-9)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, leaves))


def test_no_row_is_exactly_nothing_with_a_graph() -> None:
    queries, log_weight, items, target = made(2, rows=0)
    queries.requires_grad_()
    loss = mixture_cross_entropy(queries, log_weight, items, target)
    assert loss.item() == 0
    loss.backward()


def test_mixed_pairwise_ranking_equals_plain_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    positive = torch.randn((2, 5, 1), generator=generator, dtype=torch.float64)
    negative = torch.randn((2, 5, 4), generator=generator, dtype=torch.float64)
    log_weight = torch.randn((5, 2), generator=generator, dtype=torch.float64).log_softmax(1)
    usable = torch.rand((5, 4), generator=generator) < 0.6
    losses = np.zeros((5, 4))
    for n in range(5):
        for j in range(4):
            chances = [
                np.exp(float(log_weight[n, k])) / (1 + np.exp(-float(positive[k, n, 0] - negative[k, n, j])))
                for k in range(2)
            ]
            losses[n, j] = -np.log(sum(chances))
    assert BPRLoss.of_mixture(positive, negative, log_weight).item() == pytest.approx(losses.mean(), abs=1e-12)
    want = losses[usable.numpy()].mean()
    assert BPRLoss.of_mixture(positive, negative, log_weight, usable).item() == pytest.approx(want, abs=1e-12)
    alone = BPRLoss.of_mixture(positive[:1], negative[:1], torch.zeros((5, 1), dtype=torch.float64))
    assert alone.item() == pytest.approx(BPRLoss.of_scores(positive[0], negative[0]).item(), abs=1e-12)


# ----- what is added to the logits


MOST, FEATURES, MOMENTS = 4, 2, 3
ADDED = ["offsets", "background", "both"]


def made_added(kind: str, target: Tensor, seed: int = 5) -> tuple[Offsets | None, Background | None]:
    """Offsets of some items of each row, the target among them in every other row, and some of nothing."""
    rng = np.random.default_rng(seed)
    rows = len(target)
    item = np.stack([rng.choice(np.arange(1, ITEMS), MOST, replace=False) for _ in range(rows)])
    for n, own in enumerate(target.tolist()):
        others = [i for i in item[n] if i != own]
        item[n] = [own, *others][:MOST] if n % 2 == 0 else [*others, 0][:MOST]
    item[:, 1] = np.where(rng.random(rows) < 0.5, 0, item[:, 1])
    item[:, 2] = np.where(rng.random(rows) < 0.5, item[:, 0], item[:, 2])  # some twice
    offsets = Offsets(torch.from_numpy(item), torch.from_numpy(2 * rng.normal(size=item.shape)))
    features = torch.from_numpy(rng.normal(size=(FEATURES, MOMENTS, ITEMS)))
    group = torch.from_numpy(rng.integers(0, MOMENTS, rows))
    background = Background(features, group, torch.from_numpy(rng.normal(size=(rows, FEATURES))))
    return (None if kind == "background" else offsets), (None if kind == "offsets" else background)


def dense(offsets: Offsets | None, background: Background | None, rows: int) -> Tensor:
    """All that is added, ``[N, I]``, by plain operations."""
    total = torch.zeros((rows, ITEMS), dtype=torch.float64)
    if offsets is not None:
        total = total + (torch.nn.functional.one_hot(offsets.item, ITEMS) * offsets.value.unsqueeze(2)).sum(1)
    if background is not None:
        total = total + torch.einsum("fni,nf->ni", background.features[:, background.group], background.weight)
    return total


def autograd_with(
    queries: Tensor,
    log_weight: Tensor,
    items: Tensor,
    target: Tensor,
    offsets: Offsets | None,
    background: Background | None,
) -> Tensor:
    logits = (queries @ items.T + dense(offsets, background, len(target)))[..., 1:]
    of_target = logits.log_softmax(-1)[:, torch.arange(len(target)), target - 1]  # [K, N]
    return -(of_target.T + log_weight).logsumexp(1).mean()


def leaves_of(case: tuple[Tensor, ...], offsets: Offsets | None, background: Background | None) -> list[Tensor]:
    leaves = [*case[:3]]
    leaves += [offsets.value] if offsets is not None else []
    leaves += [background.weight] if background is not None else []
    return [leaf.requires_grad_() for leaf in leaves]


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 100])
@pytest.mark.parametrize("kind", ADDED)
def test_with_what_is_added_value_and_gradients_are_those_of_autograd(parts: int, rows_at_once: int, kind: str) -> None:
    case = made(parts)
    added = made_added(kind, case[3])
    leaves = leaves_of(case, *added)
    want = autograd_with(*case, *added)
    got = mixture_cross_entropy(*case, rows_at_once * parts * ITEMS * 8, *added)
    assert got.item() == pytest.approx(want.item(), abs=1e-12)
    gradients = [torch.autograd.grad(3 * loss, leaves) for loss in (got, want)]
    assert all(gradient.abs().max() > 0 for gradient in gradients[1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ADDED)
def test_what_is_added_changes_the_loss_and_zeros_do_not(kind: str) -> None:
    case = made(2)
    offsets, background = made_added(kind, case[3])
    bare = mixture_cross_entropy(*case).item()
    assert abs(mixture_cross_entropy(*case, None, offsets, background).item() - bare) > 0.01
    if offsets is not None:
        offsets = offsets._replace(value=torch.zeros_like(offsets.value))
    if background is not None:
        background = background._replace(weight=torch.zeros_like(background.weight))
    assert mixture_cross_entropy(*case, None, offsets, background).item() == pytest.approx(bare, abs=1e-13)


def test_without_additions_it_is_the_same_to_the_last_digit() -> None:
    case = made(2)
    leaves = leaves_of(case, None, None)
    losses = [mixture_cross_entropy(*case), mixture_cross_entropy(*case, None, None, None, torch.float64)]
    one, other = (torch.autograd.grad(loss, leaves) for loss in losses)
    assert torch.equal(*losses)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_is_added_to_all_items_alike_changes_nothing() -> None:
    case = made(2)
    _, background = made_added("background", case[3])
    assert background is not None
    level = background._replace(features=torch.full_like(background.features, 3.0))
    got = mixture_cross_entropy(*case, None, None, level)
    assert got.item() == pytest.approx(mixture_cross_entropy(*case).item(), abs=1e-12)


def test_an_item_far_below_all_others_is_as_if_it_were_not_there() -> None:
    queries, log_weight, items, target = made(2)
    target = target.clamp(min=2)
    offsets = Offsets(torch.ones((ROWS, 1), dtype=torch.long), torch.full((ROWS, 1), -1e9, dtype=torch.float64))
    got = mixture_cross_entropy(queries, log_weight, items, target, None, offsets)
    without = mixture_cross_entropy(queries, log_weight, items[1:], target - 1)  # the item takes the padding's place
    assert got.item() == pytest.approx(without.item(), abs=1e-12)


def test_an_offset_of_nothing_has_no_effect_and_no_gradient() -> None:
    case = made(3)
    offsets, _ = made_added("offsets", case[3])
    assert offsets is not None
    nothing = offsets.item == 0
    assert nothing.any()
    spoilt = Offsets(offsets.item, offsets.value.masked_fill(nothing, 1e6).requires_grad_())
    loss = mixture_cross_entropy(*case, None, spoilt)
    assert loss.item() == pytest.approx(mixture_cross_entropy(*case, None, offsets).item(), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, spoilt.value)
    assert (gradient[nothing] == 0).all()
    assert (gradient[~nothing] != 0).all()


def test_no_row_is_nothing_with_additions_too() -> None:
    queries, log_weight, items, target = made(2, rows=0)
    none = torch.zeros((0, 2), dtype=torch.float64, requires_grad=True)
    offsets = Offsets(torch.zeros((0, 2), dtype=torch.long), none)
    background = Background(torch.ones((2, 3, ITEMS), dtype=torch.float64), target, none)
    queries.requires_grad_()
    loss = mixture_cross_entropy(queries, log_weight, items, target, None, offsets, background)
    assert loss.item() == 0
    loss.backward()


# ----- coarser numbers


def cosine(one: Tensor, other: Tensor) -> float:
    one, other = one.double().flatten(), other.double().flatten()
    return float(one @ other / (one.norm() * other.norm()))


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("kind", [None, *ADDED])
@pytest.mark.parametrize("rows_at_once", [3, 1000])
def test_bfloat16_is_close_to_double_precision(parts: int, kind: str | None, rows_at_once: int) -> None:
    case = made(parts, rows=60)
    added = (None, None) if kind is None else made_added(kind, case[3])
    leaves = leaves_of(case, *added)
    want = autograd_with(*case, *added)
    exact = torch.autograd.grad(want, leaves)

    single = [leaf.detach().float().requires_grad_() for leaf in leaves]
    left = list(single[3:])
    offsets, background = added
    if offsets is not None:
        offsets = offsets._replace(value=left.pop(0))
    if background is not None:
        background = background._replace(features=background.features.float(), weight=left.pop(0))
    budget = rows_at_once * parts * ITEMS * 2
    queries, log_weight, items = single[:3]
    got = mixture_cross_entropy(queries, log_weight, items, case[3], budget, offsets, background, torch.bfloat16)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(want.item(), rel=0.02)
    for one, other in zip(torch.autograd.grad(got, single), exact, strict=True):
        assert one.dtype == torch.float32
        assert cosine(one, other) > 0.99


def test_features_may_be_coarse_already() -> None:
    queries, log_weight, items, target = (t.float() if t.is_floating_point() else t for t in made(2))
    _, background = made_added("background", target)
    assert background is not None
    background = Background(background.features.float(), background.group, background.weight.float())
    coarse = background._replace(features=background.features.bfloat16())
    one, other = (
        mixture_cross_entropy(queries, log_weight, items, target, None, None, b, torch.bfloat16)
        for b in (background, coarse)
    )
    assert one.item() == other.item()


def test_linear_cross_entropy_takes_the_same_numbers() -> None:
    queries, _, items, target = (t.float() if t.is_floating_point() else t for t in made(1, rows=50))
    coarse = linear_cross_entropy(queries[0], items, target, dtype=torch.bfloat16).item()
    exact = linear_cross_entropy(queries[0], items, target).item()
    assert coarse != exact
    assert coarse == pytest.approx(exact, rel=0.02)
