"""Clips that show a common frame, however their paths are written: what must not stand in two parts of a split."""

from __future__ import annotations

import math
from collections import defaultdict

import pandas as pd

from sefar.data.listing import real_paths

Window = tuple[str, int, int]


def windows(clips: pd.DataFrame) -> list[Window]:
    """(resolved path, start frame, end frame) of each row; links and ``..`` are followed."""
    resolved = real_paths(clips.path.unique())
    return [
        (resolved[path], int(start), int(end))
        for path, start, end in zip(clips.path, clips.start_frame, clips.end_frame, strict=True)
    ]


def find_leaks(clips: pd.DataFrame, tested: pd.DataFrame) -> list[tuple[str, str]]:
    """Clips that share a frame with a tested clip.

    Args:
        clips: clip table of a training part.
        tested: clip table of the test part.

    Returns:
        ``(clip_id, tested clip_id)`` of each such clip, with the first tested clip that it meets.
    """
    tested_by_path = defaultdict(list)
    for clip_id, (path, start, end) in zip(tested.clip_id, windows(tested), strict=True):
        tested_by_path[path].append((clip_id, start, _last(end)))
    leaks = []
    for clip_id, (path, start, end) in zip(clips.clip_id, windows(clips), strict=True):
        for other, other_start, other_end in tested_by_path.get(path, ()):
            if start < other_end and other_start < _last(end):
                leaks.append((clip_id, other))
                break
    return leaks


def _last(end_frame: int) -> float:
    return math.inf if end_frame < 0 else end_frame
