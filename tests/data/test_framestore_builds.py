"""One store, several processes: each clip decoded once, whatever dies, and nothing torn or foreign read."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sefar.data import framestore
from sefar.data.framestore import FrameStore
from sefar.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
SPAWN = multiprocessing.get_context("spawn")


def picture(number: int) -> np.ndarray:
    """What clip `number` shows: three frames of 16 × 24 that tell it from all others."""
    rows, columns = np.mgrid[:16, :24]
    frame = np.stack([rows * 3, columns * 2, np.full_like(rows, 20 * number)], -1)
    return np.stack([frame, frame + 50, frame + 100]).astype(np.uint8)


class CountedDecoder:
    """In place of `decode_clip`: notes every call in a file, a line a clip; a clip's name is its number."""

    def __init__(self, log: Path, seconds: float) -> None:
        self.log, self.seconds = log, seconds

    def __call__(self, path: str, start_frame: int, end_frame: int, *, max_short_side: int) -> np.ndarray:
        with self.log.open("a") as out:
            out.write(f"{Path(path).stem}\n")
        time.sleep(self.seconds)
        return picture(int(Path(path).stem))

    def counts(self) -> Counter[str]:
        return Counter(self.log.read_text().split())


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.mp4").write_bytes(bytes([number]))
    return [str(folder / f"{number}.mp4") for number in range(6)]


def read_all(root: str, clips: list[str], decoder: CountedDecoder, encoding: str, out: Any) -> None:
    framestore.decode_clip = decoder  # type: ignore[assignment]
    store = FrameStore(root, max_short_side=64, encoding=encoding)
    order = np.random.default_rng(os.getpid()).permutation(len(clips))
    wrong = []
    for n in order:
        frames = store.frames(clips[n], 0, -1)[np.arange(3)]
        tolerance = 8 if encoding == "jpeg" else 0
        if np.abs(frames.astype(int) - picture(int(n))).mean() > tolerance:
            wrong.append(int(n))
    out.put(wrong)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_eight_processes_on_a_cold_store_decode_each_clip_once(clips: list[str], tmp_path: Path, encoding: str) -> None:
    decoder, out = CountedDecoder(tmp_path / "log", 0.2), SPAWN.Queue()
    args = (str(tmp_path / "store"), clips, decoder, encoding, out)
    processes = [SPAWN.Process(target=read_all, args=args) for _ in range(8)]
    for process in processes:
        process.start()
    assert [out.get(timeout=120) for _ in processes] == [[]] * 8
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert decoder.counts() == dict.fromkeys("012345", 1)


KILLED = """
import os, sys, time
from pathlib import Path
from sefar.data import framestore
from tests.data.test_framestore_builds import CountedDecoder

def hang(*args):
    print("hangs", flush=True)
    time.sleep(600)

root, clip, log, moment = sys.argv[1:]
framestore.decode_clip = CountedDecoder(Path(log), 0)
if moment == "decoding":
    framestore.decode_clip = lambda *args, **kwargs: hang()
else:
    os.fsync = hang  # all is written, under the temporary name
framestore.FrameStore(root, max_short_side=64).frames(clip, 0, -1)
"""


@pytest.mark.parametrize("moment", ["decoding", "writing"])
def test_a_killed_build_is_taken_over_by_who_waits(
    clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    root, log = tmp_path / "store", tmp_path / "log"
    builder = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), clips[4], str(log), moment], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert builder.stdout is not None and builder.stdout.readline() == b"hangs\n"
    assert len(list(root.rglob("*.part"))) == (moment == "writing")
    monkeypatch.setattr(framestore, "decode_clip", CountedDecoder(log, 0))
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(FrameStore(root, max_short_side=64).frames, clips[4], 0, -1)
        with pytest.raises(TimeoutError):
            waits.result(timeout=0.5)
        builder.send_signal(signal.SIGKILL)
        np.testing.assert_array_equal(waits.result(timeout=30), picture(4))
    builder.wait()
    builder.stdout.close()
    assert len(list(root.rglob("*.npy"))) == 1 and not list(root.rglob("*.part"))
    assert CountedDecoder(log, 0).counts() == {"4": 2 if moment == "writing" else 1}


FULL = """
import subprocess, sys
from pathlib import Path
import numpy as np
from sefar.data import framestore
from tests.data.test_framestore_builds import CountedDecoder, picture

disk, log, reserve, *clips = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
framestore.decode_clip = CountedDecoder(Path(log), 0)
from sefar.data import frame_budget, frame_files
frame_budget.DISK_RESERVE_SHARE = float(reserve)
frame_files.clip_frames = lambda *args, **kwargs: 3
frame_files.decode_frames = lambda path, numbers, **kwargs: picture(int(Path(path).stem))[numbers]
store = framestore.FrameStore(Path(disk) / "store", max_short_side=64)
for _ in range(2):
    for clip in clips:
        frames = store.frames(clip, 0, -1)[np.array([2, 0])]
        assert np.array_equal(frames, picture(int(Path(clip).stem))[[2, 0]])
files = list(store.root.rglob("*.npy"))
assert not list(store.root.rglob("*.part"))
for file in files:
    np.load(file)
print(len(files), store.storing)
"""


@pytest.mark.parametrize(("reserve", "reason"), [("-1", "No space left on device"), ("0.05", "GB left, of which")])
def test_on_a_small_full_disk_the_rest_is_decoded(clips: list[str], tmp_path: Path, reserve: str, reason: str) -> None:
    """16 KiB hold two clips of 3.5 KB, each in whole pages, with folders and locks beside."""
    if subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("a disk of one's own cannot be mounted here without privileges")
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    command = ["unshare", "-rm", sys.executable, "-c", FULL, str(disk), str(log), reserve, *clips]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stored, storing = done.stdout.split()
    assert 1 <= int(stored) < len(clips) and storing == "False"
    assert done.stderr.count("are decoded each time") == 1 and reason in done.stderr


def test_files_of_another_version_are_neither_read_nor_deleted(
    clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, root = CountedDecoder(tmp_path / "log", 0), tmp_path / "store"
    monkeypatch.setattr(framestore, "decode_clip", decoder)
    monkeypatch.setattr(framestore, "FORMAT_VERSION", framestore.FORMAT_VERSION - 1)
    FrameStore(root, max_short_side=64).frames(clips[0], 0, -1)
    (old,) = root.rglob("*.npy")
    np.save(old, 255 - picture(0))  # what that version thought right
    kept = old.read_bytes()
    monkeypatch.undo()
    monkeypatch.setattr(framestore, "decode_clip", decoder)
    np.testing.assert_array_equal(FrameStore(root, max_short_side=64).frames(clips[0], 0, -1), picture(0))
    assert decoder.counts() == {"0": 2}
    assert old.read_bytes() == kept


# JPEG


@pytest.fixture
def jpegs(clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrameStore:
    monkeypatch.setattr(framestore, "decode_clip", CountedDecoder(tmp_path / "log", 0))
    return FrameStore(tmp_path / "store", max_short_side=64, encoding="jpeg")


def test_jpeg_frames_are_near_the_decoded_ones_and_mapped(clips: list[str], jpegs: FrameStore, tmp_path: Path) -> None:
    frames = jpegs.frames(clips[2], 0, -1)
    assert len(frames) == 3
    got = frames[np.array([2, 0, 2])]
    assert (got.shape, got.dtype) == ((3, 16, 24, 3), np.uint8)
    assert np.abs(got.astype(int) - picture(2)[[2, 0, 2]]).mean() < 3
    again = FrameStore(tmp_path / "store", max_short_side=64, encoding="jpeg").frames(clips[2], 0, -1)
    np.testing.assert_array_equal(again[np.array([2, 0, 2])], got)
    assert CountedDecoder(tmp_path / "log", 0).counts() == {"2": 1}
    raw = FrameStore(tmp_path / "store", max_short_side=64).frames(clips[2], 0, -1)
    np.testing.assert_array_equal(raw, picture(2))  # the two never mix


@pytest.mark.parametrize("damage", ["empty", "header", "half", "longer", "text", "count"])
def test_a_torn_jpeg_file_is_built_again(
    clips: list[str], jpegs: FrameStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    jpegs.frames(clips[0], 0, -1)
    (file,) = jpegs.root.rglob("*.jpgs")
    data = file.read_bytes()
    broken = {
        "empty": b"",
        "header": data[:12],
        "half": data[: len(data) // 2],
        "longer": data + b"x",
        "text": b"in the way" * 100,
        "count": data[:8] + b"\xff" * 8 + data[16:],
    }
    file.write_bytes(broken[damage])
    again = FrameStore(tmp_path / "store", max_short_side=64, encoding="jpeg").frames(clips[0], 0, -1)
    assert np.abs(again[np.arange(3)].astype(int) - picture(0)).mean() < 3
    assert file.read_bytes() == data and "is torn and is built again" in caplog.text


def test_a_damaged_picture_is_named(clips: list[str], jpegs: FrameStore) -> None:
    jpegs.frames(clips[0], 0, -1)
    (file,) = jpegs.root.rglob("*.jpgs")
    data = bytearray(file.read_bytes())
    start = int.from_bytes(data[24:32], "little")  # of frame 1
    data[start : start + 64] = bytes(64)
    jpegs.close()
    file.write_bytes(data)
    frames = jpegs.frames(clips[0], 0, -1)
    assert len(frames[np.array([0, 2])]) == 2
    with pytest.raises(DataError, match=rf"frame store: {file}: frame 1 is damaged \(.*\); delete the file"):
        frames[np.array([1])]
