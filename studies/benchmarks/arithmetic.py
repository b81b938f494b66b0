"""FLOPs of a step, the rate at which this machine multiplies matrices, and the memory that a step takes.

Shape suffixes: M rows (clips × frames × tokens), D width.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from sefar.config import TrainConfig
from sefar.models.cpu_kernels import linear
from sefar.models.timesformer import ARCHITECTURES
from studies.benchmarks.turns import Side, in_turns

MEMORY_EVENT = "[memory]"  # the profiler's name for an allocation or its end


def _attention_flops(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: object, **__: object) -> int:
    batch, heads, queries, width = q
    return 2 * batch * heads * queries * k[2] * (width + v[3])


def _attention_backward_flops(grad: Sequence[int], *qkv: Sequence[int], **__: object) -> int:
    return 5 * _attention_flops(*qkv[:3]) // 2  # five products, two of them forward's


COUNTED: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}
"""What torch's counter leaves out on a CPU. Attention over few frames is no matrix product here and stays out: it is a
thousandth of a block's work."""


def count_flops(work: Callable[[], object]) -> int:
    """FLOPs of matrix products, convolutions and attention, forward and backward; a multiply-add counts 2."""
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        work()
    return int(counter.get_total_flops())


def peak_bytes(work: Callable[[], object], device: str = "cpu") -> int:
    """Most bytes of tensors that the work holds at a time beyond those that were there before."""
    if device.startswith("cuda"):
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        work()
    assert found.profiler is not None and found.profiler.kineto_results is not None
    events = [e for e in found.profiler.kineto_results.events() if e.name() == MEMORY_EVENT]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def matrix_products(
    config: TrainConfig, clips: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Side], dict[str, float]]:
    """The matrix products of a block as they are on so many clips, and a large square one.

    Returns:
        What does each once, and its FLOPs.
    """
    arch = ARCHITECTURES[config.model.name]
    rows = clips * sum(config.sampling.frames_per_granularity) * (config.views.size // arch.patch) ** 2
    width, hidden = arch.width, arch.mlp_ratio * arch.width
    shapes = {
        "qkv": (rows, width, 3 * width),
        "proj": (rows, width, width),
        "mlp in": (rows, width, hidden),
        "mlp out": (rows, hidden, width),
        "square": (2048, 2048, 2048),
    }
    sides: dict[str, Side] = {}
    for name, (m, k, n) in shapes.items():
        a, b, out = (torch.randn(*shape, device=device, dtype=dtype) for shape in ((m, k), (k, n), (m, n)))
        sides[name] = partial(torch.mm, a, b, out=out)
        if device == "cpu" and dtype == torch.float32:
            sides[f"{name}, oneDNN"] = partial(linear, a, b.t().contiguous(), torch.zeros(n))
    return sides, {name: 2.0 * m * k * n for name, (m, k, n) in shapes.items()}


def matrix_rate(
    config: TrainConfig, clips: int, *, repeats: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[float, float]:
    """FLOP/s of the products of a block, with the same clips a call as the step has, and of a large square product.

    On a CPU each product counts as fast as the faster of MKL (`torch.mm`) and oneDNN makes it.

    A block has two qkv products, two projections (the temporal one has become one with `temporal_fc`), and the MLP's
    two.
    """
    sides, flops = matrix_products(config, clips, device, dtype)
    found = {name: statistics.median(s) for name, s in in_turns(sides, repeats, device=device).items()}
    for name in flops:
        found[name] = min(found[name], found.get(f"{name}, oneDNN", math.inf))
    counts = {"qkv": 2, "proj": 2, "mlp in": 1, "mlp out": 1}
    total = sum(count * flops[name] for name, count in counts.items())
    return total / sum(count * found[name] for name, count in counts.items()), flops["square"] / found["square"]
