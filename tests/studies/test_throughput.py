from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sefar.data.decode import decode_frames
from studies.results.throughput_table import case_table, throughput_page
from studies.throughput_cases import Case, cold_case
from studies.throughput_clips import KEY_FRAMES, make_clips, release_read

ROOT = Path(__file__).resolve().parents[2]
CASE = Case(
    "How to read?",
    {"slow": [0.1, 0.4, 0.3], "fast": [0.01, 0.02, 0.1], "middle": [0.05, 0.1, 0.1]},
    "clip",
    "slow",
    {"fast": 5, "middle": 5},
    ("Clips were read.",),
)


def test_ratios_are_medians_over_repeats() -> None:
    assert [CASE.ratio(way) for way in CASE.seconds] == pytest.approx([1, 10, 3])  # of 10, 20, 3 and of 2, 4, 3


def test_a_table_says_what_is_met_and_what_is_missed() -> None:
    assert case_table(CASE).splitlines() == [
        "## How to read?",
        "",
        "| way | ms a clip, median (least – most) | times as fast | target |",
        "| --- | --- | --- | --- |",
        "| slow | 300 (100 – 400) | 1.00 | – |",
        "| fast | 20 (10 – 100) | 10.00 | ≥ 5: met |",
        "| middle | 100 (50 – 100) | 3.00 | ≥ 5: missed |",
        "",
        "Clips were read.",
    ]
    page = throughput_page([CASE, CASE], command="python studies/throughput.py --table x.md")
    assert page.startswith("# Throughput: reading clips\n\nMade by `python studies/throughput.py --table x.md` on ")
    assert page.count("## How to read?") == 2 and "opencv-python-headless" in page


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    pytest.importorskip("av")
    return make_clips(tmp_path_factory.mktemp("throughput") / "clips", 2, KEY_FRAMES["every 8"])


def test_clips_are_as_said(clips: list[str], tmp_path: Path) -> None:
    import av

    with av.open(clips[1]) as container:
        frames = list(container.decode(video=0))
    assert (frames[0].width, frames[0].height) == (340, 256) and 100 <= len(frames) <= 150
    assert [n for n, frame in enumerate(frames) if frame.key_frame] == list(range(0, len(frames), 8))
    (again,) = make_clips(tmp_path / "again", 1, KEY_FRAMES["every 8"])
    assert Path(again).read_bytes() == Path(clips[0]).read_bytes()


def test_the_releases_way_reads_the_same_frames_enlarged(clips: list[str]) -> None:
    cv2 = pytest.importorskip("cv2")
    numbers = [3, 50, 97]
    frames = release_read(clips[0], numbers)
    assert frames.shape == (3, 480, 638, 3) and frames.dtype == np.uint8
    for got, expected in zip(frames, decode_frames(clips[0], numbers), strict=True):
        assert np.abs(cv2.resize(got, (340, 256)).astype(int) - expected).mean() < 6
        assert np.abs(cv2.resize(got[:, ::-1], (340, 256)).astype(int) - expected).mean() > 12


@pytest.mark.slow
def test_processes_on_a_cold_store_decode_each_clip_once(clips: list[str], tmp_path: Path) -> None:
    case = cold_case(tmp_path, clips)
    assert case.notes == ("Decodes of a clip by 1 process: 1.", "Decodes of a clip by 8 processes: 1.")


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "studies/throughput.py", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_measures_and_writes_the_page(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    table = tmp_path / "page.md"
    done = run("--clips", "2", "--repeats", "1", "--table", str(table))
    assert done.returncode == 0, done.stderr
    page = table.read_text()
    assert page.count("\n## ") == 7 and page.count("| ≥ 5: ") == 3 and page.count("| ≥ 10: ") == 2
    assert all(block in page for block in done.stdout.strip().split("\n\n\n"))


def test_mistakes_are_one_line() -> None:
    done = run("--what", "decoding")
    assert done.returncode == 2 and done.stderr.splitlines() == [
        "error: --what: 'decoding' is unknown — did you mean 'decode'?"
    ]
