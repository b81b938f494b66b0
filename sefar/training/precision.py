"""In what numbers the networks compute: bfloat16 where a GPU is made for it, float32 elsewhere; and compilation.

Only the networks' calls run under `autocast`. Weights, their average in the teacher, losses and softmax stay float32;
bfloat16 has the range of float32, so no loss scaling is needed.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

import torch

from sefar.models.granularity import SefarNet

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "float32", "bfloat16")


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What the networks compute in on the device: ``auto`` is bfloat16 on a GPU that has it, float32 elsewhere."""
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not native:
        log.warning(
            "optim.precision=bfloat16 on %s: hardware that lacks it, as most CPUs do, emulates it, up to 50 times "
            "slower than float32; auto takes it only where it is fast",
            device,
        )
    return torch.bfloat16 if precision == "bfloat16" or (precision == "auto" and native) else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A fresh context in which matrix products and convolutions compute in `dtype`; float32 changes nothing."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def compile_encoder(net: SefarNet) -> None:
    """Compile the encoder's blocks in place, where nearly all the work is.

    The module itself stays what it was, so the names in its state dict are the plain ones, and a deep copy (the
    teacher) is not compiled and never runs the student's code: compile it too.
    """
    net.encoder.compile()
