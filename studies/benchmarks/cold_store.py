"""Processes that fill one cold frame store together, and what each decodes."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sefar.data import framestore
from sefar.data.decode import decode_clip, decode_frames
from sefar.data.framestore import FrameStore
from studies.benchmarks.children import Children
from studies.benchmarks.findings import Case
from studies.benchmarks.reading import SHORT_SIDE

PROCESSES = 8
PATIENCE_SECONDS = 1800.0  # after which processes leave whose parent is gone


def cold_case(folder: Path, paths: list[str]) -> Case:
    """Eight processes fill one cold store; each counts what it decodes."""
    context = multiprocessing.get_context("spawn")
    seconds, notes = {}, []
    for processes in (1, PROCESSES):
        out, barrier = context.Queue(), context.Barrier(processes + 1, timeout=PATIENCE_SECONDS)
        root = str(folder / f"cold-{processes}")
        made = [context.Process(target=_fill, args=(root, paths, seed, barrier, out)) for seed in range(processes)]
        with Children(made, barrier) as children:
            children.meet()
            started = time.perf_counter()
            decoded = sum((children.get(out) for _ in made), Counter[str]())
            took = time.perf_counter() - started
        seconds[f"{processes} process{'es' if processes > 1 else ''}"] = [took / len(paths)]
        each = " or ".join(str(count) for count in sorted({decoded[path] for path in paths}))
        notes.append(f"Decodes of a clip by {processes} process{'es' if processes > 1 else ''}: {each}.")
    return Case(
        "Filling a cold store, each process reading all clips", seconds, "clip", "1 process", notes=tuple(notes)
    )


def _fill(root: str, paths: list[str], seed: int, barrier: Any, out: Any) -> None:
    calls: Counter[str] = Counter()

    def counted(path: str, *args: Any, **kwargs: Any) -> np.ndarray:
        calls[path] += 1
        return decode_clip(path, *args, **kwargs)

    framestore.decode_clip = counted  # type: ignore[assignment]
    store = FrameStore(root, max_short_side=SHORT_SIDE)
    decode_frames(paths[0], [0])  # the libraries are loaded
    barrier.wait()
    for number in np.random.default_rng(seed).permutation(len(paths)):
        len(store.frames(paths[number], 0, -1))
    out.put(calls)
