from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sefar.data.decode import decode_clip
from sefar.data.decode_process import DecodeProcess, check_clips
from sefar.errors import DecodeError
from tests.data.awkward_videos import encode

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).resolve().parents[2]
MEND = "replace the clip or take it out of the list"


def stand_in(path: str, start_frame: int = 0, end_frame: int = -1) -> int:
    """In place of a decoder, in the child: does what the file's name says."""
    name = Path(path).name
    if name == "hang":
        while True:
            time.sleep(1)
    if name == "deaf":  # a hang in C, which lets neither signals' handlers nor threads run
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        sum(range(10**12))
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exit":
        os._exit(3)
    if name == "memory":
        return len(np.ones(100 * 2**30, np.uint8))
    if name == "error":
        raise ValueError("a cause\nin two lines")
    if name == "damaged":
        raise DecodeError(f"{path}: says so itself")
    if name == "process":
        return os.getpid()
    time.sleep(0.2 if name == "slow" else 0)
    return start_frame + end_frame


def child(limit_seconds: float = 20) -> DecodeProcess:
    return DecodeProcess(limit_seconds, task=f"{__name__}:stand_in")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_it_gives_what_the_decoder_gives(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", 12)
    with DecodeProcess(20) as decode:
        np.testing.assert_array_equal(decode(path, 2, 9, max_short_side=32), decode_clip(path, 2, 9, max_short_side=32))
        with pytest.raises(DecodeError) as caught:
            decode(path, 0, 13)
    assert str(caught.value) == f"{path}: frames 0-13 asked for, but the video has 12; mend the window or the clip"


def test_one_child_serves_many_calls_and_ends_with_the_block() -> None:
    with child() as decode:
        first, second = decode("process"), decode("process")
        assert first == second != os.getpid()
        assert decode("clip", 3, 4) == 7
    assert gone_within(first, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hang", f"hang: does not decode within 0.7 s; {MEND}"),
        ("deaf", f"deaf: does not decode within 0.7 s; {MEND}"),
        ("crash", f"crash: the process that decodes it died of signal 11 (SIGSEGV); {MEND}"),
        ("exit", f"exit: the process that decodes it ended with code 3; {MEND}"),
    ],
)
def test_a_child_that_hangs_or_dies_is_replaced(name: str, message: str) -> None:
    with child(0.7) as decode:
        before = decode("process")
        start = time.monotonic()
        with pytest.raises(DecodeError) as caught:
            decode(name)
        assert time.monotonic() - start < 5
        assert str(caught.value) == message
        assert gone_within(before, 5)
        assert decode("process") != before
        assert decode("clip", 1, 2) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("damaged", "damaged: says so itself"),
        ("error", f"error: does not decode (ValueError: a cause in two lines); {MEND}"),
        ("memory", "memory: does not decode ("),
    ],
)
def test_errors_leave_the_child_in_place(name: str, message: str) -> None:
    with child() as decode:
        before = decode("process")
        with pytest.raises(DecodeError) as caught:
            decode(name)
        assert str(caught.value).startswith(message)
        assert decode("process") == before


def test_a_decoder_that_cannot_be_imported() -> None:
    with DecodeProcess(5, task="sefar.nowhere:at_all") as decode, pytest.raises(RuntimeError, match="at its start"):
        decode("clip")


@pytest.mark.parametrize("busy", ["process", "hang", "deaf"])
def test_the_child_ends_with_a_killed_parent(busy: str) -> None:
    code = (
        "from tests.data.test_decode_process import child\n"
        "if __name__ == '__main__':\n"
        "    decode = child(3)\n"
        "    print(decode('process'), flush=True)\n"
        f"    decode({busy!r})\n"
        "    import time; time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone_within(pid, 15)


def test_clips_are_checked_in_order_and_side_by_side() -> None:
    names = ["slow", "clip", "crash", "damaged", "hang", "slow", "clip"]
    windows = [(name, number, 10) for number, name in enumerate(names)]
    found = list(check_clips(windows, processes=2, limit_seconds=1, progress=False, task=f"{__name__}:stand_in"))
    assert [window for window, _, _ in found] == windows
    assert [frames for _, frames, _ in found] == [10, 11, None, None, None, 15, 16]
    causes = [cause for _, _, cause in found]
    assert causes[:2] == causes[5:] == [None, None]
    assert causes[3] == "damaged: says so itself"
    assert "signal 11" in str(causes[2]) and "within 1 s" in str(causes[4])


def test_an_abandoned_check_leaves_no_process() -> None:
    windows = [("process", 0, 1), ("process", 0, 1), *[("hang", 0, 1)] * 6]
    running = check_clips(windows, processes=2, limit_seconds=60, progress=False, task=f"{__name__}:stand_in")
    pids = [frames for _, frames, _ in (next(running), next(running))]
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 20
    assert all(gone_within(int(pid or 0), 5) for pid in pids)


def test_checking_real_clips(tmp_path: Path) -> None:
    good = encode(tmp_path / "good.mp4", 12)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(good.read_bytes()[:900])
    windows = [(str(good), 0, -1), (str(bad), 0, -1), (str(good), 3, 8), (str(tmp_path / "gone.mp4"), 0, -1)]
    found = list(check_clips(windows, processes=2, limit_seconds=20))
    assert [frames for _, frames, _ in found] == [12, None, 5, None]
    assert str(found[1][2]).startswith(f"{bad}: does not decode, frames 0-end (")
    assert found[3][2] == f"{tmp_path / 'gone.mp4'}: no such file; mend its path in the list or fetch the clip"
