"""What only matters on a GPU: how many clips fit in the plain way's memory, and whether steps are compiled again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from studies.benchmarks.turns import Side

SETTLED = 3
"""Steps after which nothing is to be compiled any more."""
ASKED = 12
"""Batches that are tried at most to fill a memory."""


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
    """The largest batch that a memory holds, to 5 %; to less where `taken` is far from even growth.

    Args:
        memory: bytes.
        taken: bytes that a batch of so many takes, which grow with it; asked at most `ASKED` times.
        start: a batch to begin with.
        cap: a batch that is not exceeded, for memory that hardly grows.

    Returns:
        The largest batch that was found to fit; 0 where none was.
    """
    fits, fails, known, batch = 0, cap + 1, {0: 0.0}, start
    for _ in range(ASKED):
        try:
            known[batch] = taken(batch)
        except torch.OutOfMemoryError:
            known[batch] = math.inf
        fits, fails = (max(fits, batch), fails) if known[batch] <= memory else (fits, min(fails, batch))
        if fails - fits <= max(1, fits // 20):
            break
        # on a line through the last two, but never far beyond what has fitted
        (one, at_one), (two, at_two) = list(known.items())[-2:]
        growth = (at_two - at_one) / (two - one)
        guess = math.floor(two + (memory - at_two) / growth) if 0 < growth < math.inf else fails
        if guess >= fails:
            guess = (fits + fails) // 2
        elif guess <= fits:
            guess = fits + max(1, fits // 20)
        batch = min(guess, 4 * max(fits, start))
    return fits
