"""Timing in turns, so that a busy machine slows all sides alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

Side = Callable[[], object]
"""Does the work of one side once."""


def synchronise(device: str = "cpu") -> None:
    """Wait for what a GPU has been given to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def in_turns(sides: Mapping[str, Side], repeats: int, *, device: str = "cpu", warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each side, a value a repeat; every repeat runs all sides, in an order that turns round.

    Args:
        sides: the ways to do the same.
        repeats: that are counted.
        device: waited for before the clock is read.
        warm: repeats that come first and are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for repeat in range(-warm, repeats):
        # the order alternates, or whoever follows the heaviest side would always meet its caches
        for name in names if repeat % 2 == 0 else reversed(names):
            synchronise(device)
            started = time.perf_counter()
            sides[name]()
            synchronise(device)
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, for OpenCV and FFmpeg would share a clip's work out among all."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
