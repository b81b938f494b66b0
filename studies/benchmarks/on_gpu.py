"""What only matters on a GPU: how many clips fit in the plain way's memory, and whether steps are compiled again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from studies.benchmarks.turns import Side

SETTLED = 3
"""Steps after which nothing is to be compiled any more."""


def compiled_graphs() -> int:
    """Graphs that this process has compiled so far, the same one for other shapes included."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def late_compilations(step: Side, steps: int = 5) -> int:
    """Graphs that are compiled in the `steps` steps after the first `SETTLED`."""
    for _ in range(SETTLED):
        step()
    before = compiled_graphs()
    for _ in range(steps):
        step()
    return compiled_graphs() - before


def most_within(memory: int, taken: Callable[[int], int], start: int, cap: int = 4096) -> int:
    """The largest batch that a memory holds, up to 5 %.

    Args:
        memory: bytes.
        taken: bytes that a batch of so many takes; grows about evenly, and is asked a few times only.
        start: a batch to begin with.
        cap: a batch that is not exceeded, for memory that hardly grows.

    Returns:
        The batch, 0 where not even one clip fits.
    """
    small, large = start, 2 * start
    at_small, at_large = taken(small), taken(large)
    growth = (at_large - at_small) / (large - small)
    if growth <= 0:
        return cap if at_large <= memory else 0
    batch = min(cap, math.floor(small + (memory - at_small) / growth))
    while batch > 0 and taken(batch) > memory:
        batch = min(batch - 1, math.floor(batch * 0.95))
    return max(batch, 0)
