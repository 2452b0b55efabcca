"""The multi-layer perceptron of CLSR: linear, batch normalisation, rectifier, and a plain last layer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn


def truncated_normal_(weight: Tensor, std: float = 0.01) -> Tensor:
    """TensorFlow's truncated normal: nothing beyond two standard deviations."""
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def linear(inputs: int, outputs: int, bias: float | None = 0.0) -> nn.Linear:
    """A linear layer that starts from the truncated normal, with a constant bias or none."""
    layer = nn.Linear(inputs, outputs, bias=bias is not None)
    truncated_normal_(layer.weight)
    if bias is not None:
        nn.init.constant_(layer.bias, bias)
    return layer


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over all dimensions but the last, with the constants of the published code."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=1e-4, momentum=0.05)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if self.training and len(rows) == 1:  # one row has no variance
            normal = nn.functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
            return normal.view(x.shape)
        return super().forward(rows).view(x.shape)


class BatchNormMLP(nn.Module):
    """Hidden layers of ``Linear -> BatchNorm -> ReLU`` and a last ``Linear``.

    Args:
        inputs: size of the input.
        hidden: size of each hidden layer.

    Shapes:
        x: ``[..., inputs]``; in training the statistics run over all leading dimensions.
        returns: ``[...]``, one number each.
    """

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = itertools.pairwise([inputs, *hidden, 1])
        self.linears = nn.ModuleList(linear(before, after) for before, after in sizes)
        self.norms = nn.ModuleList(BatchNorm(size) for size in hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.after_first(self.linears[0](x))

    def after_first(self, first: Tensor) -> Tensor:
        """The rest, from the output of the first linear layer ``[..., hidden[0]]``."""
        x = first
        for norm, layer in zip(self.norms, self.linears[1:], strict=True):
            x = layer(norm(x).relu())
        return x.squeeze(-1)
