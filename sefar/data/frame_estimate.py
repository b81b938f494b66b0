"""How much room a scope's frames will take, before they are decoded."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sefar.data.decode import clip_frames, decode_frames
from sefar.data.frame_files import pack
from sefar.data.framestore import FrameStore
from sefar.errors import DecodeError

log = logging.getLogger(__name__)

LOOKED_UP, DECODED = 64, 16
"""Clips, evenly spread, that are looked up in the store, and of those not in it one frame decoded, at most."""

Window = tuple[str, int, int]  # path, first frame, end frame


@dataclass(frozen=True)
class Estimate:
    """What clips that are not in a store yet will take there.

    Attributes:
        clips: how many there are.
        frames: of a clip, on average.
        height, width: of a frame in pixels, on average.
        total_bytes: of all of them.
    """

    clips: int
    frames: float
    height: float
    width: float
    total_bytes: float

    def __str__(self) -> str:
        shape = f"{self.clips} clips × {self.frames:.0f} frames × {self.height:.0f} × {self.width:.0f} × 3 bytes"
        return f"{shape}, about {self.total_bytes / 1e9:.2g} GB"


def distinct_windows(*tables: pd.DataFrame) -> list[Window]:
    """Every window of clip tables once, in their order."""
    columns = (table[["path", "start_frame", "end_frame"]].itertuples(index=False) for table in tables)
    return list(dict.fromkeys((path, int(start), int(end)) for path, start, end in itertools.chain(*columns)))


def estimate_fill(store: FrameStore, windows: Sequence[Window]) -> Estimate | None:
    """Estimate from a few clips; None where the store takes nothing more or, of the clips looked at, has all."""
    looked_up = [windows[i] for i in _spread(len(windows), LOOKED_UP)]
    files = [(window, store.file(*window)) for window in looked_up] if store.storing else []
    missing = [window for window, file in files if file is not None and not file.is_file()]
    seen = []
    for path, start, end in (missing[i] for i in _spread(len(missing), DECODED)):
        try:
            frames = clip_frames(path, start, end)
            first = decode_frames(path, [0], start_frame=start, end_frame=end, max_short_side=store.max_short_side)
        except DecodeError:  # whoever needs the clip reports it
            continue
        seen.append((frames, *first.shape[1:3], frames * sum(map(len, pack(first, store.encoding)))))
    if not seen:
        return None
    clips = round(len(missing) / len(looked_up) * len(windows))
    frames, height, width, bytes_ = np.mean(seen, axis=0).tolist()
    return Estimate(clips, frames, height, width, clips * bytes_)


def announce_fill(store: FrameStore, windows: Sequence[Window]) -> None:
    """Log what a fill will take, as a warning where it is more than the limit or the disk has."""
    estimate = estimate_fill(store, windows)
    if estimate is None:
        return
    root = Path(os.path.abspath(store.root))
    disk = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists()))
    limit = store.budget.limit_bytes
    room = f"free on disk: {disk.free / 1e9:.2g} GB, limit: {'none' if limit is None else f'{limit / 1e9:g} GB'}"
    if estimate.total_bytes <= min(disk.free, disk.free if limit is None else limit):
        log.info("frame store: %s will take %s (%s)", store.root, estimate, room)
        return
    log.warning(
        "frame store: %s has no room for %s (%s); what does not fit is decoded each time. Smaller: "
        "loader.frame_store=jpeg; elsewhere: loader.frame_store_folder",
        store.root,
        estimate,
        room,
    )


def _spread(count: int, most: int) -> list[int]:
    """At most `most` evenly spread numbers below `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist() if count else []
