from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sefar.data import frame_estimate, framestore
from sefar.data.frame_estimate import Window, announce_fill, distinct_windows, estimate_fill
from sefar.data.framestore import FrameStore
from sefar.errors import DecodeError


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """100 clips of 10 or 30 frames of 20 × 40; the last one is broken."""

    def first_frame(path: str, numbers: list[int], **_: Any) -> np.ndarray:
        assert numbers == [0]
        return np.zeros((1, 20, 40, 3), np.uint8)

    def frames(path: str, start: int, end: int) -> int:
        if path.endswith("99.mp4"):
            raise DecodeError("broken")
        return end - start

    monkeypatch.setattr(frame_estimate, "decode_frames", first_frame)
    monkeypatch.setattr(frame_estimate, "clip_frames", frames)
    monkeypatch.setattr(
        framestore, "decode_clip", lambda path, start, end, **_: np.zeros((end - start, 20, 40, 3), np.uint8)
    )
    for n in range(100):
        (tmp_path / f"{n}.mp4").touch()
    return [(str(tmp_path / f"{n}.mp4"), 0, 20) for n in range(100)]


def test_an_estimate_is_clips_times_frames_times_pixels(windows: list[Window], tmp_path: Path) -> None:
    store = FrameStore(tmp_path / "store", max_short_side=20)
    estimate = estimate_fill(store, windows)
    assert estimate is not None
    assert (estimate.clips, estimate.frames, estimate.height, estimate.width) == (100, 20, 20, 40)
    assert estimate.total_bytes == 100 * 20 * (20 * 40 * 3 + 128)  # a frame with the header of its file
    assert str(estimate) == "100 clips × 20 frames × 20 × 40 × 3 bytes, about 0.0051 GB"
    jpeg = estimate_fill(FrameStore(tmp_path / "store", max_short_side=20, encoding="jpeg"), windows)
    assert jpeg is not None and jpeg.total_bytes < estimate.total_bytes / 2


def test_what_is_stored_does_not_count(windows: list[Window], tmp_path: Path) -> None:
    store = FrameStore(tmp_path / "store", max_short_side=20)
    for window in windows[:50]:
        store.frames(*window)
    estimate = estimate_fill(store, windows)
    assert estimate is not None and 45 <= estimate.clips <= 55
    for window in windows[50:]:
        store.frames(*window)
    assert estimate_fill(store, windows) is None
    assert estimate_fill(store, []) is None
    assert estimate_fill(FrameStore(tmp_path / "none", max_short_side=20, encoding="off"), windows) is None


def test_a_fill_that_does_not_fit_is_a_warning(
    windows: list[Window], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        announce_fill(FrameStore(tmp_path / "deep/store", max_short_side=20, limit_gb=0.01), windows)
        announce_fill(FrameStore(tmp_path / "deep/store", max_short_side=20, limit_gb=0.001), windows)
    fits, fails = caplog.records
    assert fits.levelno == logging.INFO and "will take 100 clips × 20 frames" in fits.message
    assert "limit: 0.01 GB" in fits.message and "free on disk: " in fits.message
    assert fails.levelno == logging.WARNING and "has no room for 100 clips × 20 frames × 20 × 40" in fails.message
    assert "loader.frame_store=jpeg" in fails.message
    assert not (tmp_path / "deep").exists()


def test_windows_of_tables_come_once() -> None:
    one = pd.DataFrame({"path": ["a", "b", "a"], "start_frame": [0, 0, 5], "end_frame": [-1, -1, 9]})
    two = pd.DataFrame({"path": ["b", "a"], "start_frame": [0, 0], "end_frame": [-1, 4]})
    assert distinct_windows(one, two) == [("a", 0, -1), ("b", 0, -1), ("a", 5, 9), ("a", 0, 4)]
