"""The entry script of the benchmarks, and the clips and readers that `decode` compares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sefar.data.decode import decode_frames
from studies.benchmarks.clips import KEY_FRAMES, make_clips, release_read
from studies.benchmarks.cold_store import cold_case
from studies.benchmarks.findings import Options
from studies.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.slow
def test_decoding_finds_what_it_is_meant_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    from studies.benchmarks import decode

    monkeypatch.setattr(decode, "cold_case", lambda folder, paths: None)  # has a test of its own
    found = decode.run(Options(quick=True, folder=tmp_path))
    assert [f.name for f in found.figures] == ["decode_speedup", "framestore_speedup", "framestore_jpeg_speedup"]
    assert all(figure.value > 0 for figure in found.figures)
    sizes = found.cases[3].columns["MB a clip"]
    assert (
        float(sizes["warm store, raw"])
        > 3 * float(sizes["warm store, JPEG"])
        > 3 * float(sizes["decoding the 8 frames"])
    )


@pytest.mark.slow
def test_training_is_watched_waiting_for_data(tmp_path: Path, synthgym_root: str) -> None:
    from studies.benchmarks import loader

    waiting, shares = loader.wait_case(Options(quick=True, folder=tmp_path, root=synthgym_root))
    assert set(shares) == {0, 1, 2} and all(0 <= s < 1 for found in shares.values() for s in found)
    assert list(waiting.seconds) == ["0 loader threads", "1 loader thread", "2 loader threads"]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "studies/throughput.py", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_measures_prints_writes_and_keeps(tmp_path: Path) -> None:
    table, store = tmp_path / "page.md", tmp_path / "store"
    done = run("--only", "store,search", "--quick", "--table", str(table), "--store", str(store))
    assert done.returncode == 0, done.stderr
    page, lines = table.read_text(), done.stdout.splitlines()
    assert page.index("## store") < page.index("## search") and page.count("\n### ") == 3
    figures = dict(line.split("=") for line in lines[-7:])
    assert list(figures)[:2] == ["store_write_seconds_per_epoch", "store_read_seconds_per_million"]
    assert float(figures["search_compute_ratio"]) > 0
    kept = ResultStore(str(store)).read("benchmarks", study="throughput")
    assert set(kept[kept.case == ""].way) == set(figures) and set(kept.benchmark) == {"store", "search"}


@pytest.mark.parametrize(
    "flags,said",
    [
        (("--table", "nowhere/page.md"), "error: --table nowhere/page.md: cannot be written"),
        (("--table", "docs"), "error: --table docs: cannot be written"),
        (("--curves", "nowhere"), "error: "),
    ],
)
def test_what_would_fail_after_minutes_is_found_at_once(flags: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run("--only", "search", "--store", str(tmp_path / "store"), *flags)
    assert done.returncode != 0 and done.stdout == "" and flags[1] in done.stderr
    assert done.stderr.startswith(said) and len(done.stderr.splitlines()) == 1


def test_mistakes_are_one_line() -> None:
    done = run("--only", "step,decoding")
    assert done.returncode == 2 and done.stderr.splitlines() == [
        "error: --only: 'decoding' is unknown — did you mean 'decode'?"
    ]
