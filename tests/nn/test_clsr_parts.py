"""Each part of CLSR against a transcription of its equations in NumPy, float64, one number at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from recbole_clia.nn.gated_cells import TensorFlowGRU, TensorFlowLSTM, Time4LSTM
from recbole_clia.nn.mlp import BatchNormMLP
from recbole_clia.nn.target_attention import TargetAttention
from recbole_clia.nn.time_inputs import time_inputs

Array = NDArray[np.float64]
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def away_from_start(module: nn.Module, seed: int = 0) -> Any:
    """In float64, with weights, biases and running statistics that are all of order one."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator, dtype=torch.float64))
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator, dtype=torch.float64))
    return module


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def mlp(net: BatchNormMLP, x: Array, training: bool) -> Array:
    """``x`` is ``[N, inputs]``."""
    for layer, norm in zip(list(net.linears)[:-1], net.norms, strict=True):
        x = x @ array(layer.weight).T + array(layer.bias)
        mean = x.mean(0) if training else array(norm.running_mean)
        var = x.var(0) if training else array(norm.running_var)
        x = (x - mean) / np.sqrt(var + 1e-4) * array(norm.weight) + array(norm.bias)
        x = np.maximum(x, 0)
    return (x @ array(net.linears[-1].weight).T + array(net.linears[-1].bias))[:, 0]


def lengths_and_mask(rng: np.random.Generator, rows: int, width: int) -> tuple[NDArray[np.int64], torch.Tensor]:
    length = rng.integers(1, width + 1, rows)
    length[0] = width
    return length, torch.from_numpy(np.arange(width) < length[:, None])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7, 6), (3, 5, 6)])
def test_perceptron(shape: tuple[int, ...], training: bool) -> None:
    net = away_from_start(BatchNormMLP(6, (8, 4))).train(training)
    x = np.random.default_rng(1).normal(size=shape)
    want = mlp(net, x.reshape(-1, 6), training).reshape(shape[:-1])
    np.testing.assert_allclose(array(net(torch.from_numpy(x))), want, **TIGHT)


def test_running_statistics_move_by_a_twentieth() -> None:
    net = BatchNormMLP(3, (2,)).double().train()
    x = torch.randn(10, 3, dtype=torch.float64)
    first = array(net.linears[0](x))
    net(x)
    np.testing.assert_allclose(array(net.norms[0].running_mean), 0.05 * first.mean(0), **TIGHT)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("own", "target"), [(4, 0), (0, 4), (3, 5)])
@pytest.mark.parametrize("shared", [True, False])
def test_attention(own: int, target: int, shared: bool, training: bool) -> None:
    rng = np.random.default_rng(2)
    rows, width, groups, size = 4, 5, 3 if target else 1, 6
    net = away_from_start(TargetAttention(size, own, target, (8, 4))).train(training)
    length, mask = lengths_and_mask(rng, rows, width)
    values, mine = rng.normal(size=(rows, width, size)), rng.normal(size=(rows, own))
    theirs = rng.normal(size=(groups, target) if shared else (rows, groups, target))
    each = np.broadcast_to(theirs, (rows, groups, target))
    inputs = np.zeros((rows, groups, width, 4 * (own + target)))
    for b in range(rows):
        for g in range(groups):
            query = np.concatenate([mine[b], each[b, g]])
            for t in range(width):
                a = values[b, t] @ array(net.projection.weight).T
                inputs[b, g, t] = np.concatenate([a, query, a - query, a * query])
    score = mlp(net.mlp, inputs.reshape(-1, inputs.shape[-1]), training).reshape(rows, groups, width)
    got, weight = net(
        torch.from_numpy(values), torch.from_numpy(mine), torch.from_numpy(theirs) if target else None, mask
    )
    for b in range(rows):
        for g in range(groups):
            e = np.exp(score[b, g, : length[b]] - score[b, g, : length[b]].max())
            want = (e / e.sum()) @ values[b, : length[b]]
            np.testing.assert_allclose(array(got[b, g]), want, **TIGHT)
            np.testing.assert_allclose(array(weight[b, g, : length[b]]), e / e.sum(), **TIGHT)
            assert (weight[b, g, length[b] :] == 0).all()


def gru(net: TensorFlowGRU, x: Array, h: Array) -> Array:
    z = sigmoid(np.concatenate([x, h]) @ array(net.gates.weight).T + array(net.gates.bias))
    r, u = np.split(z, 2)
    c = np.tanh(np.concatenate([x, r * h]) @ array(net.candidate.weight).T + array(net.candidate.bias))
    return u * h + (1 - u) * c


def lstm(net: Any, x: Array, c: Array, m: Array, a: float | None = None, b: float | None = None) -> tuple[Array, Array]:
    i, j, f, o = np.split(np.concatenate([x, m]) @ array(net.gates.weight).T + array(net.gates.bias), 4)
    kept, added = sigmoid(f + 1), sigmoid(i)
    if a is not None:
        n = np.tanh(b * array(net.now.weight)[:, 0] + array(net.now.bias))
        first = np.tanh(a * array(net.first.weight)[:, 0] + array(net.first.bias))
        now_gate = x @ array(net.now_gate.weight).T + array(net.now_gate.bias) + n @ array(net.now_to_gate.weight).T
        first_gate = x @ array(net.first_gate.weight).T + array(net.first_gate.bias)
        first_gate = first_gate + first @ array(net.first_to_gate.weight).T
        o = o + n @ array(net.now_to_output.weight).T + first @ array(net.first_to_output.weight).T
        kept, added = kept * sigmoid(first_gate), added * sigmoid(now_gate)
    c = kept * c + added * np.tanh(j)
    return c, sigmoid(o) * np.tanh(c)


@pytest.mark.parametrize("start", [True, False])
def test_gru(start: bool) -> None:
    rng = np.random.default_rng(3)
    net = away_from_start(TensorFlowGRU(4, 5))
    length, mask = lengths_and_mask(rng, 6, 7)
    x, h0 = rng.normal(size=(6, 7, 4)), rng.normal(size=(6, 5)) if start else np.zeros((6, 5))
    outputs, state = net(torch.from_numpy(x), mask, torch.from_numpy(h0) if start else None)
    for b in range(6):
        h = h0[b]
        for t in range(length[b]):
            h = gru(net, x[b, t], h)
            np.testing.assert_allclose(array(outputs[b, t]), h, **TIGHT)
        np.testing.assert_allclose(array(state[b]), h, **TIGHT)
        assert (outputs[b, length[b] :] == 0).all()


@pytest.mark.parametrize("timed", [True, False])
def test_lstm(timed: bool) -> None:
    rng = np.random.default_rng(4)
    net = away_from_start(Time4LSTM(5, 5) if timed else TensorFlowLSTM(5, 5))
    length, mask = lengths_and_mask(rng, 6, 7)
    x, a, b = rng.normal(size=(6, 7, 5)), rng.normal(size=(6, 7)), rng.normal(size=(6, 7))
    times = [torch.from_numpy(a), torch.from_numpy(b)] if timed else []
    outputs, state = net(torch.from_numpy(x), *times, mask)
    for row in range(6):
        c = m = np.zeros(5)
        for t in range(length[row]):
            c, m = lstm(net, x[row, t], c, m, *((a[row, t], b[row, t]) if timed else ()))
            np.testing.assert_allclose(array(outputs[row, t]), m, **TIGHT)
        np.testing.assert_allclose(array(state[row]), m, **TIGHT)
        assert (outputs[row, length[row] :] == 0).all()


def test_what_is_behind_the_end_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    _, mask = lengths_and_mask(rng, 4, 6)
    x = torch.from_numpy(rng.normal(size=(4, 6, 5)))
    other = torch.where(mask.unsqueeze(-1), x, torch.full_like(x, 7.0))
    for net in (away_from_start(TensorFlowGRU(5, 5)), away_from_start(TensorFlowLSTM(5, 5))):
        for got, want in zip(net(other, mask), net(x, mask), strict=True):
            torch.testing.assert_close(got, want)


def test_time4lstm_needs_equal_sizes() -> None:
    with pytest.raises(ValueError, match="hidden must equal inputs"):
        Time4LSTM(4, 5)


def test_time_inputs() -> None:
    rng = np.random.default_rng(6)
    length, mask = lengths_and_mask(rng, 5, 6)
    times = np.sort(1.5e9 + rng.integers(0, 10**6, (5, 6)), axis=1) * mask.numpy()
    origin, now, unit = times[:, 0] - 5e5, times.max(1) + rng.integers(0, 1000, 5), 86.4
    from_first, to_now = time_inputs(*(torch.from_numpy(v) for v in (times, mask.numpy(), origin, now)), unit)
    for b in range(5):
        for t in range(6):
            if t >= length[b]:
                assert from_first[b, t] == to_now[b, t] == 0
                continue
            following = now[b] if t == length[b] - 1 else times[b, t + 1]
            want = np.log(max((following - origin[b]) / unit, 0.5)), np.log(max((now[b] - times[b, t]) / unit, 0.5))
            np.testing.assert_allclose((from_first[b, t], to_now[b, t]), want, rtol=1e-6, atol=1e-6)


def test_time_inputs_tell_seconds_apart_that_float32_cannot() -> None:
    times = torch.tensor([[1.5e9, 1.5e9 + 100]], dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    now = times[:, 1] + 1
    _, to_now = time_inputs(times, mask, times[:, 0], now, 1.0)
    np.testing.assert_allclose(to_now.numpy(), np.log([[101.0, 1.0]]), atol=1e-6)


def test_parameters_at_the_published_sizes() -> None:
    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(TargetAttention(40, 40)) == 18_001
    assert count(TensorFlowGRU(40, 40)) == 9_720
    assert count(Time4LSTM(40, 40)) == 22_800
    assert count(TargetAttention(40, 40, 40)) == 32_401
    assert count(BatchNormMLP(80, (100, 64))) == 14_957


def test_a_single_row_is_normalised_as_in_evaluation() -> None:
    """It has no variance of its own, and leaves no trace in the running statistics."""
    mlp = away_from_start(BatchNormMLP(3, (4, 2)))
    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = {name: buffer.clone() for name, buffer in mlp.named_buffers()}
    trained = mlp.train()(x)
    assert all(torch.equal(buffer, before[name]) for name, buffer in mlp.named_buffers())
    assert torch.equal(trained, mlp.eval()(x))
