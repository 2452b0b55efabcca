"""Laws of the interest proxies: means of the history and of its last items."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_clia.nn.proxies import causal_proxies, long_term_proxy, short_term_proxy

laws = settings(derandomize=True, deadline=None, max_examples=80)
DTYPE = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def mean_by_loops(item_emb, mask, k=None):
    """Mean of the items (the last ``k``) of each row, added one at a time in float64."""
    out = np.zeros((item_emb.shape[0], item_emb.shape[2]))
    for b in range(item_emb.shape[0]):
        real = [t for t in range(item_emb.shape[1]) if mask[b, t]]
        real = real if k is None else real[-k:]
        for t in real:
            out[b] += item_emb[b, t].double().numpy()
        out[b] /= max(len(real), 1)
    return torch.from_numpy(out)


def history(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def right_padded(lengths, width):
    return torch.arange(width) < torch.tensor(lengths)[:, None]


@st.composite
def masked_histories(draw):
    rows, width, dim = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    mask = draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=rows, max_size=rows))
    return history(rows, width, dim, seed=draw(st.integers(0, 99))), torch.tensor(mask)


@laws
@given(masked_histories(), st.integers(1, 12))
def test_both_equal_the_means_by_loops_for_any_mask(case, k):
    item_emb, mask = case
    torch.testing.assert_close(long_term_proxy(item_emb, mask), mean_by_loops(item_emb, mask))
    torch.testing.assert_close(short_term_proxy(item_emb, mask, k), mean_by_loops(item_emb, mask, k))


@laws
@given(masked_histories(), st.integers(0, 3))
def test_short_equals_long_exactly_once_k_covers_the_history(case, beyond):
    item_emb, mask = case
    k = max(1, int(mask.sum(1).max()) + beyond)
    assert torch.equal(short_term_proxy(item_emb, mask, k), long_term_proxy(item_emb, mask))


@laws
@given(masked_histories())
def test_short_of_one_is_the_last_item(case):
    item_emb, mask = case
    short = short_term_proxy(item_emb, mask, 1)
    for b in range(len(mask)):
        real = mask[b].nonzero().flatten()
        assert torch.equal(short[b], item_emb[b, real[-1]] if len(real) else torch.zeros_like(short[b]))


@DTYPE
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 4), (2, 9, 2)])
def test_dtype_and_shape_are_kept(dtype, shape):
    item_emb = history(*shape, dtype=dtype)
    mask = right_padded([shape[1]] * shape[0], shape[1])
    for proxy in (long_term_proxy(item_emb, mask), short_term_proxy(item_emb, mask, 2)):
        assert proxy.dtype == dtype
        assert proxy.shape == (shape[0], shape[2])
    for proxy in causal_proxies(item_emb, 2):
        assert proxy.dtype == dtype
        assert proxy.shape == shape


@pytest.mark.parametrize("junk", [-7.0, 1e30, math.inf, math.nan])
@pytest.mark.parametrize("lengths", [[5, 3, 1], [0, 2, 0]])
def test_what_padding_holds_never_matters(junk, lengths):
    item_emb, mask = history(3, 5, 4), right_padded(lengths, 5)
    spoilt = item_emb.masked_fill(~mask.unsqueeze(-1), junk).requires_grad_()
    for proxy in (long_term_proxy, lambda e, m: short_term_proxy(e, m, 2)):
        value = proxy(spoilt, mask)
        assert torch.equal(value, proxy(item_emb, mask))
        (gradient,) = torch.autograd.grad(value.sum(), spoilt)
        assert (gradient[~mask] == 0).all()
        assert torch.isfinite(gradient).all()


@DTYPE
def test_an_empty_history_gives_zeros_with_a_live_graph(dtype):
    item_emb = history(2, 3, 4, dtype=dtype).requires_grad_()
    mask = torch.zeros(2, 3, dtype=torch.bool)
    for proxy in (long_term_proxy(item_emb, mask), short_term_proxy(item_emb, mask, 3)):
        assert torch.equal(proxy, torch.zeros(2, 4, dtype=dtype))
        (gradient,) = torch.autograd.grad(proxy.sum(), item_emb)
        assert torch.equal(gradient, torch.zeros_like(item_emb))


def test_a_history_of_no_width_gives_zeros():
    item_emb, mask = torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool)
    assert torch.equal(long_term_proxy(item_emb, mask), torch.zeros(2, 4))
    assert torch.equal(short_term_proxy(item_emb, mask, 3), torch.zeros(2, 4))
    assert all(proxy.shape == (2, 0, 4) for proxy in causal_proxies(item_emb, 3))


def test_gradients_flow_evenly_into_the_items_that_are_averaged():
    item_emb, mask = history(1, 6, 2).requires_grad_(), right_padded([5], 6)
    (long,) = torch.autograd.grad(long_term_proxy(item_emb, mask).sum(), item_emb)
    (short,) = torch.autograd.grad(short_term_proxy(item_emb, mask, 2).sum(), item_emb)
    torch.testing.assert_close(long[0, :, 0], torch.tensor([0.2] * 5 + [0.0], dtype=torch.float64))
    torch.testing.assert_close(short[0, :, 0], torch.tensor([0, 0, 0, 0.5, 0.5, 0], dtype=torch.float64))


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_gradcheck(k):
    item_emb, mask = history(2, 4, 2).requires_grad_(), right_padded([4, 2], 4)
    assert torch.autograd.gradcheck(lambda e: long_term_proxy(e, mask), item_emb)
    assert torch.autograd.gradcheck(lambda e: short_term_proxy(e, mask, k), item_emb)
    assert torch.autograd.gradcheck(lambda e: causal_proxies(e, k), item_emb)


@pytest.mark.parametrize("width", [1, 2, 5, 12])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 12, 13, 100])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_causal_ones_are_the_proxies_of_each_prefix(width, k, dtype, atol):
    item_emb = history(3, width, 4, dtype=dtype, seed=width)
    long, short = causal_proxies(item_emb, k)
    for t in range(width):
        prefix = right_padded([t + 1] * 3, width)
        torch.testing.assert_close(long[:, t], long_term_proxy(item_emb, prefix), rtol=0, atol=atol)
        torch.testing.assert_close(short[:, t], short_term_proxy(item_emb, prefix, k), rtol=0, atol=atol)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_causal_short_equals_causal_long_while_k_covers_the_prefix(k):
    long, short = causal_proxies(history(2, 8, 3), k)
    assert torch.equal(short[:, :k], long[:, :k])


@pytest.mark.parametrize("k", [1, 3, 20])
def test_causal_ones_never_see_the_future(k):
    item_emb = history(2, 8, 3)
    before = causal_proxies(item_emb, k)
    for t in range(8):
        other = item_emb.clone()
        other[:, t + 1 :] = math.nan
        for old, new in zip(before, causal_proxies(other, k), strict=True):
            assert torch.equal(old[:, : t + 1], new[:, : t + 1])


def test_causal_short_forgets_what_is_older_than_k():
    item_emb = history(1, 8, 3)
    other = item_emb.clone()
    other[:, :5] += 1.0
    short, moved = causal_proxies(item_emb, 3)[1], causal_proxies(other, 3)[1]
    torch.testing.assert_close(short[:, 7], moved[:, 7], rtol=0, atol=1e-14)
    assert not torch.isclose(short[:, 6], moved[:, 6]).any()


def test_causal_ones_keep_their_digits_over_a_long_history_in_float32():
    item_emb = 1 + history(1, 500, 2)
    exact = causal_proxies(item_emb, 3)
    for got, wanted in zip(causal_proxies(item_emb.float(), 3), exact, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-4)


def test_inputs_are_left_alone():
    item_emb, mask = history(2, 5, 3), right_padded([3, 5], 5)
    before = item_emb.clone()
    long_term_proxy(item_emb, mask)
    short_term_proxy(item_emb, mask, 2)
    causal_proxies(item_emb, 2)
    assert torch.equal(item_emb, before)


@pytest.mark.parametrize("k", [0, -1, -100])
def test_refuses_a_recent_window_of_nothing(k):
    item_emb, mask = history(1, 3, 2), right_padded([3], 3)
    with pytest.raises(ValueError, match=f"recent_k must be at least 1, not {k}"):
        short_term_proxy(item_emb, mask, k)
    with pytest.raises(ValueError, match=f"recent_k must be at least 1, not {k}"):
        causal_proxies(item_emb, k)
