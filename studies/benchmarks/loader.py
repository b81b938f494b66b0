"""Does training wait for data? The share of a step's time that is waiting, and how fast batches are made."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sefar.data.framestore import FrameStore
from sefar.data.loaders import BatchSource, LoaderConfig
from sefar.data.scopes import load_scope
from sefar.recipes import recipe
from sefar.training.heap import keep_heap
from sefar.training.trainer import Trainer
from studies.benchmarks.children import Children
from studies.benchmarks.clips import KEY_FRAMES, make_clips
from studies.benchmarks.cold_store import PATIENCE_SECONDS
from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.benchmarks.reading import SAMPLING, SHORT_SIDE, VIEWS
from studies.benchmarks.turns import threads

WORKERS = (0, 1, 2)
SCOPE = "synthgym/event:FX@1pc#0"
TWO_PROCESSES = "2 processes, batches not handed over"


def run(options: Options) -> Findings:
    """Train on a warm raw store with 0, 1 and 2 workers, and time the making of batches."""
    if options.device == "cpu":
        keep_heap()  # as training does
    waiting, shares = wait_case(options)
    with threads(1):
        batches = batch_cases(options.folder / "batches", options.repeats(10, 2), options.repeats(7, 2))
    figure = Figure(name="loader_wait_share", value=statistics.median(shares[2]), most=0.05)
    return Findings("loader", [waiting, *batches], [figure])


def wait_case(options: Options) -> tuple[Case, dict[int, list[float]]]:
    """Epochs of training at tiny, by workers; and the share of each epoch's time that waited for batches."""
    steps, repeats = options.repeats(20, 6), options.repeats(5, 2)
    trainers = {}
    for workers in WORKERS:
        config = recipe(
            "synthgym_tiny",
            {
                "scope.name": SCOPE,
                "scope.root": options.root,
                "objective.warmup_epochs": 0,
                "optim.epochs": repeats + 1,
                "optim.steps_per_epoch": steps,
                "loader.workers": workers,
                "loader.frame_store_folder": str(options.folder / "frames"),
            },
        )
        found = load_scope(config.scope, progress=False)
        scope = replace(found, dev=found.dev.iloc[:0])  # only training is timed
        trainers[workers] = Trainer(config, scope, device=options.device)
    clips = pd.concat([scope.labelled, scope.unlabelled])
    for path, start, end in zip(clips.path, clips.start_frame, clips.end_frame, strict=True):
        trainers[0].store.frames(path, int(start), int(end))  # the store is warm
    seconds: dict[str, list[float]] = {_name(workers): [] for workers in WORKERS}
    shares: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for repeat in range(repeats + 1):
        for workers, trainer in trainers.items():
            report = trainer.train_epoch()
            if repeat:
                seconds[_name(workers)].append(report.train_seconds / steps)
                shares[workers].append(report.data_wait_seconds / report.train_seconds)
    for trainer in trainers.values():
        trainer.close()
    column = {_name(w): f"{statistics.median(s):.1%} ({min(s):.1%} – {max(s):.1%})" for w, s in shares.items()}
    return Case(
        "A step of training at tiny from the warm raw store, by loader threads",
        seconds,
        "step",
        _name(0),
        columns={"of it waiting for a batch": column},
    ), shares


def _name(workers: int) -> str:
    return f"{workers} loader thread{'' if workers == 1 else 's'}"


def batch_cases(folder: Path, clips: int, repeats: int) -> list[Case]:
    """Batches by threads, and by processes that need not even hand them over."""
    paths = make_clips(folder / "clips", clips, KEY_FRAMES["every 8"])
    cases = []
    for encoding, title in (("off", "decoding on the fly"), ("raw", "from the warm raw store")):
        sources = {f"{n} thread{'s' if n > 1 else ''}": _source(folder, paths, encoding, n) for n in (1, 2)}
        _take(sources["1 thread"], 2)  # warm
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(3, timeout=PATIENCE_SECONDS)
        halves = [context.Process(target=_half, args=(folder, paths, encoding, repeats, barrier)) for _ in range(2)]
        seconds: dict[str, list[float]] = {way: [] for way in [*sources, TWO_PROCESSES]}
        with Children(halves, barrier) as children:
            children.meet()  # they have started
            for _ in range(repeats):
                for way, source in sources.items():
                    seconds[way].append(_take(source, 8) / 8)
                started = time.perf_counter()
                children.meet()  # go
                children.meet()  # both are done
                seconds[TWO_PROCESSES].append((time.perf_counter() - started) / 8)
        for source in sources.values():
            source.close()
        cases.append(Case(f"Batches of 2 + 6 clips (14 views), {title}", seconds, "batch", "1 thread"))
    return cases


def _source(folder: Path, paths: list[str], encoding: str, workers: int) -> BatchSource:
    table = pd.DataFrame({"clip_id": paths, "path": paths, "label": 0, "start_frame": 0, "end_frame": -1})
    store = FrameStore(folder / "frames", max_short_side=SHORT_SIDE, encoding=encoding)
    loader = LoaderConfig(labelled=2, unlabelled_ratio=3, workers=workers)
    return BatchSource(table, table, store=store, loader=loader, sampling=SAMPLING, views=VIEWS, seed=0)


def _take(source: BatchSource, count: int) -> float:
    started = time.perf_counter()
    with closing(source.batches(range(count), with_unlabelled=True)) as batches:
        for _ in batches:
            pass
    return time.perf_counter() - started


def _half(folder: Path, paths: list[str], encoding: str, repeats: int, barrier: Any) -> None:
    torch.set_num_threads(1)
    keep_heap()  # as the other sides' process
    source = _source(folder, paths, encoding, workers=0)
    _take(source, 1)
    barrier.wait()
    for _ in range(repeats):
        barrier.wait()
        _take(source, 4)
        barrier.wait()
