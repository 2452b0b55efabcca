"""A gated linear recurrence: as causal as a GRU, and nearly all of it is one matrix product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Scan(torch.autograd.Function):
    """``h_t = keep_t * h_{t-1} + new_t``, one multiply-add a step in each direction."""

    @staticmethod
    def forward(ctx: Any, keep: Tensor, new: Tensor) -> Tensor:
        # Time first, so that each step is one contiguous block.
        keep_t = keep.transpose(0, 1).contiguous()  # [L, B, H]
        state = new.transpose(0, 1).clone(memory_format=torch.contiguous_format)  # [L, B, H]
        steps = state.unbind(0)
        for kept, before, now in zip(keep_t.unbind(0)[1:], steps, steps[1:], strict=False):
            now.addcmul_(kept, before)
        ctx.save_for_backward(keep_t, state)
        return state.transpose(0, 1)  # [B, L, H]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        keep_t, state = ctx.saved_tensors  # [L, B, H]
        flow = grad.transpose(0, 1).clone(memory_format=torch.contiguous_format)  # [L, B, H]
        steps, kept = flow.unbind(0), keep_t.unbind(0)
        for t in range(len(steps) - 1, 0, -1):
            steps[t - 1].addcmul_(kept[t], steps[t])
        grad_keep = torch.zeros_like(flow)
        torch.mul(flow[1:], state[:-1], out=grad_keep[1:])
        return grad_keep.transpose(0, 1), flow.transpose(0, 1)


def linear_scan(keep: Tensor, new: Tensor) -> Tensor:
    """``h_t = keep_t * h_{t-1} + new_t`` with ``h_0 = 0``, over the second dimension.

    Args:
        keep, new: ``[B, L, H]``.

    Returns:
        ``[B, L, H]``, the states. It can be differentiated once.
    """
    result: Tensor = _Scan.apply(keep, new)
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
        update, candidate, output = self.gates(items).chunk(3, -1)  # [B, L, H] each
        update = torch.sigmoid(update)  # [B, L, H]
        state = linear_scan(1 - update, update * torch.tanh(candidate))  # [B, L, H]
        return torch.sigmoid(output) * state  # [B, L, H]
