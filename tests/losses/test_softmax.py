"""Laws of ``linear_cross_entropy``: PyTorch's cross-entropy, under a memory budget."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_clia.losses.softmax import linear_cross_entropy

EVERYTHING = 1 << 40


def whole(query, items, target):
    """The same loss with all logits at once: padding, item 0, is out of the competition."""
    logits = query @ items.T
    padding = torch.zeros_like(logits, dtype=torch.bool)
    padding[:, 0] = True
    return F.cross_entropy(logits.masked_fill(padding, -math.inf), target)


def problem(n, n_items, dim, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    items = torch.randn(n_items, dim, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    target = torch.randint(1, n_items, (n,), generator=generator)
    return query, items, target


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    n=st.integers(1, 12),
    n_items=st.integers(2, 15),
    dim=st.integers(1, 5),
    budget=st.one_of(st.just(1), st.integers(1, 3000), st.just(EVERYTHING)),
    scale=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
def test_equals_cross_entropy_whatever_the_budget(n, n_items, dim, budget, scale, seed):
    query, items, target = problem(n, n_items, dim, seed=seed)
    expected, got = whole(query, items, target), linear_cross_entropy(query, items, target, budget)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(scale * expected, (query, items))
    for ours, theirs in zip(torch.autograd.grad(scale * got, (query, items)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("budget", [1, 2000, EVERYTHING])
def test_float32_is_kept_and_close(budget):
    query, items, target = problem(40, 30, 8, torch.float32)
    loss = linear_cross_entropy(query, items, target, budget)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    exact = whole(query.detach().double(), items.detach().double(), target)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    loss.backward()
    assert query.grad.dtype == items.grad.dtype == torch.float32
    expected = torch.autograd.grad(whole(query, items, target), (query, items))
    torch.testing.assert_close((query.grad, items.grad), expected, rtol=1e-4, atol=1e-6)


def test_the_default_budget_gives_the_same():
    query, items, target = problem(20, 30, 4)
    torch.testing.assert_close(linear_cross_entropy(query, items, target), whole(query, items, target))


@pytest.mark.parametrize("budget", [1, 100, EVERYTHING])
def test_gradcheck(budget):
    query, items, target = problem(5, 6, 3)
    assert torch.autograd.gradcheck(lambda q, i: linear_cross_entropy(q, i, target, budget), (query, items))


@pytest.mark.parametrize("query_grad", [True, False])
@pytest.mark.parametrize("items_grad", [True, False])
def test_gradients_go_to_the_inputs_that_ask_for_them(query_grad, items_grad):
    query, items, target = problem(7, 9, 3)
    query, items = query.detach().requires_grad_(query_grad), items.detach().requires_grad_(items_grad)
    loss = linear_cross_entropy(query, items, target, budget_bytes=200)
    expected = whole(query, items, target)
    torch.testing.assert_close(loss, expected, check_device=False)
    assert loss.requires_grad == (query_grad or items_grad)
    asked = [t for t in (query, items) if t.requires_grad]
    if asked:
        torch.testing.assert_close(torch.autograd.grad(loss, asked), torch.autograd.grad(expected, asked))


def test_without_grad_the_value_is_the_same():
    query, items, target = problem(7, 9, 3)
    with torch.no_grad():
        loss = linear_cross_entropy(query, items, target, budget_bytes=200)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, whole(query, items, target).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_row_is_exactly_zero_with_a_live_graph(dtype):
    query, items, target = problem(0, 6, 3, dtype)
    loss = linear_cross_entropy(query, items, target)
    assert loss.item() == 0
    assert loss.dtype == dtype
    loss.backward()
    assert query.grad.shape == (0, 3)
    assert torch.equal(items.grad, torch.zeros_like(items))


def test_padding_never_competes():
    query, items, target = problem(8, 6, 3)
    loss = linear_cross_entropy(query, items, target)
    (gradient,) = torch.autograd.grad(loss, items)
    assert (gradient[0] == 0).all()
    other = items.detach().clone()
    other[0] = 1e6
    assert linear_cross_entropy(query, other, target).item() == loss.item()


def test_one_item_alone_is_certain():
    query, items, target = problem(4, 2, 3)
    loss = linear_cross_entropy(query, items, target)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(items.grad, torch.zeros_like(items))


def test_row_permutation_changes_nothing():
    query, items, target = problem(12, 9, 4)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    straight = linear_cross_entropy(query, items, target, 300)
    permuted = linear_cross_entropy(query[order], items, target[order], 300)
    torch.testing.assert_close(permuted, straight, rtol=1e-13, atol=0)
    torch.testing.assert_close(torch.autograd.grad(permuted, query), torch.autograd.grad(straight, query))


def test_inputs_are_left_alone_and_the_gradient_can_be_taken_again():
    query, items, target = problem(6, 7, 3)
    before = query.detach().clone(), items.detach().clone(), target.clone()
    loss = linear_cross_entropy(query, items, target, 150)
    loss.backward(retain_graph=True)
    once = query.grad.clone(), items.grad.clone()
    loss.backward()
    assert torch.equal(query, before[0])
    assert torch.equal(items, before[1])
    assert torch.equal(target, before[2])
    torch.testing.assert_close((query.grad, items.grad), (2 * once[0], 2 * once[1]))


def test_a_second_derivative_is_refused_not_wrong():
    query, items, target = problem(4, 5, 3)
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(factor * linear_cross_entropy(query, items, target), query, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


def test_autocast_does_not_reach_it():
    query, items, target = problem(16, 12, 4, torch.float32)
    expected = linear_cross_entropy(query, items, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(query, items, target)
    assert loss.dtype == torch.float32
    assert loss.item() == expected.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e2, 1e5, 1e15])
def test_large_logits_do_not_overflow(dtype, size):
    query = torch.tensor([[size], [-size]], dtype=dtype, requires_grad=True)
    items = torch.tensor([[0.0], [size], [0.0], [-size]], dtype=dtype, requires_grad=True)
    target = torch.tensor([1, 1])
    loss = linear_cross_entropy(query, items, target)
    loss.backward()
    assert loss.item() == pytest.approx(size * size, rel=1e-6)  # rows: 0, and 2 * size^2
    assert torch.isfinite(query.grad).all()
    assert torch.isfinite(items.grad).all()
    torch.testing.assert_close(
        (query.grad, items.grad), torch.autograd.grad(whole(query, items, target), (query, items))
    )


@pytest.mark.parametrize("logit", [2.0**4, 2.0**10, 2.0**20])
def test_large_logits_lose_no_more_digits_than_in_pytorch(logit):
    # All numbers are whole, so the logits are exact in float32: two items tie, the loss is log 2.
    query = torch.tensor([[logit]])
    items = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    target = torch.tensor([1])
    assert whole(query, items, target).item() == pytest.approx(math.log(2), rel=1e-6)
    assert linear_cross_entropy(query, items, target).item() == pytest.approx(math.log(2), rel=1e-6)


class Memory(TorchDispatchMode):
    """Watches what is allocated, leaving out item tables: the most bytes at once, and of one tensor."""

    def __init__(self, table):
        super().__init__()
        self.table = table.untyped_storage().nbytes()
        self.watched = {}
        self.largest = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() != self.table:
                storage = tensor.untyped_storage()
                self.watched.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
                self.largest = max(self.largest, storage.nbytes())
        self.watched = {key: held for key, held in self.watched.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.watched.values()))
        return result


def test_the_watch_sees_what_is_held_at_once():
    with Memory(torch.empty(3)) as memory:
        a = torch.empty(1000)
        b = a + 1
        del a
        c = b + 1
    assert memory.largest == 4000
    assert memory.peak == 8000
    assert c.shape == b.shape


@pytest.fixture(scope="module")
def million():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(64, 16, generator=generator)
    items = torch.randn(1_000_000, 16, generator=generator)
    target = torch.randint(1, 1_000_000, (64,), generator=generator)
    return query.requires_grad_(), items.requires_grad_(), target


def watch(million, budget, backward=True):
    query, items, target = million
    with Memory(items) as memory:
        loss = linear_cross_entropy(query, items, target, budget)
        if backward:
            torch.autograd.grad(loss, (query, items))
    return memory


SMALL = 64 * 1024  # what a few [N, D] and [N, 1] tensors may take beside the logits


@pytest.mark.parametrize("budget", [1, 1 << 22, 40_000_000])
def test_no_tensor_of_logits_is_larger_than_the_budget(million, budget):
    memory = watch(million, budget)
    assert memory.largest <= max(budget, 4 * 1_000_000)
    assert memory.largest > max(budget, 4 * 1_000_000) / 2  # and the budget is used


def test_the_default_budget_stays_in_the_cache_of_a_cpu(million):
    assert watch(million, None).largest <= 1 << 22


@pytest.mark.parametrize("budget", [1 << 22, 40_000_000])
def test_the_logits_held_at_once_fit_in_the_budget(million, budget):
    assert watch(million, budget).peak <= budget + SMALL


def test_the_logits_held_at_once_fit_in_the_budget_without_gradients(million):
    query, items, target = million
    memory = watch((query.detach(), items.detach(), target), 40_000_000, backward=False)
    assert memory.peak <= 40_000_000 + SMALL
