"""What the frame store holds at a time: descriptors and memory."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sefar.data import frame_files, framestore
from sefar.data.framestore import FrameStore
from sefar.errors import DataError
from tests.descriptors import open_files


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Decodes without a video: window a-b shows frames filled with a. The start frames asked for."""
    calls: list[int] = []

    def fake(path: str, start_frame: int, end_frame: int, *, max_short_side: int) -> np.ndarray:
        calls.append(start_frame)
        return np.full((2, 4, 4, 3), start_frame, np.uint8)

    def fake_frames(path: str, numbers: list[int], *, start_frame: int, **_: int) -> np.ndarray:
        return np.full((len(numbers), 4, 4, 3), start_frame, np.uint8)

    monkeypatch.setattr(framestore, "decode_clip", fake)
    monkeypatch.setattr(frame_files, "decode_frames", fake_frames)
    monkeypatch.setattr(frame_files, "clip_frames", lambda *_, **__: 2)
    (tmp_path / "clip.mp4").touch()
    return calls


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return str(tmp_path / "clip.mp4")


def test_only_the_clips_used_last_stay_open(decoded: list[int], clip: str, tmp_path: Path) -> None:
    store = FrameStore(tmp_path / "store", max_short_side=4, max_open=3)
    for start in (0, 1, 2, 0, 3):  # 0 is used again, so 1 goes
        assert store.frames(clip, start, 9)[0, 0, 0, 0] == start
    assert list(store._open) == [f"{clip}#{start}-9" for start in (2, 0, 3)]
    assert len(open_files(tmp_path)) == 3
    for start in range(20):
        assert (store.frames(clip, start, 9) == start).all()
    assert len(open_files(tmp_path)) == 3
    assert decoded == list(range(4)) + list(range(4, 20))  # those let go are mapped again, not decoded
    store.close()
    assert open_files(tmp_path) == []


def test_a_store_that_cannot_be_written_keeps_nothing_in_memory(
    decoded: list[int], clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    store = FrameStore(tmp_path / "store", max_short_side=4)
    for _ in range(2):
        assert (store.frames(clip, 5, 9)[np.arange(2)] == 5).all()
    assert decoded == []
    assert not store._open


@pytest.fixture
def few_descriptors() -> Iterator[Any]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda spare: resource.setrlimit(resource.RLIMIT_NOFILE, (len(open_files()) + spare, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_descriptors_run_out_the_open_clips_make_room(
    decoded: list[int], clip: str, tmp_path: Path, few_descriptors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = FrameStore(tmp_path / "store", max_short_side=4)
    few_descriptors(12)
    for start in range(40):
        assert (np.asarray(store.frames(clip, start, 99)) == start).all()
    assert "torn" not in caplog.text
    assert 0 < len(store._open) < 12


def test_too_many_open_files_is_no_torn_clip(
    decoded: list[int], clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FrameStore(tmp_path / "store", max_short_side=4).frames(clip, 1, 9)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(np, "load", full)
    with pytest.raises(DataError, match=r"frame store: .*Too many open files; raise the limit \(ulimit -n\)"):
        FrameStore(tmp_path / "store", max_short_side=4).frames(clip, 1, 9)
    assert decoded == [1]
    assert "torn" not in caplog.text
