"""Interests that stand on their proxies, and say what is learnt beside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProxyResidual(nn.Module):
    """``interest + scale p / |p|``: a user who is a mean of items lives in the space of the items.

    CORE's users are nothing but such a mean (Hou et al., "CORE: Simple and Effective Session-based Recommendation
    within Consistent Representation Space", SIGIR 2022).  The scale is learnt and starts at ``sqrt(D)``.

    Args:
        dim: size ``D`` of interests and proxies.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(dim**0.5))

    def forward(self, interest: Tensor, proxy: Tensor) -> Tensor:
        """``[..., D], [..., D] -> [..., D]``; a proxy of zeros adds nothing."""
        return interest + self.scale * F.normalize(proxy, dim=-1)
