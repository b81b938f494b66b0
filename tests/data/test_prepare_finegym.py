from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sefar import files
from sefar.data.prepare import manifest
from sefar.data.prepare.cutting import Outcome
from sefar.data.prepare.finegym import prepare_finegym
from sefar.data.prepare.manifest import Manifest
from sefar.errors import DataError
from tests.data.prepare_sources import damage, numbers, write_source

ROOT = Path(__file__).resolve().parents[2]
LONG, EVENTS_ONLY, GONE, BAD = "-_long_vid_", "events-only", "gone___vid_", "bad-bad-bad"
E1, E2 = "E_000002_000008", "E_000020_000026"
CLASSES = "Clabel: 0; set: 1; Glabel: 1; (VT) round-off\nClabel: 1; set: 41; Glabel: 2; (UB) giant circle\n"
TIMES = {
    LONG: {
        E1: {
            "event": 4,
            "timestamps": [[2.04, 8.0]],
            "segments": {
                "A_0000_0001": {"stages": 1, "timestamps": [[0.24, 1.0]]},
                "A_0001_0003": {"stages": 1, "timestamps": [[1.0, 2.52]]},
            },
        },
        E2: {
            "event": 1,
            "timestamps": [[20.0, 26.0]],
            "segments": {"A_0000_0002": {"stages": 3, "timestamps": [[0.0, 0.4], [0.4, 0.8], [0.8, 1.6]]}},
        },
    },
    EVENTS_ONLY: {
        E1: {
            "event": 4,
            "timestamps": [[2.04, 8.0]],
            "segments": {"A_0001_0002": {"stages": 1, "timestamps": [[1.0, 1.48]]}},
        },
    },
    GONE: {E1: {"event": 4, "timestamps": [[2.0, 8.0]], "segments": {"A_0001_0002": {"timestamps": [[1.0, 1.5]]}}}},
    BAD: {E1: {"event": 4, "timestamps": [[2.0, 8.0]], "segments": {"A_0001_0002": {"timestamps": [[1.0, 1.5]]}}}},
}
A, B, C = f"{LONG}_{E1}_A_0000_0001", f"{LONG}_{E1}_A_0001_0003", f"{LONG}_{E2}_A_0000_0002"
EVENT, ABSENT, CORRUPT = (f"{video}_{E1}_A_0001_0002" for video in (EVENTS_ONLY, GONE, BAD))
UNTIMED = f"{LONG}_{E1}_A_0005_0006"
FRAMES = {A: range(57, 76), B: range(76, 114), C: range(500, 540), EVENT: range(25, 37)}


def write_annotations(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lists = {
        "gym99_train_element_v1.1": [(A, 1), (B, 1), (ABSENT, 1), (UNTIMED, 1)],
        "gym99_val_element": [(C, 0), (CORRUPT, 1)],
        "gym288_train_element_v1.1": [(C, 0), (EVENT, 1)],
        "gym288_val_element": [(A, 1)],
    }
    for name, rows in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{clip_id} {label}\n" for clip_id, label in rows))
    for subset in ("gym99", "gym288"):
        (folder / f"{subset}_categories.txt").write_text(CLASSES)
    (folder / "set_categories.txt").write_text("set: 1; vault\nset: 41; UB_circles\n")
    (folder / "finegym_annotation_info_v1.1.json").write_text(json.dumps(TIMES))
    return folder


def write_videos(folder: Path) -> Path:
    folder.mkdir()
    write_source(folder / f"{LONG}.mkv", 800, g="100")
    write_source(folder / f"{EVENTS_ONLY}_{E1}.mp4", 100)  # begins at 2.04 s
    (folder / f"{BAD}.webm").write_bytes(b"no video")
    (folder / f"{GONE}.mp4.part").write_bytes(b"a download under way")
    return folder


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_annotations(tmp_path_factory.mktemp("annotations"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("sources") / "videos")


def prepare(annotations: Path, videos: Path, root: Path, **options: object) -> Manifest:
    return prepare_finegym(annotations, videos, root, **{"workers": 1, "progress": False} | options)  # type: ignore[arg-type]


def rows(root: Path) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Status, cause, frames of each split's clips."""
    with (root / "finegym" / "clips" / "manifest.csv").open(newline="") as file:
        return {(r["split"], r["clip_id"]): (r["status"], r["cause"], r["frames"]) for r in csv.DictReader(file)}


def test_elements_are_cut_and_every_clip_is_accounted_for(tmp_path: Path, annotations: Path, videos: Path) -> None:
    manifest = prepare(annotations, videos, tmp_path)
    clips = tmp_path / "finegym" / "clips"
    assert sorted(p.name for p in clips.iterdir()) == sorted([*(f"{i}.mp4" for i in FRAMES), "manifest.csv"])
    for clip_id, frames in FRAMES.items():
        assert numbers(clips / f"{clip_id}.mp4") == list(frames)
    untimed = "no sound timestamps in finegym_annotation_info_v1.1.json"
    corrupt = f"{BAD}.webm: Invalid data found when processing input"
    assert rows(tmp_path) == {
        ("gym99/train", A): ("available", "", "19"),
        ("gym99/train", B): ("available", "", "38"),
        ("gym99/train", ABSENT): ("missing", f"no source video {GONE}", ""),
        ("gym99/train", UNTIMED): ("failed", untimed, ""),
        ("gym99/test", C): ("available", "", "40"),
        ("gym99/test", CORRUPT): ("failed", corrupt, ""),
        ("gym288/train", C): ("available", "", "40"),
        ("gym288/train", EVENT): ("available", "", "12"),
        ("gym288/test", A): ("available", "", "19"),
    }
    assert manifest.summary().splitlines() == [
        "split            clips  available   missing    failed",
        "gym288/test          1          1         0         0",
        "gym288/train         2          2         0         0",
        "gym99/test           2          1         0         1",
        "gym99/train          4          2         1         1",
        "missing:",
        f"  1 × no source video {GONE}",
        "failed:",
        f"  1 × {untimed}",
        f"  1 × {corrupt}",
        f"manifest: {clips / 'manifest.csv'}",
    ]


def test_a_second_run_keeps_whole_clips_and_cuts_the_others(tmp_path: Path, annotations: Path, videos: Path) -> None:
    prepare(annotations, videos, tmp_path)
    clips = tmp_path / "finegym" / "clips"
    whole = (clips / f"{B}.mp4").read_bytes()
    (clips / f"{A}.mp4").unlink()
    (clips / f"{A}.mp4.abc.part").write_bytes(b"a process was killed")
    (clips / "manifest.csv").unlink()
    (clips / f"{B}.mp4").write_bytes(b"")  # no clip of ours: another program's
    kept = (clips / f"{C}.mp4").stat().st_mtime_ns
    prepare(annotations, videos, tmp_path)
    assert (clips / f"{C}.mp4").stat().st_mtime_ns == kept
    assert (clips / f"{B}.mp4").read_bytes() == whole
    assert numbers(clips / f"{A}.mp4") == list(FRAMES[A])
    assert rows(tmp_path)["gym99/test", C] == ("available", "", "40")
    (clips / f"{B}.mp4").write_bytes(b"")  # though the manifest counts its frames
    prepare(annotations, videos, tmp_path)
    assert (clips / f"{B}.mp4").read_bytes() == whole


def test_one_split_leaves_the_rows_of_others(tmp_path: Path, annotations: Path, videos: Path) -> None:
    prepare(annotations, videos, tmp_path, subsets=("gym288",))
    assert {split for split, _ in rows(tmp_path)} == {"gym288/train", "gym288/test"}
    assert not (tmp_path / "finegym" / "clips" / f"{B}.mp4").exists()
    prepare(annotations, videos, tmp_path, subsets=("gym99",))
    assert len(rows(tmp_path)) == 9


def test_a_damaged_stretch_fails_its_element_only(tmp_path: Path, annotations: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    source = write_source(videos / f"{LONG}.mp4", 800, g="25")
    damage(source, 4.04, 4.1)
    prepare(annotations, videos, tmp_path)
    known = rows(tmp_path)
    assert known["gym99/train", A][0] == known["gym99/test", C][0] == "available"
    status, cause, _ = known["gym99/train", B]
    assert status == "failed" and cause.startswith(f"{LONG}.mp4: damaged at ")


def test_an_interruption_and_a_full_disk_leave_a_manifest(
    tmp_path: Path, annotations: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_whole
    for error in (KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")):

        def stop(path: Path, content: bytes, error: BaseException = error) -> None:
            if path.stem == C:
                raise error
            write(path, content)

        monkeypatch.setattr(files, "write_whole", stop)
        with pytest.raises((KeyboardInterrupt, DataError)) as raised:
            prepare(annotations, videos, tmp_path)
        known = rows(tmp_path)
        assert known["gym99/train", A] == ("available", "", "19")
        assert known["gym99/test", C] == ("missing", "stopped before its turn", "")
        assert not (tmp_path / "finegym" / "clips" / f"{C}.mp4").exists()
    assert "No space left on device" in str(raised.value) and "finished clips are kept" in str(raised.value)


def test_clips_that_were_finished_but_not_told_are_in_the_manifest(
    tmp_path: Path, annotations: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = manifest.cut_all

    def untold(*arguments: object, **options: object) -> Iterator[Outcome]:
        for outcome in real(*arguments, **options):  # type: ignore[arg-type]
            if outcome.clip_id != A:
                yield outcome
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "cut_all", untold)
    with pytest.raises(KeyboardInterrupt):
        prepare(annotations, videos, tmp_path)
    assert rows(tmp_path)["gym99/train", A] == ("available", "", "19")


def test_a_killed_run_leaves_whole_clips_and_goes_on(tmp_path: Path, annotations: Path, videos: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sefar.data.prepare.finegym import prepare_finegym\n"
        "if __name__ == '__main__': prepare_finegym(*map(Path, sys.argv[1:]), workers=2)"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(annotations), str(videos), str(tmp_path)]
    run = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    clips = tmp_path / "finegym" / "clips"
    while not list(clips.glob("*.mp4")) and run.poll() is None:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 30
    while _session_lives(run.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _session_lives(run.pid)  # the processes end with their parent
    for clip in clips.glob("*.mp4"):
        assert numbers(clip) == list(FRAMES[clip.stem])
    before = {clip: clip.stat().st_mtime_ns for clip in clips.glob("*.mp4")}
    prepare(annotations, videos, tmp_path)
    assert {clip.stem for clip in clips.glob("*.mp4")} == set(FRAMES)
    assert {clip: clip.stat().st_mtime_ns for clip in before} == before


def _session_lives(leader: int) -> bool:
    """Whether a process of the session runs, zombies that nobody reaps aside."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # gone meanwhile
        if int(session) == leader and state != "Z":
            return True
    return False


def test_folders_that_are_none_or_hold_nothing(tmp_path: Path, annotations: Path) -> None:
    with pytest.raises(DataError, match=r"none: cannot be listed .*; expected the source videos' folder"):
        prepare(annotations, tmp_path / "none", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / f"Title [{LONG}].mp4").touch()
    with pytest.raises(
        DataError, match=r"empty: no video has a FineGym name; expected <youtube id>\.mp4, for instance "
    ):
        prepare(annotations, tmp_path / "empty", tmp_path)
    bare = write_annotations(tmp_path / "bare")
    (bare / "finegym_annotation_info_v1.1.json").unlink()
    with pytest.raises(DataError, match=r"bare: no finegym_annotation_info_v1\.1\.json; fetch it"):
        prepare(bare, tmp_path / "empty", tmp_path)


def test_a_foreign_manifest_is_refused(tmp_path: Path, annotations: Path, videos: Path) -> None:
    file = tmp_path / "finegym" / "clips" / "manifest.csv"
    file.parent.mkdir(parents=True)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"manifest\.csv: expected rows of clip_id,split,status,cause,frames; remove"):
        prepare(annotations, videos, tmp_path)
