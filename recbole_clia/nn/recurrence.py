"""A gated linear recurrence: as causal as a GRU, and nearly all of it is one matrix product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def carry_by_steps(keep: Tensor, state: Tensor, back: bool = False) -> None:
    """``state_t += keep_t state_{t-1}`` for ``t`` from 1 on; ``back``, ``state_{t-1} += keep_t state_t`` from the end.

    Args:
        keep: ``[B, L, H]``.
        state: ``[B, L, H]``, changed in place.
    """
    kept, steps = keep.unbind(1), state.unbind(1)
    if back:
        for t in range(len(steps) - 1, 0, -1):
            steps[t - 1].addcmul_(kept[t], steps[t])
    else:
        for t in range(1, len(steps)):
            steps[t].addcmul_(kept[t], steps[t - 1])


def carry_by_doubling(keep: Tensor, state: Tensor, back: bool = False) -> None:
    """What :func:`carry_by_steps` does, in ``log2(L)`` passes over all steps at once.

    After a pass a state holds what the steps nearer than ``distance`` have given it (Hillis and Steele, "Data Parallel
    Algorithms", CACM 1986).  It is more arithmetic, and many times fewer launches on a GPU.
    """
    distance, factor = 1, keep[:, 1:]  # [B, L - distance, H], what is kept from t - distance to t
    while distance < state.shape[1]:
        earlier, later = state[:, :-distance], state[:, distance:]
        if back:
            earlier += factor * later
        else:
            later += factor * earlier
        factor = factor[:, distance:] * factor[:, :-distance]
        distance *= 2


def _carry(keep: Tensor, state: Tensor, back: bool = False) -> None:
    by = carry_by_steps if state.device.type == "cpu" else carry_by_doubling
    by(keep, state, back)


class _GatedScan(torch.autograd.Function):
    """From gates to outputs in a few passes over memory, and one multiply-add a step in each direction."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor) -> Tensor:
        update, candidate, output = gates.chunk(3, -1)  # [B, L, H] each
        update, candidate, output = update.sigmoid(), candidate.tanh(), output.sigmoid()
        keep = 1 - update  # [B, L, H]
        state = update * candidate  # [B, L, H]
        _carry(keep, state)
        ctx.save_for_backward(update, keep, candidate, output, state)
        return output * state  # [B, L, H]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        update, keep, candidate, output, state = ctx.saved_tensors  # [B, L, H] each
        flow = grad * output  # [B, L, H], to become the gradient of the state
        _carry(keep, flow, back=True)
        grad_gates = grad.new_empty((*grad.shape[:-1], 3 * grad.shape[-1]))  # [B, L, 3H]
        grad_update, grad_candidate, grad_output = grad_gates.chunk(3, -1)
        change = candidate.clone()  # c_t - h_{t-1}, what the update gate lets in
        change[:, 1:] -= state[:, :-1]
        torch.mul(change.mul_(flow), keep, out=grad_update).mul_(update)
        torch.mul(flow.mul_(update), 1 - candidate.square(), out=grad_candidate)
        torch.mul(grad, state, out=grad_output).mul_(output).mul_(1 - output)
        return grad_gates


def gated_scan(gates: Tensor) -> Tensor:
    """Run the recurrence of :class:`GatedLinearRecurrence` on its gates, before their nonlinearities.

    Args:
        gates: ``[B, L, 3H]``, update, candidate and output gate side by side.

    Returns:
        ``[B, L, H]``, the outputs. It can be differentiated once.
    """
    result: Tensor = _GatedScan.apply(gates)
    return result


class GatedLinearRecurrence(nn.Module):
    """A recurrence whose gates look at the input only::

        z_t = sigmoid(W_z x_t + b_z)    c_t = tanh(W_c x_t + b_c)    o_t = sigmoid(W_o x_t + b_o)
        h_t = (1 - z_t) h_{t-1} + z_t c_t
        output_t = o_t h_t

    Without the previous state in the gates (Bradbury et al., "Quasi-Recurrent Neural Networks",
    ICLR 2017; Martin and Cundy, "Parallelizing Linear Recurrent Neural Nets Over Sequence Length",
    ICLR 2018) one product serves all positions, and a step is one multiply-add.

    Args:
        dim: size ``D`` of the inputs.
        hidden_size: size ``H`` of the states.
    """

    def __init__(self, dim: int, hidden_size: int) -> None:
        super().__init__()
        self.gates = nn.Linear(dim, 3 * hidden_size)

    def forward(self, items: Tensor) -> Tensor:
        """``[B, L, D] -> [B, L, H]``; position ``t`` never sees past ``t``."""
        return gated_scan(self.gates(items))
