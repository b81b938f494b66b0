from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sefar.data import framestore
from sefar.data.decode import decode_clip
from sefar.data.framestore import FrameStore
from sefar.data.synthgym import SynthGymConfig, clip_table, prepare
from sefar.errors import DecodeError

SMALL = SynthGymConfig(
    size=64, train_clips_per_element=2, test_clips_per_element=1, train_performers=1, test_performers=1
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two SynthGym clips of 64 × 64 pixels."""
    table = clip_table(SMALL).iloc[:2]
    folder = prepare(tmp_path_factory.mktemp("clips"), SMALL, clip_ids=list(table.clip_id), progress=False)
    return [str(folder / path) for path in table.path]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, int]]:
    """Every call of `decode_clip` that a store makes."""
    calls: list[tuple[str, int, int, int]] = []

    def counted(path: str, start_frame: int, end_frame: int, *, max_short_side: int) -> np.ndarray:
        calls.append((path, start_frame, end_frame, max_short_side))
        return decode_clip(path, start_frame, end_frame, max_short_side=max_short_side)

    monkeypatch.setattr(framestore, "decode_clip", counted)
    return calls


def arrays(root: Path) -> list[Path]:
    return sorted(root.rglob("*.npy"))


def test_a_clip_is_decoded_once_and_mapped_after(
    clips: list[str], decoded: list[tuple[str, int, int, int]], tmp_path: Path
) -> None:
    store = FrameStore(tmp_path, max_short_side=48)
    first = store.frames(clips[0], 0, -1)
    assert store.frames(clips[0], 0, -1) is first
    again = FrameStore(tmp_path, max_short_side=48).frames(clips[0], 0, -1)
    assert decoded == [(clips[0], 0, -1, 48)]
    assert isinstance(first, np.memmap) and isinstance(again, np.memmap)
    assert not again.flags.writeable
    np.testing.assert_array_equal(again, decode_clip(clips[0], max_short_side=48))
    assert len(arrays(tmp_path)) == 1
    store.close()
    assert store.frames(clips[0], 0, -1) is not first
    assert len(decoded) == 1


def test_clips_windows_and_sizes_are_kept_apart(
    clips: list[str], decoded: list[tuple[str, int, int, int]], tmp_path: Path
) -> None:
    wanted = [(clips[0], 0, -1), (clips[0], 2, 9), (clips[0], 2, 10), (clips[1], 2, 9)]
    for side in (32, 64):
        store = FrameStore(tmp_path, max_short_side=side)
        for path, start, end in wanted:
            expected = decode_clip(path, start, end, max_short_side=side)
            np.testing.assert_array_equal(store.frames(path, start, end), expected)
    assert decoded == [(*window, side) for side in (32, 64) for window in wanted]
    assert len(arrays(tmp_path)) == 8


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other array"])
def test_a_torn_array_is_built_again(
    clips: list[str],
    decoded: list[tuple[str, int, int, int]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    whole = np.array(FrameStore(tmp_path, max_short_side=64).frames(clips[0], 0, 5))
    (file,) = arrays(tmp_path)
    data = file.read_bytes()
    if damage == "other array":
        np.save(file, np.zeros((5, 64, 64, 3)))
    else:
        file.write_bytes({"empty": b"", "half": data[: len(data) // 2], "text": b"in the way"}[damage])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(FrameStore(tmp_path, max_short_side=64).frames(clips[0], 0, 5), whole)
    assert f"{file} is torn" in caplog.text and "is built again" in caplog.text
    assert file.read_bytes() == data
    FrameStore(tmp_path, max_short_side=64).frames(clips[0], 0, 5)
    assert len(decoded) == 2


def test_a_changed_file_is_decoded_anew(
    clips: list[str], decoded: list[tuple[str, int, int, int]], tmp_path: Path
) -> None:
    video = tmp_path / "video.mp4"
    shutil.copy(clips[0], video)
    os.utime(video, ns=(10**18, 10**18))

    def frames() -> np.ndarray:
        return FrameStore(tmp_path / "store", max_short_side=64).frames(str(video), 0, 8)

    first = np.array(frames())
    os.utime(video, ns=(10**18, 10**18 + 1000))  # another time, the same contents
    np.testing.assert_array_equal(frames(), first)
    assert len(decoded) == 2
    shutil.copy(clips[1], video)
    os.utime(video, ns=(10**18, 10**18 + 1000))  # another size, the same time
    np.testing.assert_array_equal(frames(), decode_clip(clips[1], 0, 8))
    assert len(decoded) == 3
    frames()
    assert len(decoded) == 3


def test_threads_share_a_store(clips: list[str], decoded: list[tuple[str, int, int, int]], tmp_path: Path) -> None:
    store = FrameStore(tmp_path, max_short_side=64)
    expected = {path: decode_clip(path) for path in clips}
    wrong: list[object] = []
    start = threading.Barrier(6)

    def read() -> None:
        start.wait()
        for path in clips * 2:
            try:
                if not np.array_equal(store.frames(path, 0, -1), expected[path]):
                    wrong.append(path)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(path for path, *_ in decoded) == sorted(clips)
    assert len(arrays(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.part"))


def _fails(number: int) -> Callable[..., None]:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.mkdir", "os.replace", "os.pwrite", "tempfile.mkstemp"])
def test_a_store_that_cannot_be_written_decodes_each_time(
    clips: list[str],
    decoded: list[tuple[str, int, int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    where: str,
) -> None:
    root = tmp_path / "store"
    monkeypatch.setattr(where, _fails(number))
    store = FrameStore(root, max_short_side=64)
    with caplog.at_level(logging.WARNING):
        for end in (6, 7):
            frames = store.frames(clips[0], 2, end)
            assert len(frames) == end - 2
            np.testing.assert_array_equal(frames[np.array([3, 0, 3])], decode_clip(clips[0], 2, end)[[3, 0, 3]])
    assert len(decoded) <= 1  # from then on, only the frames asked for
    assert caplog.text.count("cannot be written") == 1  # said once, not once a clip
    reason = f"frame store: {root}: it cannot be written ({os.strerror(number)}); clips that are not in it are decoded"
    assert reason in caplog.text
    assert arrays(root) == [] and not list(root.rglob("*.part"))


def test_other_faults_of_writing_are_not_hidden(
    clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", _fails(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        FrameStore(tmp_path, max_short_side=64).frames(clips[0], 0, 5)
    assert not list(tmp_path.rglob("*.part"))


def test_what_does_not_decode_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"")
    store = FrameStore(tmp_path / "store", max_short_side=64)
    with pytest.raises(DecodeError, match=r"bad\.mp4: does not decode"):
        store.frames(str(bad), 0, 5)
    with pytest.raises(DecodeError, match=r"gone\.mp4: no such file"):
        store.frames(str(tmp_path / "gone.mp4"), 0, 5)
    assert arrays(tmp_path / "store") == [] and not list((tmp_path / "store").rglob("*.part"))
    assert store.storing


def test_other_users_can_read_the_store(clips: list[str], tmp_path: Path) -> None:
    FrameStore(tmp_path, max_short_side=48).frames(clips[0], 0, -1)
    assert arrays(tmp_path)[0].stat().st_mode & 0o444 == 0o444
