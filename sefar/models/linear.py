"""Linear maps, by whichever library is fastest where they run."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sefar.models import cpu_kernels


def linear(x: Tensor, weight_OK: Tensor, bias_O: Tensor) -> Tensor:
    """X wᵀ + b over the last axis."""
    if cpu_kernels.takes(x):
        return cpu_kernels.linear(x, weight_OK, bias_O)
    return F.linear(x, weight_OK, bias_O)


class Linear(nn.Linear):
    """`torch.nn.Linear` that computes by `linear`; always with a bias."""

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        return linear(x, self.weight, self.bias)


class Mlp(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = Linear(width, hidden), Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        return self.fc2(F.gelu(self.fc1(x)))
