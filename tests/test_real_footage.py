"""The sweep on windows cut from real videos, as a process of its own: it ends well or says in one line why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.results.store import ResultStore

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    "decord/examples_flipping_a_pancake.mkv": 310,
    "mmaction2/demo_demo.mp4": 280,
    "mmaction2/tests_data_test.avi": 164,
    "mmaction2/tests_data_test.mp4": 300,
}
WINDOW = 16  # frames
PARTS = {"train": (0, 3), "unlabel": (1, 2, 4, 5, 7), "test": (6, 9)}  # windows of each source
TRAIN_CLIPS = len(SOURCES) * len(PARTS["train"])


@pytest.fixture
def lists(shared_videos: Path, tmp_path: Path) -> Path:
    """Lists of windows whose class is the video they are cut from."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for part, numbers in PARTS.items():
        rows = []
        for label, (name, frames) in enumerate(SOURCES.items()):
            assert (max(numbers) + 1) * WINDOW <= frames
            rows += [f"{shared_videos / name}#{n * WINDOW}-{(n + 1) * WINDOW} {label}" for n in numbers]
        (folder / f"{part}.csv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("".join(f"{i} {Path(name).stem}\n" for i, name in enumerate(SOURCES)))
    return folder


def sweep(lists: Path, store: Path, tmp_path: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    flags = ["--preset", "quick", "--trials", "2", "--epochs", "2", "--concurrency", "1", "--name", "real"]
    flags += ["--root", str(tmp_path / "data"), "--set", "model.pretrained=embedded", "optim.steps_per_epoch=1"]
    # every labelled clip is in every batch
    flags += [f"loader.labelled={TRAIN_CLIPS + 1}", "loader.unlabelled_ratio=1", *settings]
    command = [sys.executable, "studies/scope_sweep.py", "--scopes", f"lists:{lists}", "--store", str(store), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=400)


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error that says what went wrong, with no traceback anywhere."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    assert "Traceback" not in done.stdout + done.stderr
    return errors[0]


def test_a_sweep_over_real_footage_names_clips_and_windows(lists: Path, tmp_path: Path, shared_videos: Path) -> None:
    done = sweep(lists, tmp_path / "store", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "paper's default" in done.stdout and str(tmp_path / "store") in done.stdout
    assert (tmp_path / "real.png").stat().st_size > 1000
    store = ResultStore(str(tmp_path / "store"))
    assert store.problems() == []
    trials = store.trials()
    assert trials.status.tolist() == ["finished", "finished"]
    assert trials.scope.unique().tolist() == [f"lists:{lists}"]
    expected = {
        (f"{shared_videos / name}#{n * WINDOW}-{(n + 1) * WINDOW}", str(shared_videos / name), label, n * WINDOW)
        for label, name in enumerate(SOURCES)
        for n in PARTS["test"]
    }
    for _, rows in store.predictions().groupby("trial_id"):
        assert set(zip(rows.clip_id, rows.path, rows.label, rows.start_frame, strict=True)) == expected
        assert (rows.end_frame - rows.start_frame == WINDOW).all()
        assert all(sorted(best) == [0, 1, 2, 3] for best in rows.student_top5)
        assert rows.confidence.between(0, 1).all()


def test_a_clip_that_does_not_decode_is_named(lists: Path, tmp_path: Path, shared_videos: Path) -> None:
    whole = (shared_videos / "mmaction2/demo_demo.mp4").read_bytes()
    bad = tmp_path / "half.mp4"
    bad.write_bytes(whole[: len(whole) // 2])
    with (lists / "train.csv").open("a") as out:
        out.write(f"{bad}#0-16 0\n")
    done = sweep(lists, tmp_path / "store", tmp_path)
    assert done.returncode == 2, done.stdout
    line = error_line(done)
    assert line.startswith("error: all 2 trials failed, the first with: ")
    assert f"{bad}: does not decode, frames 0-16" in line
    trials = ResultStore(str(tmp_path / "store")).trials()
    assert trials.status.tolist() == ["failed", "failed"]
    assert trials.error.str.contains(f"{bad}: does not decode", regex=False).all()


def test_a_window_past_the_end_of_a_video_is_named(lists: Path, tmp_path: Path, shared_videos: Path) -> None:
    short = shared_videos / "mmaction2/tests_data_test.avi"
    with (lists / "train.csv").open("a") as out:
        out.write(f"{short}#160-176 2\n")
    done = sweep(lists, tmp_path / "store", tmp_path)
    assert done.returncode == 2, done.stdout
    assert f"{short}: frames 160-176 asked for, but the video has 164; mend the window" in error_line(done)


def test_a_list_that_cannot_be_read_stops_the_sweep_before_it_starts(lists: Path, tmp_path: Path) -> None:
    with (lists / "train.csv").open("a") as out:
        out.write("no label here\n")
    done = sweep(lists, tmp_path / "store", tmp_path)
    assert done.returncode == 2
    told = f"lists:{lists}: train.csv:{TRAIN_CLIPS + 1}: expected '<path> <label>', got 'no label here'; mend the row"
    assert told in error_line(done)


def test_a_store_that_is_not_ours_is_left_alone(lists: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "holiday.jpg").write_bytes(b"jpeg")
    done = sweep(lists, foreign, tmp_path)
    assert done.returncode == 2
    assert str(foreign) in error_line(done)
    assert [path.name for path in foreign.iterdir()] == ["holiday.jpg"]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written to: by its mode, or for root as a read-only file system."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount, "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if not mount or not umount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("root may write anywhere, and no read-only file system can be mounted here")
    yield folder
    subprocess.run([umount, str(folder)], check=True)


def test_a_read_only_store(lists: Path, read_only: Path, tmp_path: Path) -> None:
    done = sweep(lists, read_only / "store", tmp_path)
    assert done.returncode == 2
    line = error_line(done)
    assert (
        str(read_only / "store") in line and "read-only or not permitted; give a --store that you may write to" in line
    )
