"""What `throughput.py` measures: side by side, in turns, so that a busy machine slows all ways alike."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sefar.data import framestore
from sefar.data.augment import ViewConfig
from sefar.data.decode import decode_clip, decode_frames
from sefar.data.framestore import FrameStore
from sefar.data.loaders import BatchSource, LoaderConfig
from sefar.data.sampling import SamplingConfig, sample_frames
from studies.throughput_clips import KEY_FRAMES, make_clips, release_read

VIEWS, SAMPLING = ViewConfig(), SamplingConfig()
SHORT_SIDE = VIEWS.short_side[1]
PROCESSES = 8
CORE = "clip, processor time"
Read = Callable[[str, np.ndarray], object]
"""Reads frames, by number, of a clip."""


@dataclass(frozen=True)
class Case:
    """Ways to do the same, timed.

    Attributes:
        question: in a line.
        seconds: of each way, a value a repeat, for one `unit`.
        unit: what the seconds are for.
        baseline: the way that the others are compared with.
        targets: how many times as fast a way is meant to be.
        notes: lines below the table.
    """

    question: str
    seconds: dict[str, list[float]]
    unit: str
    baseline: str
    targets: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def ratio(self, way: str) -> float:
        """How many times as fast as the baseline: the median over repeats."""
        pairs = zip(self.seconds[self.baseline], self.seconds[way], strict=True)
        return statistics.median(base / own for base, own in pairs)


def timed(ways: dict[str, Read], clips: list[str], repeats: int) -> dict[str, list[float]]:
    """Processor seconds a clip of each way, a value a repeat: what it would take on a core that does nothing else.

    All ways read the same frames of a clip, one after the other, from files in memory, on one core, as a loader's
    worker has.
    """
    rng, seconds = np.random.default_rng(0), {way: [0.0] * repeats for way in ways}
    lengths = {clip: len(decode_clip(clip)) for clip in clips}
    for repeat in range(-1, repeats):  # the first is for loading libraries
        for clip in clips:
            numbers = sample_frames(lengths[clip], SAMPLING, rng)
            for way, read in ways.items():
                started = time.process_time()
                read(clip, numbers)
                if repeat >= 0:
                    seconds[way][repeat] += (time.process_time() - started) / len(clips)
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


def decode_cases(folder: Path, clips: int, repeats: int) -> list[Case]:
    """One batched read of a view against the release's way, for each way to place key frames."""
    cases: list[Case] = []
    for name, options in KEY_FRAMES.items():
        paths = make_clips(folder / f"decode-{len(cases)}", clips, options)
        ways: dict[str, Read] = {
            "release: two passes of single-frame seeks, enlarged to 480": lambda p, n: release_read(p, n.tolist()),
            "one batched read": lambda p, n: decode_frames(p, n.tolist(), max_short_side=SHORT_SIDE),
        }
        baseline, batched = ways
        with one_core():
            seconds = timed(ways, paths, repeats)
        rate = np.mean([8 * os.path.getsize(path) / 1000 / (len(decode_clip(path)) / 25) for path in paths])
        question, note = f"The 8 frames of a view, key frames {name}", f"The clips have {rate:.0f} kbit/s."
        cases.append(Case(question, seconds, CORE, baseline, {batched: 5}, (note,)))
    return cases


def store_cases(folder: Path, clips: int, repeats: int) -> list[Case]:
    """A view out of the warm frame store against decoding it."""
    paths = make_clips(folder / "store", clips, KEY_FRAMES["every 8"])
    stores = {e: FrameStore(folder / f"frames-{e}", max_short_side=SHORT_SIDE, encoding=e) for e in ("raw", "jpeg")}

    def reader(store: FrameStore) -> Read:
        for path in paths:
            store.frames(path, 0, -1)

        def read(path: str, numbers: np.ndarray) -> object:
            store.close()  # as in a scope of more clips than stay mapped
            return store.frames(path, 0, -1)[numbers]

        return read

    decoding = "decoding the 8 frames"
    ways: dict[str, Read] = {
        decoding: lambda path, n: decode_frames(path, n.tolist(), max_short_side=SHORT_SIDE),
        "decoding the whole clip": lambda path, n: decode_clip(path, max_short_side=SHORT_SIDE)[n],
        "warm store, raw": reader(stores["raw"]),
        "warm store, JPEG": reader(stores["jpeg"]),
    }
    with one_core():
        seconds = timed(ways, paths, repeats)
    sizes = {e: sum(f.stat().st_size for f in s.root.glob("??/*")) / 1e6 / clips for e, s in stores.items()}
    return [
        Case(
            "The 8 frames of a view out of the frame store, key frames every 8",
            seconds,
            CORE,
            decoding,
            {"warm store, raw": 10, "warm store, JPEG": 10},
            (f"A clip takes {sizes['raw']:.1f} MB raw and {sizes['jpeg']:.1f} MB as JPEG.",),
        ),
        cold_case(folder, paths),
    ]


def cold_case(folder: Path, paths: list[str]) -> Case:
    """Eight processes fill one cold store; each counts what it decodes."""
    context = multiprocessing.get_context("spawn")
    seconds, notes = {}, []
    for processes in (1, PROCESSES):
        out, barrier = context.Queue(), context.Barrier(processes + 1)
        root = str(folder / f"cold-{processes}")
        made = [context.Process(target=_fill, args=(root, paths, seed, barrier, out)) for seed in range(processes)]
        for process in made:
            process.start()
        barrier.wait()
        started = time.perf_counter()
        decoded = sum((out.get() for _ in made), Counter[str]())
        seconds[f"{processes} process{'es' if processes > 1 else ''}"] = [(time.perf_counter() - started) / len(paths)]
        for process in made:
            process.join()
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


def loader_cases(folder: Path, clips: int, repeats: int) -> list[Case]:
    """Batches by threads, and by processes that need not even hand them over."""
    paths = make_clips(folder / "loader", clips, KEY_FRAMES["every 8"])
    cases = []
    for encoding, title in (("off", "decoding on the fly"), ("raw", "from the warm raw store")):
        sources = {f"{n} thread{'s' if n > 1 else ''}": _source(folder, paths, encoding, n) for n in (1, 2)}
        _take(sources["1 thread"], 2)  # warm
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(3)
        halves = [context.Process(target=_half, args=(folder, paths, encoding, repeats, barrier)) for _ in range(2)]
        for process in halves:
            process.start()
        barrier.wait()  # they have started
        seconds: dict[str, list[float]] = {way: [] for way in [*sources, "2 processes, batches not handed over"]}
        for _ in range(repeats):
            for way, source in sources.items():
                seconds[way].append(_take(source, 8) / 8)
            started = time.perf_counter()
            barrier.wait()  # go
            barrier.wait()  # both are done
            seconds["2 processes, batches not handed over"].append((time.perf_counter() - started) / 8)
        for process in halves:
            process.join()
        for source in sources.values():
            source.close()
        cases.append(Case(f"Batches of 2 + 6 clips (14 views), {title}", seconds, "batch", "1 thread"))
    return cases


def _source(folder: Path, paths: list[str], encoding: str, workers: int) -> BatchSource:
    table = pd.DataFrame({"clip_id": paths, "path": paths, "label": 0, "start_frame": 0, "end_frame": -1})
    store = FrameStore(folder / "frames-loader", max_short_side=SHORT_SIDE, encoding=encoding)
    loader = LoaderConfig(labelled=2, unlabelled_ratio=3, workers=workers)
    return BatchSource(table, table, store=store, loader=loader, sampling=SAMPLING, views=VIEWS, seed=0)


def _take(source: BatchSource, count: int) -> float:
    started = time.perf_counter()
    for _ in source.batches(range(count), with_unlabelled=True):
        pass
    return time.perf_counter() - started


def _half(folder: Path, paths: list[str], encoding: str, repeats: int, barrier: Any) -> None:
    torch.set_num_threads(1)
    source = _source(folder, paths, encoding, workers=0)
    _take(source, 1)
    barrier.wait()
    for _ in range(repeats):
        barrier.wait()
        _take(source, 4)
        barrier.wait()
