"""Laws of ``info_nce`` and ``same_class``, against their equations written as loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_clia.losses.infonce import info_nce, same_class

GROUPS = [[0, 1, 2, 3, 4], [0, 0, 1, 2, 2], [7, 7, 7, 7, 7], [3, 1, 3, 1, 3]]
LABELS = [[0, 0, 1, 1, 2, 0], [5, 5, 5, 5, 5, 5], [1, 2, 1, 3, 4, 5], [9, 9, 2, 3, 2, 9]]


def vectors(*shapes: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def info_nce_by_loops(one: Any, other: Any, group: list[int], temperature: float) -> float:
    total = 0.0
    for anchor, opposite in ((one, other), (other, one)):
        for i in range(len(anchor)):
            against = [j for j in range(len(anchor)) if j == i or group[j] != group[i]]
            mass = sum(math.exp(cosine(anchor[i], opposite[j]) / temperature) for j in against)
            total += math.log(mass) - cosine(anchor[i], opposite[i]) / temperature
    return total / (2 * len(one))


def same_class_by_loops(vector: Any, label: list[int], temperature: float) -> float:
    losses = []
    for i in range(len(vector)):
        others = [a for a in range(len(vector)) if a != i]
        mass = sum(math.exp(cosine(vector[i], vector[a]) / temperature) for a in others)
        own = [math.log(mass) - cosine(vector[i], vector[p]) / temperature for p in others if label[p] == label[i]]
        if own:
            losses.append(sum(own) / len(own))
    return sum(losses) / len(losses)


# ----- two vectors of a row


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_info_nce_equals_the_equation(group: list[int], temperature: float, dtype: torch.dtype, rtol: float) -> None:
    one, other = vectors((5, 4), (5, 4), dtype=dtype)
    loss = info_nce(one, other, torch.tensor(group), temperature)
    assert loss.shape == ()
    assert loss.dtype == dtype
    want = info_nce_by_loops(one.tolist(), other.tolist(), group, temperature)
    assert loss.item() == pytest.approx(want, rel=rtol, abs=1e-6 if dtype == torch.float32 else 1e-12)
    loss.backward()
    assert one.grad is not None
    assert other.grad is not None
    assert one.grad.isfinite().all()
    assert other.grad.isfinite().all()


def test_rows_of_one_group_are_no_negatives_of_each_other() -> None:
    one, other = vectors((5, 4), (5, 4))
    apart, together = (info_nce(one, other, torch.tensor(g), 0.5) for g in ([0, 1, 2, 3, 4], [0, 0, 2, 3, 4]))
    assert together < apart
    (slope,) = torch.autograd.grad(info_nce(one, other, torch.zeros(5, dtype=torch.long), 0.5), one)
    assert (slope == 0).all()  # one group alone has nothing to learn


def test_a_single_row_has_nothing_to_be_told_from() -> None:
    one, other = vectors((1, 4), (1, 4))
    loss = info_nce(one, other, torch.tensor([3]), 0.1)
    assert loss.item() == 0
    loss.backward()


def test_info_nce_of_no_row_is_exactly_zero_with_a_live_graph() -> None:
    source = torch.ones(4, requires_grad=True)
    loss = info_nce(source.expand(0, 4), source.expand(0, 4), torch.zeros(0, dtype=torch.long), 0.1)
    assert loss.item() == 0
    loss.backward()
    assert source.grad is not None
    assert torch.equal(source.grad, torch.zeros(4))


def test_the_two_sides_play_the_same_part() -> None:
    one, other = vectors((5, 4), (5, 4))
    group = torch.tensor(GROUPS[1])
    assert info_nce(other, one, group, 0.3).item() == pytest.approx(info_nce(one, other, group, 0.3).item(), rel=1e-13)


def test_the_order_of_rows_changes_no_info_nce() -> None:
    one, other = vectors((5, 4), (5, 4))
    group, order = torch.tensor(GROUPS[1]), torch.tensor([3, 0, 4, 2, 1])
    loss = info_nce(one, other, group, 0.3)
    assert info_nce(one[order], other[order], group[order], 0.3).item() == pytest.approx(loss.item(), rel=1e-13)


def test_info_nce_knows_directions_only() -> None:
    one, other = vectors((5, 4), (5, 4))
    group, factor = torch.tensor(GROUPS[1]), torch.tensor([[0.01], [3.0], [50.0], [7.0], [1.0]], dtype=torch.float64)
    loss = info_nce(one, other, group, 0.3)
    assert info_nce(factor * one, other / factor, group, 0.3).item() == pytest.approx(loss.item(), rel=1e-11)


def test_vectors_that_cannot_be_told_apart_cost_what_a_guess_costs() -> None:
    same = torch.ones(6, 3, dtype=torch.float64)
    assert info_nce(same, same, torch.arange(6), 0.1).item() == pytest.approx(math.log(6))
    assert info_nce(same, same, torch.tensor([0, 0, 0, 1, 1, 1]), 0.1).item() == pytest.approx(math.log(4))


def test_equal_vectors_cost_less_than_exchanged_ones() -> None:
    (one,) = vectors((5, 8))
    group = torch.arange(5)
    assert info_nce(one, one, group, 0.2) < 0.3 < info_nce(one, one.roll(1, 0), group, 0.2)


@pytest.mark.parametrize("group", GROUPS)
def test_gradcheck_of_info_nce(group: list[int]) -> None:
    one, other = vectors((5, 3), (5, 3))
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, torch.tensor(group), 0.5), (one, other))


# ----- rows of one class


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_same_class_equals_the_equation(label: list[int], temperature: float, dtype: torch.dtype, rtol: float) -> None:
    (vector,) = vectors((6, 4), dtype=dtype)
    loss = same_class(vector, torch.tensor(label), temperature)
    assert loss.shape == ()
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(same_class_by_loops(vector.tolist(), label, temperature), rel=rtol)
    loss.backward()
    assert vector.grad is not None
    assert vector.grad.isfinite().all()
    assert (vector.grad != 0).any()


@pytest.mark.parametrize("label", [[], [1], [1, 2, 3], [4, 0, 9, 2]])
def test_where_no_two_rows_share_a_class_it_is_exactly_zero_with_a_live_graph(label: list[int]) -> None:
    vector = torch.ones(len(label), 4, requires_grad=True)
    loss = same_class(vector, torch.tensor(label, dtype=torch.long), 0.1)
    assert loss.item() == 0
    loss.backward()
    assert vector.grad is not None
    assert (vector.grad == 0).all()


def test_a_row_alone_in_its_class_is_a_negative_of_the_others_only() -> None:
    (vector,) = vectors((3, 4))
    rows = vector.tolist()
    c01, c02, c12 = (cosine(rows[a], rows[b]) / 0.5 for a, b in ((0, 1), (0, 2), (1, 2)))
    want = (math.log1p(math.exp(c02 - c01)) + math.log1p(math.exp(c12 - c01))) / 2
    assert same_class(vector, torch.tensor([4, 4, 7]), 0.5).item() == pytest.approx(want, rel=1e-12)


def test_two_rows_of_one_class_have_nothing_to_be_told_from() -> None:
    (vector,) = vectors((2, 4))
    assert same_class(vector, torch.tensor([5, 5]), 0.1).item() == pytest.approx(0, abs=1e-12)


def test_the_order_of_rows_and_the_names_of_classes_change_nothing() -> None:
    (vector,) = vectors((6, 4))
    label, order = torch.tensor(LABELS[0]), torch.tensor([5, 2, 0, 3, 1, 4])
    loss = same_class(vector, label, 0.3).item()
    assert same_class(vector[order], label[order], 0.3).item() == pytest.approx(loss, rel=1e-13)
    assert same_class(vector, torch.tensor([70, 3, 12])[label], 0.3).item() == pytest.approx(loss, rel=1e-13)


def test_same_class_knows_directions_only() -> None:
    (vector,) = vectors((6, 4))
    factor = torch.tensor([[0.01], [3.0], [50.0], [7.0], [1.0], [0.2]], dtype=torch.float64)
    label = torch.tensor(LABELS[0])
    assert same_class(factor * vector, label, 0.3).item() == pytest.approx(
        same_class(vector, label, 0.3).item(), rel=1e-11
    )


def test_close_classes_cost_less_than_mixed_ones() -> None:
    vector = torch.eye(2, dtype=torch.float64)[[0, 0, 0, 1, 1, 1]]
    together, mixed = (
        same_class(vector, torch.tensor(label), 0.2) for label in ([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1])
    )
    assert together.item() == pytest.approx(math.log(2 + 3 * math.exp(-5)), rel=1e-12)
    assert mixed > together + 1


@pytest.mark.parametrize("label", LABELS)
def test_gradcheck_of_same_class(label: list[int]) -> None:
    assert torch.autograd.gradcheck(lambda v: same_class(v, torch.tensor(label), 0.5), vectors((6, 3)))
