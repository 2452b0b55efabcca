"""The items seen and their offsets, against plain loops over histories."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.nn import RepeatOffsets, seen_items
from recbole_clia.nn.gaps import GAP_STEPS
from recbole_clia.nn.repeats import NUMBER_STEPS, SCALE, SeenItems, number_step, occurrences
from recbole_clia.nn.rows import look_up

STATE = 3


def padded(rows: list[list[int]], width: int) -> Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def random_histories(seed: int, width: int, kinds: int, number: int = 12) -> Tensor:
    rng = np.random.default_rng(seed)
    return padded([rng.integers(1, kinds + 1, rng.integers(1, width + 1)).tolist() for _ in range(number)], width)


HISTORIES = {
    "few items": random_histories(0, 9, 3),
    "many items": random_histories(1, 9, 50),
    "all equal": padded([[5] * 6, [5] * 3, [2]], 6),
    "all different": padded([[1, 2, 3, 4, 5, 6], [9, 8, 7], [10**6, 3]], 6),
    "one item": padded([[4], [1]], 7),
    "one column": torch.tensor([[3], [8], [3]]),
    "one history": padded([[2, 7, 2, 2, 7]], 5),
}


@pytest.mark.parametrize("items", HISTORIES.values(), ids=HISTORIES)
def test_occurrences_equal_a_loop(items: Tensor) -> None:
    width = items.shape[1]
    following = [
        [next((k for k in range(j + 1, width) if row[k] == row[j]), width) for j in range(width)]
        for row in items.tolist()
    ]
    before = [[row[:j].count(row[j]) for j in range(width)] for row in items.tolist()]
    assert [found.tolist() for found in occurrences(items)] == [before, following]


@pytest.mark.parametrize("items", HISTORIES.values(), ids=HISTORIES)
def test_seen_items_equal_a_loop(items: Tensor) -> None:
    width = items.shape[1]
    rng = np.random.default_rng(2)
    times = torch.from_numpy(rng.integers(0, 50, items.shape).cumsum(1).astype(np.float64))
    index = (items > 0).flatten().nonzero().squeeze(1)
    index = index[torch.from_numpy(rng.permutation(len(index)))]  # in no order
    now = times.flatten()[index] + torch.from_numpy(rng.integers(0, 9, len(index)).astype(np.float64))
    seen = seen_items(items, index, times, now)
    assert {part.shape for part in seen} == {(len(index), width)}
    for n, place in enumerate(index.tolist()):
        row, end = divmod(place, width)
        last = {int(item): j for j, item in enumerate(items[row, : end + 1].tolist())}
        had = items[row, : end + 1].tolist()
        want = {item: (end - j, now[n].item() - times[row, j].item(), had.count(item) - 1) for item, j in last.items()}
        there = seen.item[n] > 0
        found = seen.item[n][there].tolist()
        assert len(found) == len(set(found))  # an item at most once
        told = zip(*(part[n][there].tolist() for part in seen[1:]), strict=True)
        assert dict(zip(found, told, strict=True)) == want
        assert (seen.lag[n] >= 0).all()


def test_what_comes_after_a_prefix_is_not_seen() -> None:
    items = padded([[3, 1, 3, 2, 1]], 5)
    other = padded([[3, 1, 3, 3, 3]], 5)
    times, later = torch.arange(5.0).double()[None], torch.tensor([[0, 1, 2, 70, 90.0]]).double()
    index, now = torch.tensor([0, 1, 2]), torch.tensor([4.0, 5.0, 6.0]).double()
    one, two = seen_items(items, index, times, now), seen_items(other, index, later, now)
    assert torch.equal(one.item, two.item)
    there = one.item > 0
    for part, same in zip(one, two, strict=True):
        assert torch.equal(part[there], same[there])


@pytest.mark.parametrize("width", [1, 2, 6])
@pytest.mark.parametrize("rows", [0, 2])
def test_no_prefix_has_nothing(width: int, rows: int) -> None:
    items, none = torch.ones((rows, width), dtype=torch.long), torch.zeros(0, dtype=torch.long)
    seen = seen_items(items, none, torch.zeros(rows, width).double(), torch.zeros(0).double())
    assert {part.shape for part in seen} == {(0, width)}
    assert seen.item.dtype == torch.int64
    assert RepeatOffsets(STATE)(seen, torch.zeros(0, STATE)).shape == (0, width)


def test_inputs_are_left_alone() -> None:
    items = HISTORIES["few items"].clone()
    before, times = items.clone(), torch.zeros(items.shape).double()
    seen_items(items, torch.tensor([0]), times, torch.tensor([1.0]).double())
    assert torch.equal(items, before)
    assert (times == 0).all()


def step_by_hand(lag: int) -> int:
    return lag if lag < 8 else min(int(math.log2(lag)) + 5, NUMBER_STEPS - 1)


def test_steps_of_the_lag() -> None:
    lags = torch.arange(5000)
    steps = number_step(lags)
    assert steps.tolist() == [step_by_hand(lag) for lag in range(5000)]
    assert steps[[0, 7, 8, 15, 16, 1023, 1024, 4999]].tolist() == [0, 7, 8, 8, 9, 14, 15, 15]
    assert set(steps.tolist()) == set(range(NUMBER_STEPS))
    assert (steps.diff() >= 0).all()


@pytest.mark.parametrize("shape", [(0,), (1,), (7, 9), (2, 0, 3), (2, 3, 4)])
def test_a_look_up_is_indexing(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(5, generator=generator, dtype=torch.float64).requires_grad_()
    index = torch.randint(0, 5, shape, generator=generator)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    gradients = []
    for found in (look_up(table, index), table[index]):
        assert torch.equal(found, table[index])
        gradients.append(torch.autograd.grad((found**2 * weight).sum(), table)[0])
    torch.testing.assert_close(*gradients)


def some_seen(rows: int = 6, width: int = 40) -> SeenItems:
    rng = np.random.default_rng(3)
    item = torch.from_numpy(rng.integers(0, 4, (rows, width)))
    lag = torch.from_numpy(rng.integers(0, 3000, (rows, width)) // rng.integers(1, 1000, (rows, width)))
    seconds = torch.from_numpy(np.exp2(rng.uniform(-2, 34, (rows, width))) - 1)
    return SeenItems(item, lag, seconds, torch.from_numpy(rng.integers(0, 30, (rows, width))))


def test_offsets_start_at_zero_and_can_be_learnt() -> None:
    module = RepeatOffsets(STATE).double()
    seen, state = some_seen(), torch.ones(6, STATE, dtype=torch.float64)
    offsets = module(seen, state)
    assert (offsets == 0).all()
    offsets.sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_offsets_equal_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    module = RepeatOffsets(STATE).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    seen, state = some_seen(), torch.randn(6, STATE, generator=generator, dtype=torch.float64)
    got = module(seen, state).detach().numpy()
    w = {name: p.detach().numpy() for name, p in module.named_parameters()}
    assert SCALE == 8
    for n in range(6):
        of_state = float(w["of_state.weight"][0] @ state[n].numpy() + w["of_state.bias"][0])
        for j in range(40):
            lag, seconds = int(seen.lag[n, j]), max(float(seen.seconds[n, j]), 0.0)
            gap = min(math.floor(math.log2(1 + seconds)), GAP_STEPS - 1)
            before = step_by_hand(int(seen.before[n, j]))
            of_before = w["of_before"][before - 1] if before else 0.0
            want = 8 * (w["of_lag"][step_by_hand(lag)] + w["of_gap"][gap] + of_before + of_state)
            assert got[n, j] == pytest.approx(want if seen.item[n, j] else 0.0, abs=1e-12)
    assert (got[seen.item.numpy() == 0] == 0).all()
    assert (got[seen.item.numpy() > 0] != 0).all()
