"""CLSR's recurrences over right-padded histories, as TensorFlow 1 computes them.

A state stays as it is past the end of its history, and the outputs there are 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .mlp import linear


class TensorFlowGRU(nn.Module):
    """TensorFlow's GRU: ``r, u = sigmoid([x, h] W + b)``, ``c = tanh([x, r * h] W + b)``, ``h' = u h + (1 - u) c``.

    The reset multiplies ``h`` before the product, which ``torch.nn.GRU`` does after it.  Gate biases start at 1.

    Args:
        inputs, hidden: sizes.

    Shapes:
        x: ``[B, L, inputs]``; mask: boolean ``[B, L]``; start: ``[B, hidden]``, or zeros.
        returns: outputs ``[B, L, hidden]`` and the final state ``[B, hidden]``.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = linear(inputs + hidden, 2 * hidden, 1.0)
        self.candidate = linear(inputs + hidden, hidden)

    def forward(self, x: Tensor, mask: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        split = x.shape[-1]
        state = x.new_zeros(x.shape[0], self.hidden) if start is None else start
        # What does not depend on the state is one product for all positions.
        gates_x = x @ self.gates.weight[:, :split].T + self.gates.bias  # [B, L, 2 H]
        candidate_x = x @ self.candidate.weight[:, :split].T + self.candidate.bias  # [B, L, H]
        gates_h, candidate_h = self.gates.weight[:, split:].T, self.candidate.weight[:, split:].T
        outputs = []
        for t in range(x.shape[1]):
            reset, update = torch.sigmoid(gates_x[:, t] + state @ gates_h).chunk(2, dim=-1)  # [B, H] each
            candidate = torch.tanh(candidate_x[:, t] + (reset * state) @ candidate_h)  # [B, H]
            new = update * state + (1 - update) * candidate  # [B, H]
            is_item = mask[:, t, None]
            state = torch.where(is_item, new, state)
            outputs.append(new.masked_fill(~is_item, 0))
        return torch.stack(outputs, 1), state


class TensorFlowLSTM(nn.Module):
    """TensorFlow's LSTM.

    ``[i, j, f, o] = [x, m] W + b``, ``c = sigmoid(f + 1) c + sigmoid(i) tanh(j)``, ``m = sigmoid(o) tanh(c)``.

    Shapes as :class:`TensorFlowGRU`, without a start.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = linear(inputs + hidden, 4 * hidden)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return _run_lstm(self.gates, x, mask, self.hidden, None)


class Time4LSTM(nn.Module):
    """CLSR's LSTM with gates for the time since the first interaction and until now.

    With ``a`` and ``b`` these two times of an item::

        n = tanh(b w1 + c1)                      l = tanh(a w2 + c2)
        Tn = x Wt1 + n Kt1 + bt1                 Tl = x Wt2 + l Kt2 + bt2
        [i, j, f, o] = [x, m] W + bias           o += n Ko1 + l Ko2
        c = sigmoid(f + 1) sigmoid(Tl) c + sigmoid(i) sigmoid(Tn) tanh(j)
        m = sigmoid(o) tanh(c)

    Args:
        inputs, hidden: sizes, which must be equal.

    Shapes:
        x: ``[B, L, inputs]``; from_first, to_now: ``[B, L]``; mask: boolean ``[B, L]``.
        returns: outputs ``[B, L, hidden]`` and the final state ``[B, hidden]``.

    Raises:
        ValueError: if the sizes differ.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        if inputs != hidden:
            raise ValueError(f"Time4LSTM: hidden must equal inputs ({inputs}), not {hidden}")
        self.hidden = hidden
        self.gates = linear(inputs + hidden, 4 * hidden)
        self.now, self.first = linear(1, hidden), linear(1, hidden)  # w1, c1 and w2, c2
        self.now_gate, self.first_gate = linear(inputs, hidden), linear(inputs, hidden)  # Wt1, bt1 and Wt2, bt2
        self.now_to_gate, self.first_to_gate = linear(hidden, hidden, None), linear(hidden, hidden, None)  # Kt
        self.now_to_output, self.first_to_output = linear(hidden, hidden, None), linear(hidden, hidden, None)  # Ko

    def forward(self, x: Tensor, from_first: Tensor, to_now: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        now = torch.tanh(self.now(to_now.unsqueeze(-1)))  # [B, L, H]
        first = torch.tanh(self.first(from_first.unsqueeze(-1)))  # [B, L, H]
        gate_new = torch.sigmoid(self.now_gate(x) + self.now_to_gate(now))  # [B, L, H]
        gate_kept = torch.sigmoid(self.first_gate(x) + self.first_to_gate(first))  # [B, L, H]
        output = self.now_to_output(now) + self.first_to_output(first)  # [B, L, H]
        return _run_lstm(self.gates, x, mask, self.hidden, (gate_new, gate_kept, output))


def _run_lstm(
    gates: nn.Linear, x: Tensor, mask: Tensor, hidden: int, time: tuple[Tensor, Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    split = x.shape[-1]
    gates_x = x @ gates.weight[:, :split].T + gates.bias  # [B, L, 4 H]
    gates_m = gates.weight[:, split:].T
    cell = state = x.new_zeros(x.shape[0], hidden)
    outputs = []
    for t in range(x.shape[1]):
        i, j, f, o = (gates_x[:, t] + state @ gates_m).chunk(4, dim=-1)  # [B, H] each
        kept, added = torch.sigmoid(f + 1), torch.sigmoid(i)
        if time is not None:
            gate_new, gate_kept, output = time
            kept, added, o = kept * gate_kept[:, t], added * gate_new[:, t], o + output[:, t]
        new_cell = kept * cell + added * torch.tanh(j)
        new = torch.sigmoid(o) * torch.tanh(new_cell)  # [B, H]
        is_item = mask[:, t, None]
        cell, state = torch.where(is_item, new_cell, cell), torch.where(is_item, new, state)
        outputs.append(new.masked_fill(~is_item, 0))
    return torch.stack(outputs, 1), state
