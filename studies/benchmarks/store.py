"""What the result store costs: a trial's write of an epoch, and reading 10³ to 10⁶ rows."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.results.store import ResultStore

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROWS_A_TRIAL = 1_000  # predictions: a test set's clips
EPOCHS = 50
STUDY, SCOPE = "bench", "synthgym/core@1pc#0"


def run(options: Options) -> Findings:
    """Write epochs, then read stores of growing size."""
    writing, last = write_case(options.folder / "epochs", options.repeats(7, 2))
    sizes = SIZES[: options.repeats(4, 2)]
    reading = read_case(options.folder / "rows", sizes, options.repeats(5, 2))
    name = f"{sizes[-1]} rows"
    return Findings(
        "store",
        [writing, reading],
        [
            Figure(name="store_write_seconds_per_epoch", value=writing.median(last), unit="s"),
            Figure(name="store_read_seconds_per_million", value=1e6 * reading.median(name) / sizes[-1], unit="s"),
        ],
    )


def _epoch_row(epoch: int) -> dict[str, Any]:
    numbers = {f"metric_{n}": float(n) for n in range(20)}  # as many columns as a trial's epochs have
    return {"epoch": epoch, "step": epoch * 20, "dev_student_top1": 50.0, "train_seconds": 1.0, **numbers}


def write_case(folder: Path, repeats: int) -> tuple[Case, str]:
    """Seconds that a trial takes to write an epoch, early and late, as its file grows; and the later name."""
    store = ResultStore(str(folder), create=True)
    first, last = f"epochs 1 to {EPOCHS // 2}", f"epochs {EPOCHS // 2 + 1} to {EPOCHS}"
    seconds: dict[str, list[float]] = {first: [], last: []}
    for repeat in range(-1, repeats):
        writer = store.writer(STUDY, SCOPE, f"trial-{repeat}")
        took = []
        for epoch in range(1, EPOCHS + 1):
            started = time.perf_counter()
            writer.epoch(_epoch_row(epoch))
            took.append(time.perf_counter() - started)
        if repeat >= 0:
            seconds[first].append(float(np.mean(took[: EPOCHS // 2])))
            seconds[last].append(float(np.mean(took[EPOCHS // 2 :])))
    return Case("Writing an epoch of a trial", seconds, "epoch", first), last


def read_case(folder: Path, sizes: tuple[int, ...], repeats: int) -> Case:
    """Seconds to read all predictions of a store, by its rows."""
    store, trials = ResultStore(str(folder), create=True), 0
    seconds: dict[str, list[float]] = {}
    megabytes = {}
    for size in sizes:
        while trials < math.ceil(size / ROWS_A_TRIAL):
            store.writer(STUDY, SCOPE, f"trial-{trials:05d}").write("predictions", _predictions(trials))
            trials += 1
        name, took = f"{size} rows", []
        for repeat in range(-1, repeats):
            started = time.perf_counter()
            rows = len(store.predictions())
            if repeat >= 0:
                took.append(time.perf_counter() - started)
        assert rows == size, f"read {rows} of {size} rows"
        seconds[name] = took
        megabytes[name] = f"{sum(f.stat().st_size for f in folder.rglob('*.parquet')) / 1e6:.1f}"
    return Case(
        f"Reading a table of predictions, {ROWS_A_TRIAL} rows a trial and file",
        seconds,
        "read",
        f"{sizes[0]} rows",
        columns={"MB": megabytes},
    )


def _predictions(seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    confidence, spread, top5 = (
        rng.random(ROWS_A_TRIAL),
        rng.random(ROWS_A_TRIAL),
        rng.integers(0, 99, (ROWS_A_TRIAL, 5)),
    )
    return [
        {
            "part": "test",
            "clip_id": f"clip-{clip:04d}",
            "path": f"clips/clip-{clip:04d}.mp4",
            "start_frame": 0,
            "end_frame": -1,
            "label": clip % 99,
            "student_top5": top5[clip].tolist(),
            "teacher_top5": top5[clip].tolist(),
            "confidence": float(confidence[clip]),
            "spread": float(spread[clip]),
        }
        for clip in range(ROWS_A_TRIAL)
    ]
