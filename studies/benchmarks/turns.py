"""Timing in turns, so that a busy machine slows all sides alike."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

from studies.benchmarks.children import BenchmarkError, Children

Side = Callable[[], object]
"""Does the work of one side once."""


def synchronise(device: str = "cpu") -> None:
    """Wait for what a GPU has been given to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def in_turns(sides: Mapping[str, Side], repeats: int, *, device: str = "cpu", warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each side, a value a repeat; every repeat runs all sides: two by turns first, more in a drawn order.

    Args:
        sides: the ways to do the same.
        repeats: that are counted.
        device: waited for before the clock is read.
        warm: repeats that come first and are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names, rng = list(sides), random.Random(0)
    for repeat in range(-warm, repeats):
        # another order each time, or whoever follows the heaviest side would always meet its caches
        if len(names) > 2:
            rng.shuffle(names)
        else:
            names.reverse()
        for name in names:
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


@contextmanager
def apart(make: Callable[..., Side], *arguments: object) -> Iterator[Side]:
    """A side that works in a process of its own, which waits between its turns.

    Args:
        make: makes the side there; importable, as are its arguments.
        arguments: of `make`.

    Raises:
        BenchmarkError: the process has ended; what ended it is on its standard error.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, torch.get_num_threads(), make, arguments))
    with Children([process]) as children:
        theirs.close()

        def turn() -> None:
            try:
                ours.send(True)
                ours.recv()
            except (EOFError, OSError) as error:
                children.wait()
                raise BenchmarkError(
                    f"the process of a side ended with exit code {process.exitcode}; what it said is above"
                ) from error

        try:
            yield turn
        finally:
            ours.close()


def _serve(turns: Connection, count: int, make: Callable[..., Side], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(count)
    side = make(*arguments)
    while True:
        try:
            turns.recv()
        except EOFError:
            return
        side()
        turns.send(True)
