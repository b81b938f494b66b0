"""The limit of the frame store: who leaves, who stays, and what is stored no more."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sefar.data import frame_budget, frame_files, framestore
from sefar.data.frame_budget import GRACE_SECONDS, Budget, NoRoomError
from sefar.data.framestore import FrameStore

FRAMES, SIDE = 4, 32
CLIP_BYTES = FRAMES * SIDE * SIDE * 3 + 128  # NumPy's header
LIMIT_GB = 5.5 * CLIP_BYTES / 1e9  # five clips


def decode(path: str, start_frame: int = 0, end_frame: int = -1, **_: Any) -> np.ndarray:
    return np.full((FRAMES, SIDE, SIDE, 3), int(Path(path).stem), np.uint8)


def decode_some(path: str, numbers: list[int], **_: Any) -> np.ndarray:
    return decode(path)[numbers]


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(framestore, "decode_clip", decode)
    monkeypatch.setattr(frame_files, "decode_frames", decode_some)
    monkeypatch.setattr(frame_files, "clip_frames", lambda *_, **__: FRAMES)
    return make_clips(tmp_path)


def make_clips(folder: Path) -> list[str]:
    for number in range(12):
        (folder / f"{number}.mp4").touch()
    return [str(folder / f"{number}.mp4") for number in range(12)]


def opened(root: Path, limit_gb: float | None = LIMIT_GB) -> FrameStore:
    return FrameStore(root, max_short_side=SIDE, limit_gb=limit_gb)


def stored(root: Path) -> dict[int, Path]:
    """Files by the clip that they hold."""
    return {int(np.load(file)[0, 0, 0, 0]): file for file in root.rglob("*.npy")}


def age(root: Path, seconds: float, *clips: int) -> None:
    """Set back the time of last use."""
    for clip, file in stored(root).items():
        if not clips or clip in clips:
            os.utime(file, (time.time() - seconds,) * 2)


def show(store: FrameStore, clip: str) -> int:
    frames = store.frames(clip, 0, -1)
    assert len(frames) == FRAMES
    return int(frames[np.array([FRAMES - 1])][0, 0, 0, 0])


def total(root: Path) -> int:
    return sum(file.stat().st_size for file in root.rglob("*.npy"))


def test_clips_used_least_recently_leave(clips: list[str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    first = opened(root)
    assert [show(first, clip) for clip in clips[:5]] == list(range(5))
    for clip, hours in enumerate((5, 9, 6, 8, 7)):
        age(root, 3600 * hours, clip)
    assert show(opened(root), clips[3]) == 3  # used again
    assert abs(stored(root)[3].stat().st_mtime - time.time()) < 60
    later = opened(root)
    assert show(later, clips[5]) == 5
    assert sorted(stored(root)) == [0, 2, 3, 4, 5]  # 1 was used longest ago
    assert show(later, clips[6]) == 6
    assert sorted(stored(root)) == [0, 2, 3, 5, 6]  # then 4, as 3 is used
    assert total(root) == 5 * CLIP_BYTES and later.storing


def test_a_working_set_larger_than_the_limit_is_stored_in_part(
    clips: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "store"
    store = opened(root)
    for _ in range(3):
        assert [show(store, clip) for clip in clips] == list(range(12))
        store.close()
    assert sorted(stored(root)) == list(range(5))  # nobody came and went in turns
    assert not store.storing
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"frame store: {root}: its limit of" in record.message and "raise loader.frame_store_gb" in record.message
    assert "are decoded each time" in record.message


def test_what_another_process_uses_does_not_leave(clips: list[str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    for clip in clips[:5]:
        show(opened(root), clip)
    age(root, 0.9 * GRACE_SECONDS)
    newcomer = opened(root)
    assert show(newcomer, clips[7]) == 7
    assert sorted(stored(root)) == list(range(5)) and not newcomer.storing
    age(root, 1.1 * GRACE_SECONDS)
    assert show(opened(root), clips[7]) == 7
    assert 7 in stored(root)


def test_a_long_run_never_evicts_what_it_has_used_itself(clips: list[str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = opened(root)
    store.budget._began -= 20 * 3600
    for clip in clips[:5]:
        show(store, clip)
    age(root, 10 * 3600)
    show(store, clips[6])
    assert sorted(stored(root)) == list(range(5)) and not store.storing


def test_a_clip_that_left_while_mapped_is_read_on(clips: list[str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    reader = opened(root)
    frames = reader.frames(clips[1], 0, -1)
    age(root, 9 * 3600)
    other = opened(root, 1.5 * CLIP_BYTES / 1e9)
    assert show(other, clips[2]) == 2 and sorted(stored(root)) == [2]
    assert (frames[np.arange(FRAMES)] == 1).all()
    assert show(reader, clips[1]) == 1  # still mapped
    reader.close()
    assert show(reader, clips[1]) == 1 and sorted(stored(root)) == [1, 2]  # stored again, within its own limit


def test_leftovers_and_other_versions_count_and_leave(clips: list[str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / "ab").mkdir(parents=True)
    (root / "notes").mkdir()
    for name in ("ab/ab-old-version.npy", "ab/ab-killed.npy.x.part", "ab/mine.txt", "notes/ab.txt"):
        (root / name).write_bytes(bytes(2 * CLIP_BYTES))
        os.utime(root / name, (0, 0))
    store = opened(root)
    for clip in clips[:3]:
        show(store, clip)
    assert store.storing
    assert not (root / "ab/ab-killed.npy.x.part").exists() and (root / "ab/ab-old-version.npy").exists()
    show(store, clips[3])
    assert not (root / "ab/ab-old-version.npy").exists()
    assert (root / "ab/mine.txt").exists() and (root / "notes/ab.txt").exists()


@pytest.mark.parametrize("text", ["", "12", "not twenty digits...\n", "9" * 20 + "\n"])
def test_a_total_that_is_wrong_or_unreadable_is_counted_anew(clips: list[str], tmp_path: Path, text: str) -> None:
    root = tmp_path / "store"
    store = opened(root)
    show(store, clips[0])
    (root / ".budget").write_text(text)
    show(store, clips[1])
    assert store.storing and len(stored(root)) == 2
    assert (root / ".budget").read_text() == f"{2 * CLIP_BYTES:020d}\n"


def test_without_a_limit_nothing_leaves(clips: list[str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = opened(root, None)
    for clip in clips:
        show(store, clip)
        age(root, 9 * 3600)
    assert len(stored(root)) == 12


def test_a_clip_larger_than_the_limit_is_decoded(clips: list[str], tmp_path: Path) -> None:
    store = opened(tmp_path / "store", 0.5 * CLIP_BYTES / 1e9)
    assert show(store, clips[4]) == 4
    assert stored(tmp_path / "store") == {}


def test_the_last_of_the_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"total": 10**11, "free": 10**9 + 1000})
    monkeypatch.setattr(frame_budget.shutil, "disk_usage", lambda _: usage)
    reserved: list[int] = []
    budget = Budget(tmp_path, None)
    budget.admit(1000, lambda: reserved.append(1000))
    with pytest.raises(NoRoomError, match=r"the disk has 1 GB left, of which 1 GB stay free; .*frame_store_folder"):
        budget.admit(1001, lambda: reserved.append(1001))
    assert reserved == [1000]


# Several processes


def _fill(root: str, clips: list[str], seed: int, out: Any) -> None:
    framestore.decode_clip = decode
    frame_files.decode_frames, frame_files.clip_frames = decode_some, lambda *_, **__: FRAMES  # type: ignore[assignment]
    store = opened(Path(root))
    right = True
    for n in np.random.default_rng(seed).permutation(len(clips) * 3) % len(clips):
        right &= show(store, clips[n]) == n
        store.close()
    out.put(right)


def test_processes_that_write_at_once_keep_the_limit(tmp_path: Path) -> None:
    clips, root = make_clips(tmp_path), tmp_path / "store"
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    processes = [context.Process(target=_fill, args=(str(root), clips, seed, out)) for seed in range(4)]
    for process in processes:
        process.start()
    most = 0
    while any(process.is_alive() for process in processes):
        try:
            most = max(most, sum(file.stat().st_size for file in root.glob("*/*") if file.parent.name != ".locks"))
        except FileNotFoundError:  # renamed just now
            continue
    assert [out.get(timeout=60) for _ in processes] == [True] * 4
    assert most <= 5 * CLIP_BYTES
    assert len(stored(root)) == 5
