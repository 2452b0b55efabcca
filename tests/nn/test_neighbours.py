"""Neighbours, against plain loops over histories, and that nobody is their own neighbour in training."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.nn import Neighbours
from recbole_clia.nn import neighbours as module
from recbole_clia.nn.neighbours import FOLDS, blocks, closeness, nearest, totals

ITEMS, STATE = 9, 3
ALL = slice(0, ITEMS)
Histories = dict[int, list[int]]


def made_histories(seed: int = 0, users: int = 12, longest: int = 8) -> Histories:
    rng = np.random.default_rng(seed)
    return {u: rng.integers(1, ITEMS, rng.integers(1, longest + 1)).tolist() for u in range(1, users + 1)}


def flat(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(user, item) for user, history in sorted(histories.items()) for item in history]
    user, item = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return user, item


def close_by_loop(histories: Histories, window: int) -> np.ndarray:
    close = np.zeros((ITEMS, ITEMS))
    for history in histories.values():
        for here, one in enumerate(history):
            for there, other in enumerate(history):
                if one != other and 0 < abs(here - there) <= window:
                    close[one, other] += 1 / abs(here - there)
    return close


def nearest_by_loop(close: np.ndarray, kept: int) -> list[list[tuple[int, float]]]:
    size = close.sum(1) + 5
    found = []
    for i in range(ITEMS):
        near = [(math.log1p(100 * close[i, j] / math.sqrt(size[i] * size[j])), j) for j in range(ITEMS) if close[i, j]]
        found.append([(j, value) for value, j in sorted(near, key=lambda pair: -pair[0])[:kept]])
    return found


def assert_nearest(item: Any, near: Any, want: list[list[tuple[int, float]]]) -> None:
    """In order; which of equally near ones are kept is free."""
    for i, row in enumerate(want):
        number = len(row)
        np.testing.assert_allclose(near[i, :number], [value for _, value in row], rtol=2e-5)
        assert (near[i, number:] == 0).all()
        assert (item[i, number:] == 0).all()
        least = row[-1][1] if row else 0.0
        sure = {j for j, value in row if value > least * (1 + 1e-4)}
        assert sure <= set(item[i, :number].tolist())
        assert len(set(item[i, :number].tolist())) == number


def made_module(histories: Histories, **changes: int) -> Neighbours:
    torch.manual_seed(0)
    sizes = {"window": 3, "kept": 4, "recent": 3, **changes}
    found = Neighbours(STATE, *flat(histories), ITEMS, **sizes).double()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=torch.float64))
    return found.eval()


def dense(added: tuple[Tensor, Tensor]) -> Tensor:
    """What all items have, ``[N, I]``; nothing is said of item 0."""
    item, value = added
    return torch.zeros(len(item), ITEMS, dtype=value.dtype).scatter_add(1, item, value)[:, 1:]


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Histories, the positions where prefixes end, users and states."""
    items = torch.tensor([[1, 2, 3, 1, 5], [4, 0, 0, 0, 0], [8, 7, 7, 0, 0]])
    index = torch.tensor([4, 0, 2, 5, 12])
    return items, index, torch.tensor([3, 7, 0]), torch.randn(5, STATE, dtype=torch.float64)


# ----- closeness


@pytest.mark.parametrize("window", [1, 2, 5, 30])
@pytest.mark.parametrize("seed", range(3))
def test_closeness_equals_a_loop(seed: int, window: int) -> None:
    histories = made_histories(seed)
    want = close_by_loop(histories, window)
    for rows in (ALL, slice(0, 1), slice(2, 7), slice(8, 9)):
        got = closeness(*flat(histories), ITEMS, window, rows).toarray()
        np.testing.assert_allclose(got, want[rows], rtol=1e-6)
    np.testing.assert_allclose(totals(*flat(histories), ITEMS, window)[0], want.sum(1), rtol=1e-12)


@pytest.mark.parametrize("window", [1, 3])
def test_the_pairs_of_each_item_equal_a_loop(window: int) -> None:
    histories = made_histories()
    want = np.zeros(ITEMS)
    for history in histories.values():
        for here, one in enumerate(history):
            want[one] += sum(other != one for other in history[max(0, here - window) : here + window + 1])
    assert (totals(*flat(histories), ITEMS, window)[1] == want).all()


@pytest.mark.parametrize("histories", [{}, {1: [3]}, {1: [3, 3, 3]}, {1: [3], 2: [4]}], ids=str)
def test_without_two_items_in_one_history_nothing_is_close(histories: Histories) -> None:
    close = closeness(*flat(histories), ITEMS, 5, ALL)
    assert close.shape == (ITEMS, ITEMS)
    assert close.nnz == 0
    total, number = totals(*flat(histories), ITEMS, 5)
    assert not total.any()
    assert not number.any()
    item, near = nearest([close], total, ALL, 3)
    assert item.shape == near.shape == (ITEMS, 3)
    assert not item.any()
    assert not near.any()


@pytest.mark.parametrize("kept", [1, 3, 20])
def test_the_nearest_equal_a_loop(kept: int) -> None:
    histories = made_histories()
    close = close_by_loop(histories, 3)
    want, total = nearest_by_loop(close, kept), close.sum(1)
    assert_nearest(*nearest([closeness(*flat(histories), ITEMS, 3, ALL)], total, ALL, kept), want)
    thirds = [{u: history for u, history in histories.items() if u % 3 == third} for third in range(3)]
    for rows in (ALL, slice(4, 6)):
        parts = [closeness(*flat(some), ITEMS, 3, rows) for some in thirds]
        item, near = nearest(parts, total, rows, kept)
        whole = np.zeros((2, ITEMS, kept))
        whole[:, rows] = item, near
        assert_nearest(*whole, [want[i] if i in range(ITEMS)[rows] else [] for i in range(ITEMS)])


@pytest.mark.parametrize("at_once", [1, 5, 12, 1000])
def test_blocks_are_the_fewest_that_hold_few_pairs(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    number = np.array([0, 3, 9, 0, 0, 5, 5, 1, 30, 2])
    found = list(blocks(number))
    assert [i for rows in found for i in range(rows.start, rows.stop)] == list(range(len(number)))
    for rows, after in zip(found, [*found[1:], None], strict=True):
        assert number[rows].sum() <= at_once or rows.stop == rows.start + 1
        if after is not None:
            assert number[rows.start : rows.stop + 1].sum() > at_once


@pytest.mark.parametrize("at_once", [1, 30])
def test_the_tables_do_not_depend_on_how_many_pairs_are_counted_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    whole = made_module(made_histories())
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    for name, table in made_module(made_histories()).named_buffers():
        assert torch.equal(table, whole.get_buffer(name))


# ----- what is added to the logits


def test_the_scores_equal_a_loop(rows: tuple[Tensor, ...]) -> None:
    histories = made_histories()
    found = made_module(histories)
    items, index, user, state = rows
    got = dense(found(items, index, user, state)).detach().numpy()
    want = np.zeros((5, ITEMS))
    for n, place in enumerate(index.tolist()):
        prefix = items[place // 5, : place % 5 + 1].tolist()
        scale = found.of_state(state[n]).exp().item()
        for m, last in enumerate(reversed(prefix[-3:])):
            for neighbour, value in zip(found.item[last].tolist(), found.near[last].tolist(), strict=True):
                want[n, neighbour] += scale * found.of_lag[m].item() * value
    np.testing.assert_allclose(got, want[:, 1:], rtol=0, atol=1e-12)
    assert (got != 0).any(1).all()
    assert_nearest(found.item.numpy(), found.near.numpy(), nearest_by_loop(close_by_loop(histories, 3), 4))


def test_it_starts_with_weights_that_fall_with_the_lag(rows: tuple[Tensor, ...]) -> None:
    items, index, user, state = rows
    fresh = Neighbours(STATE, *flat(made_histories()), ITEMS, window=3, kept=4, recent=3).double()
    np.testing.assert_allclose(fresh.of_lag.detach().numpy(), [0.4, 0.32, 0.256], rtol=1e-6)
    assert torch.equal(fresh(items, index, user, state)[1], fresh(items, index, user, -state)[1])
    _, value = fresh(items, index, user, state)
    value.square().sum().backward()
    for parameter in fresh.parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).all()


def test_what_is_trained_does_not_know_its_own_user(rows: tuple[Tensor, ...]) -> None:
    items, index, _, state = rows
    histories = made_histories()
    changed = {**histories, 7: [8, 1, 7, 2, 8, 3, 5, 4]}
    one, other = made_module(histories), made_module(changed)
    for user in range(1, 13):
        users = torch.full((3,), user)
        alike = torch.equal(dense(one(items, index, users, state)), dense(other(items, index, users, state)))
        assert not alike  # ranking knows all histories
        in_training = [dense(m.train()(items, index, users, state)) for m in (one, other)]
        one.eval()
        other.eval()
        assert torch.equal(*in_training) == (user % FOLDS == 7 % FOLDS)


def test_in_training_the_neighbours_are_those_of_all_other_folds(rows: tuple[Tensor, ...]) -> None:
    items, index, _, state = rows
    histories = made_histories()
    found = made_module(histories).train()
    for user in range(FOLDS):
        others = {u: history for u, history in histories.items() if u % FOLDS != user}
        want = made_module(others)(items, index, torch.full((3,), user), state)
        got = found(items, index, torch.full((3,), user), state)
        torch.testing.assert_close(got[1], want[1], rtol=2e-5, atol=1e-9)


def test_renaming_the_items_renames_the_scores(rows: tuple[Tensor, ...]) -> None:
    items, index, user, state = rows
    name = np.concatenate([[0], 1 + np.random.default_rng(0).permutation(ITEMS - 1)])
    histories = made_histories()
    renamed = {u: name[history].tolist() for u, history in histories.items()}
    # All neighbours are kept, since among equally near ones the lower id is.
    one, other = (made_module(h, kept=ITEMS) for h in (histories, renamed))
    got = dense(other(torch.from_numpy(name)[items], index, user, state))
    torch.testing.assert_close(got[:, name[1:] - 1], dense(one(items, index, user, state)), rtol=1e-5, atol=1e-7)


def test_no_row_has_no_score() -> None:
    items = torch.tensor([[1, 2]])
    none = torch.zeros(0, dtype=torch.long)
    for mode in (True, False):
        item, value = made_module(made_histories()).train(mode)(
            items, none, torch.tensor([1]), torch.zeros(0, STATE, dtype=torch.float64)
        )
        assert item.shape == value.shape == (0, 12)


# ----- what is kept


def test_weights_carry_the_neighbours_into_a_module_without_data(rows: tuple[Tensor, ...]) -> None:
    trained, empty = made_module(made_histories()), made_module({})
    assert not empty.near.any()
    state = trained.state_dict()
    assert set(state) == {"item", "near", "of_lag", "of_state.weight", "of_state.bias"}
    empty.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(trained(*rows), empty(*rows), strict=True))


def test_tables_keep_within_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = defaultdict(int)
    for memory in (1, 8 * ITEMS * (FOLDS + 1) * 2, 1 << 20):
        monkeypatch.setattr(module, "MEMORY", memory)
        found = made_module(made_histories())
        sizes[memory] = found.item.shape[1]
        assert found.fold_item.shape == (FOLDS, ITEMS, sizes[memory])
    assert list(sizes.values()) == [1, 2, 4]


@pytest.mark.parametrize("wrong", ["window", "kept", "recent"])
def test_each_size_is_at_least_one(wrong: str) -> None:
    with pytest.raises(ValueError, match="0"):
        made_module({}, **{wrong: 0})
