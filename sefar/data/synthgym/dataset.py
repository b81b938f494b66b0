"""Prepares the SynthGym data set on disk: tables, description, and the clips that are still missing."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from sefar.data.synthgym.elements import EVENTS
from sefar.data.synthgym.processes import in_processes
from sefar.data.synthgym.table import (
    FRAMES_PER_SECOND,
    GENERATOR_VERSION,
    SynthGymConfig,
    clip_table,
    dataset_dir,
    truth_table,
)
from sefar.data.synthgym.video import cannot_write, render_clip, write_whole
from sefar.errors import DataError, nearest

logger = logging.getLogger(__name__)

_SMALL = 48
"""Up to so many clips (about a second of work) are rendered in this process: starting others would take
longer."""


def prepare(
    root: str | Path,
    config: SynthGymConfig,
    *,
    clip_ids: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Makes a configuration's data set complete on disk; whatever is there already is kept.

    May be interrupted at any time and run by several processes at once: every file appears whole or not at
    all.

    Args:
        root: Folder that holds data sets.
        config: What to generate.
        clip_ids: Clips to render, None for all. The tables always list all clips.
        workers: Processes to use; None takes one per usable core, or this process alone for little work.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The data set's folder, with `clips.parquet`, `truth.parquet`, `synthgym.json` and `clips/`.

    Raises:
        DataError: The folder cannot be written, the disk is full, or a clip id is unknown.
    """
    folder = dataset_dir(root, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    table = _tables(folder, config)
    missing = _missing(folder, table, clip_ids)
    if not missing:
        return folder
    for parent in {(folder / path).parent for path in missing.values()}:
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(parent, error) from error
    logger.info("rendering %d of %d SynthGym clips into %s", len(missing), len(table), folder)
    _render_missing(folder, config, _own_order(missing), workers, progress)
    return folder


def _tables(folder: Path, config: SynthGymConfig) -> pd.DataFrame:
    """Reads the clip table, after writing missing tables; the description comes last and vouches for them."""
    if (folder / "synthgym.json").exists():
        return pd.read_parquet(folder / "clips.parquet")
    table = clip_table(config)
    for name, frame in (("clips", table), ("truth", truth_table(config))):
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        write_whole(folder / f"{name}.parquet", buffer.getvalue())
    description = {
        "dataset": "synthgym", "config": asdict(config), "ranges": asdict(config.ranges),
        "generator_version": GENERATOR_VERSION, "frames_per_second": FRAMES_PER_SECOND,
        "clips": len(table), "classes": int(table["label"].nunique()),
    }  # fmt: skip
    write_whole(folder / "synthgym.json", json.dumps(description, indent=2).encode())
    return table


def _missing(folder: Path, table: pd.DataFrame, clip_ids: Sequence[str] | None) -> dict[str, str]:
    """Clip id → path of the wanted clips that are not on disk."""
    paths = dict(zip(table["clip_id"], table["path"], strict=True))
    if clip_ids is not None:
        for clip_id in clip_ids:
            if clip_id not in paths:
                raise DataError(f"{folder}: no clip {clip_id!r}{nearest(str(clip_id), paths)[:200]}")
        paths = {clip_id: paths[clip_id] for clip_id in clip_ids}
    # One listing per folder instead of one look-up per clip: several times faster on network disks.
    present = {
        f"clips/{event}/{name}"
        for event in EVENTS
        if (folder / "clips" / event).is_dir()
        for name in os.listdir(folder / "clips" / event)
    }
    return {clip_id: path for clip_id, path in paths.items() if path not in present}


def _own_order(missing: dict[str, str]) -> list[tuple[str, str]]:
    """The missing clips from a random one onwards, so that processes preparing the same folder meet late."""
    items = list(missing.items())
    start = random.SystemRandom().randrange(len(items))
    return items[start:] + items[:start]


def _in_process(folder: Path, config: SynthGymConfig, items: list[tuple[str, str]]) -> Generator[None, None, None]:
    for clip_id, path in items:
        render_clip(folder, config, clip_id, path)
        yield


def _cores() -> int:
    """Cores this process may use; systems without affinity (macOS) report all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _render_missing(
    folder: Path, config: SynthGymConfig, items: list[tuple[str, str]], workers: int | None, progress: bool
) -> None:
    from tqdm import tqdm

    if workers is None:
        workers = 1 if len(items) <= _SMALL else _cores()
    alone = workers <= 1
    done = _in_process(folder, config, items) if alone else in_processes(folder, config, items, workers)
    # disable=None: no bar where standard error is not a terminal, such as log files.
    bar = tqdm(total=len(items), desc="SynthGym", unit="clip", disable=None if progress else True)
    with bar, contextlib.closing(done):
        for _ in done:
            bar.update()
