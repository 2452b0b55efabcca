"""In which numbers the logits of training are computed."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = ("auto", "float32", "bfloat16")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; a CPU that does not is slower than with float32."""
    return device.type != "cpu" or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def logits_dtype(name: str, weight: Tensor) -> torch.dtype:
    """The type that ``name``, one of :data:`DTYPES`, means for a model with these weights.

    ``auto`` is bfloat16 on a CPU that multiplies it natively, which halves the time of the softmax, and the model's own
    type elsewhere.  A model in double precision stays in it.
    """
    if weight.dtype != torch.float32:
        return weight.dtype
    if name == "auto":
        return torch.bfloat16 if weight.device.type == "cpu" and multiplies_bfloat16(weight.device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
