"""The encoders and the fusion, against plain loops over positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_clia.nn import InterestFusion, LongTermEncoder, ShortTermEncoder
from recbole_clia.nn.long_term import LOGIT_BOUND
from recbole_clia.nn.recurrence import GatedLinearRecurrence, carry_by_doubling, carry_by_steps, gated_scan

B, L, D, H = 3, 7, 4, 5


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def numbers(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


@pytest.fixture
def items() -> Tensor:
    return torch.randn(B, L, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(1)
    module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, dtype=torch.float64, generator=generator))
    return module


def test_long_term_encoder_is_a_softmax_over_each_prefix(items: Tensor) -> None:
    encoder = randomised(LongTermEncoder(D, n_users=6))
    w = numbers(encoder)
    users = [2, 5, 0]
    got = encoder(items, torch.tensor(users)).detach().numpy()
    for b, user in enumerate(users):
        query = w["shared_query"] + w["user_query.weight"][user]
        for t in range(L):
            seen = items[b, : t + 1].numpy()
            logits = np.array([np.tanh(w["key.weight"] @ x + w["key.bias"]) @ query for x in seen])
            weights = np.exp(LOGIT_BOUND * np.tanh(logits / LOGIT_BOUND))
            np.testing.assert_allclose(got[b, t], weights / weights.sum() @ seen, rtol=0, atol=1e-12)


def test_long_term_encoder_without_user_queries_ignores_the_user(items: Tensor) -> None:
    encoder = randomised(LongTermEncoder(D, n_users=0))
    assert torch.equal(encoder(items, torch.tensor([0, 1, 2])), encoder(items, torch.tensor([9, 9, 9])))


def test_a_fresh_user_query_is_the_shared_one(items: Tensor) -> None:
    encoder = LongTermEncoder(D, n_users=6).double()
    assert torch.equal(encoder(items, torch.tensor([1, 2, 3])), encoder(items, torch.tensor([0, 0, 0])))


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_long_term_encoder_survives_extreme_logits(items: Tensor, scale: float) -> None:
    encoder = LongTermEncoder(D, n_users=2)
    with torch.no_grad():
        encoder.shared_query.fill_(scale)
    inputs = items.float().requires_grad_()
    output = encoder(inputs, torch.zeros(B, dtype=torch.long))
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert torch.isfinite(inputs.grad).all()


@pytest.mark.parametrize("length", [1, 2, L])
@pytest.mark.parametrize("rows", [1, 2])
def test_gated_scan_gradient(length: int, rows: int) -> None:
    gates = torch.randn(rows, length, 3 * 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gated_scan, (gates,))


@pytest.mark.parametrize("carry", [carry_by_steps, carry_by_doubling])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 33])
def test_both_ways_to_carry_equal_the_recurrence(carry: Callable[..., None], back: bool, length: int) -> None:
    keep = torch.rand(B, length, H, dtype=torch.float64)
    keep[0, length // 2] = 0  # nothing passes
    keep[1] = 1  # everything does
    state = torch.randn(B, length, H, dtype=torch.float64)
    want, kept = state.numpy().copy(), keep.clone()
    for t in range(length - 1, 0, -1) if back else range(1, length):
        now, other = (t - 1, t) if back else (t, t - 1)
        want[:, now] += keep[:, t].numpy() * want[:, other]
    carry(keep, state, back)
    np.testing.assert_allclose(state.numpy(), want, rtol=0, atol=1e-12)
    assert torch.equal(keep, kept)


@pytest.mark.parametrize("rows", [1, B])
def test_gated_scan_leaves_its_input_and_gradient_alone(rows: int) -> None:
    gates = torch.randn(rows, L, 3 * H, requires_grad=True)
    before, grad = gates.detach().clone(), torch.randn(rows, L, H)
    kept = grad.clone()
    gated_scan(gates).backward(grad)
    assert torch.equal(gates, before)
    assert torch.equal(grad, kept)


def test_gated_linear_recurrence_equals_its_equations(items: Tensor) -> None:
    recurrence = randomised(GatedLinearRecurrence(D, H))
    w = numbers(recurrence)
    got = recurrence(items).detach().numpy()
    for b in range(B):
        h = np.zeros(H)
        for t in range(L):
            z, c, o = np.split(w["gates.weight"] @ items[b, t].numpy() + w["gates.bias"], 3)
            h = (1 - sigmoid(z)) * h + sigmoid(z) * np.tanh(c)
            np.testing.assert_allclose(got[b, t], sigmoid(o) * h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "gru"])
def test_short_term_encoder_attends_to_each_prefix(items: Tensor, kind: str) -> None:
    encoder = randomised(ShortTermEncoder(D, H, kind))
    w = numbers(encoder)
    states = encoder.recurrence(items)
    states = (states if kind == "linear" else states[0]).detach().numpy()
    got = torch.cat(encoder(items), -1).detach().numpy()
    assert got.shape == (B, L, H + D) == (B, L, encoder.output_size)
    for b in range(B):
        for t in range(L):
            seen = items[b, : t + 1].numpy()
            query = w["query.weight"] @ states[b, t]
            logits = np.array([query @ (w["key.weight"] @ x) for x in seen]) / np.sqrt(D)
            weights = np.exp(logits - logits.max())
            want = np.concatenate([states[b, t], weights / weights.sum() @ seen])
            np.testing.assert_allclose(got[b, t], want, rtol=0, atol=1e-12)


def test_short_term_encoder_refuses_another_kind() -> None:
    with pytest.raises(ValueError, match="linear, gru"):
        ShortTermEncoder(D, H, "lstm")


def test_fusion_weighs_the_interests_by_alpha() -> None:
    fusion = randomised(InterestFusion(D, H))
    state, long, short = torch.randn(B, H).double(), torch.randn(B, D).double(), torch.randn(B, D).double()
    user, log_weight = fusion(state, long, short)
    assert log_weight.shape == (B, 2)
    weight = log_weight.exp()
    assert ((weight > 0) & (weight < 1)).all()
    torch.testing.assert_close(weight.sum(-1), torch.ones(B, dtype=weight.dtype))
    torch.testing.assert_close(user, weight[:, :1] * long + weight[:, 1:] * short)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_fixed_weight_is_the_weight(alpha: float) -> None:
    fusion = InterestFusion(D, H, alpha)
    long, short = torch.randn(B, D), torch.randn(B, D)
    user, log_weight = fusion(torch.randn(B, H), long, short)
    torch.testing.assert_close(log_weight.exp(), torch.tensor([[alpha, 1 - alpha]]).expand(B, 2))
    torch.testing.assert_close(user, alpha * long + (1 - alpha) * short)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_fusion_refuses_a_weight_outside_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        InterestFusion(D, H, alpha)


def test_attention_that_is_a_mean_is_the_mean_of_each_prefix() -> None:
    items = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    user, length = torch.tensor([1, 2, 0]), torch.tensor([7, 3, 1])
    long = LongTermEncoder(4, 3, "mean")
    assert not list(long.parameters())
    _, recalled = ShortTermEncoder(4, 5, attention="mean").double()(items)
    for t in range(7):
        want = sum(items[:, j] for j in range(t + 1)) / (t + 1)
        torch.testing.assert_close(long(items, user)[:, t], want, rtol=0, atol=1e-12)
        torch.testing.assert_close(recalled[:, t], want, rtol=0, atol=1e-12)
    weights = ShortTermEncoder(4, 5, attention="mean").double().weights(items, length)
    for row, number in zip(weights, length.tolist(), strict=True):
        assert row.tolist() == [1 / number] * number + [0] * (7 - number)
    for encoder in (lambda: LongTermEncoder(4, 3, "sum"), lambda: ShortTermEncoder(4, 5, attention="sum")):
        with pytest.raises(ValueError, match="attention must be one of learnt, mean, not 'sum'"):
            encoder()
