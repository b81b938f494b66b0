from __future__ import annotations

import errno
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sefar import files
from sefar.data.prepare import reading
from sefar.data.prepare.cutting import Cut, Outcome, cut_clips
from sefar.data.prepare.encoding import clip_size
from sefar.errors import DataError
from tests.data import awkward_videos
from tests.data.awkward_videos import picture, read_number, turned
from tests.data.prepare_sources import NTSC, between, damage, decoded, numbers, write_source

VARIABLE = np.cumsum(np.random.default_rng(0).integers(20, 90, 1000)).tolist()  # ms between frames
SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "25 a second": ("mp4", {}),
    "29.97 a second": ("mp4", {"rate": NTSC}),
    "29.97 a second in milliseconds": ("mkv", {"rate": NTSC}),
    "variable rate": ("mp4", {"ticks": VARIABLE, "time_base": Fraction(1, 1000)}),
    "open groups of pictures": ("mp4", {"g": "60", "x264-params": "open-gop=1:bframes=4:b-pyramid=normal"}),
    "open groups of pictures, Matroska": ("mkv", {"g": "60", "x264-params": "open-gop=1:bframes=4"}),
    "does not start at zero": ("ts", {"g": "100"}),
    "VP8": ("webm", {"codec": "libvpx", "deadline": "realtime", "cpu-used": "8"}),
}


def shown(path: Path) -> list[float]:
    """Seconds from the start at which each frame is shown, as the packets say."""
    with av.open(str(path)) as video:
        packets = [p for p in video.demux(video=0) if p.pts is not None]
        start = Fraction(video.start_time or 0, 1_000_000)
        return sorted(float(p.pts * p.time_base - start) for p in packets if p.pts is not None)


def cut(source: Path, *spans: tuple[float, float], folder: str = "clips", **options: Any) -> tuple[Path, list[Outcome]]:
    """Clips 0.mp4, 1.mp4, … and their outcomes in this order."""
    cuts = [Cut(str(k), source.parent / folder / f"{k}.mp4", *span) for k, span in enumerate(spans)]
    outcomes = sorted(cut_clips(source, cuts, **options), key=lambda o: int(o.clip_id))
    return source.parent / folder, outcomes


@pytest.mark.parametrize("kind", SOURCES)
def test_clips_hold_exactly_the_frames_shown_in_their_time(tmp_path: Path, kind: str) -> None:
    ending, options = SOURCES[kind]
    source = write_source(tmp_path / f"source.{ending}", 800, **options)
    times = shown(source)
    assert len(times) == 800
    draw = random.Random(1)
    starts = [round(draw.uniform(0, times[-1] - 2), 2) for _ in range(12)]
    spans = [(0.0, 0.5), *((start, round(start + draw.uniform(0.2, 1.5), 2)) for start in starts)]
    spans += [(times[300], times[310])]  # on frames
    folder, outcomes = cut(source, *spans)
    for k, (start, end) in enumerate(spans):
        expected = between(start, end, times)
        assert outcomes[k] == Outcome(str(k), len(expected))
        assert numbers(folder / f"{k}.mp4") == expected
        seen = [frame.time for frame in decoded(folder / f"{k}.mp4")]
        np.testing.assert_allclose(seen, np.array(times)[expected] - times[expected[0]], atol=0.002)


def test_a_start_that_rounding_puts_behind_its_frame_takes_it(tmp_path: Path) -> None:
    start = 0.04 + 2.24
    assert start > 2.28  # when frame 57 is shown
    folder, _ = cut(write_source(tmp_path / "a.mp4", 200), (start, 2.4))
    assert numbers(folder / "0.mp4") == [57, 58, 59]


def test_key_frames_every_eight_no_sound_even_sizes(tmp_path: Path) -> None:
    source = awkward_videos.encode(tmp_path / "a.mp4", 60, size=(98, 62), sound=True)
    folder, _ = cut(source, (0.4, 2.0))
    with av.open(str(folder / "0.mp4")) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]
        stream: Any = clip.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(clip.decode(video=0))
        assert [k for k, frame in enumerate(frames) if frame.key_frame] == [0, 8, 16, 24, 32]
        assert clip.metadata.keys() <= {"major_brand", "minor_version", "compatible_brands"}  # no date, no program


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (454, 256)),
        ((1080, 1920), (256, 454)),
        ((340, 256), (340, 256)),
        ((320, 240), (320, 240)),
        ((257, 257), (256, 256)),
        ((427, 241), (426, 240)),
        ((640, 360), (454, 256)),
    ],
)
def test_short_side_256_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert clip_size(*size) == expected


@pytest.mark.parametrize(("size", "expected"), [((640, 360), (454, 256)), ((101, 67), (100, 66))])
def test_clips_are_scaled_down(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    source = write_source(tmp_path / "a.mkv", 12, size=size, codec="ffv1" if size[0] % 2 else "libx264")
    folder, _ = cut(source, (0.0, 0.4))
    frame = decoded(folder / "0.mp4")[0]
    assert (frame.width, frame.height) == expected
    assert numbers(folder / "0.mp4") == list(range(10))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_clips_stand_upright(tmp_path: Path, degrees: int) -> None:
    source = turned(tmp_path / "b.mp4", write_source(tmp_path / "a.mp4", 20), degrees)
    folder, _ = cut(source, (0.2, 0.4))
    frames = decoded(folder / "0.mp4")
    assert (frames[0].width, frames[0].height) == ((96, 64) if degrees == 180 else (64, 96))
    assert frames[0].rotation == 0
    upright = [np.rot90(frame.to_ndarray(format="rgb24"), degrees // 90) for frame in frames]
    assert [read_number(frame_HWC) for frame_HWC in upright] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("pixels", "matrix", "full_range"), [("yuv420p", 1, 1), ("yuv420p", 5, 2), ("yuv444p10le", 1, 1)]
)
def test_colours_stay(tmp_path: Path, pixels: str, matrix: int, full_range: int) -> None:
    bars_HWC = np.zeros((64, 96, 3), np.uint8)
    for k, colour in enumerate(
        [(230, 30, 30), (30, 200, 40), (30, 40, 220), (200, 200, 60), (128, 128, 128), (8, 8, 8)]
    ):
        bars_HWC[:, 16 * k : 16 * k + 16] = colour
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, full_range
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(bars_HWC, format="rgb24")
            frame = frame.reformat(format=pixels, dst_colorspace=matrix, dst_color_range=full_range)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    folder, _ = cut(source, (0.0, 0.4))
    seen_HWC = decoded(folder / "0.mp4")[0].to_ndarray(format="rgb24")
    error = np.abs(seen_HWC.astype(int) - bars_HWC)[:, [4 + 16 * k + j for k in range(6) for j in range(8)]]
    assert error.mean() < 4


def test_same_bytes_each_time_and_alone(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4", 200)
    spans = [(1.0, 2.0), (1.5, 3.0), (3.1, 3.3)]
    together, _ = cut(source, *spans)
    for k, span in enumerate(spans):
        alone, _ = cut(source, span, folder=f"alone{k}")
        assert (alone / "0.mp4").read_bytes() == (together / f"{k}.mp4").read_bytes()


def test_one_pass_over_what_lies_close_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(tmp_path / "a.mp4", 1000, g="50")
    opened = []
    real = reading.open_video
    monkeypatch.setattr(reading, "open_video", lambda path: opened.append(path) or real(path))
    _, outcomes = cut(source, (3.0, 4.0), (2.0, 3.5), (5.0, 6.0), (30.0, 31.0))
    assert [o.frames for o in outcomes] == [25, 38, 25, 25]
    assert len(opened) == 2  # the last lies beyond a gap worth a seek


def test_numbered_frames_whatever_their_times(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.avi", 60, codec="mpeg4", bf="2", g="20")
    folder, outcomes = cut(source, (0, 5), (55, 60), (58, 61), numbered=True)
    assert numbers(folder / "0.mp4") == [0, 1, 2, 3, 4]
    assert numbers(folder / "1.mp4") == [55, 56, 57, 58, 59]
    assert outcomes[2] == Outcome("2", 0, "a.avi ends at 59, the clip at 61")


def test_a_folder_of_pictures_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(8, 13):
        Image.fromarray(picture(number, 96, 64)).save(folder / f"{number}.jpg", quality=95)
    clips, outcomes = cut(folder, (0, float("inf")), numbered=True)
    assert outcomes == [Outcome("0", 5)]
    assert numbers(clips / "0.mp4") == [8, 9, 10, 11, 12]
    (folder / "10.jpg").write_bytes(b"no picture")
    assert "10.jpg" in cut(folder, (0, 5), numbered=True)[1][0].cause


def test_what_cannot_be_cut_says_why_and_leaves_no_file(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4", 100)
    folder, outcomes = cut(source, (3.0, 3.5), (2.01, 2.02), (3.8, 6.0), (9.0, 10.0), (3.5, 4.3))
    assert [o.frames for o in outcomes] == [13, 0, 0, 0, 12]  # the last ends within the slack
    assert outcomes[1].cause == "no frame from 2.01 to 2.02"
    assert outcomes[2].cause == "a.mp4 ends at 3.96, the clip at 6"
    assert outcomes[3].cause == "a.mp4 ends at 3.96, the clip at 10"
    assert sorted(p.name for p in folder.iterdir()) == ["0.mp4", "4.mp4"]


def test_a_clip_of_which_less_than_half_is_there_fails(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4", 100)  # shows its last frame from 3.96 to 4.0 s
    _, outcomes = cut(source, (3.96, 4.0), (3.9, 4.3), (3.76, 4.2))
    assert [o.frames for o in outcomes] == [1, 0, 0]
    assert outcomes[1].cause == "a.mp4 ends at 3.96, the clip at 4.3"
    assert cut(source, (3.6, 4.3))[1][0].frames == 10


@pytest.mark.parametrize("content", [b"", b"no video", bytes(5000)])
def test_a_source_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(content)
    _, outcomes = cut(source, (0.0, 1.0), (2.0, 3.0))
    assert [o.cause for o in outcomes] == ["a.mp4: Invalid data found when processing input"] * 2


def test_a_source_without_pictures(tmp_path: Path) -> None:
    _, outcomes = cut(awkward_videos.sound_only(tmp_path / "a.mp4"), (0.0, 1.0))
    assert outcomes[0].cause == "a.mp4: it has no video stream"


def test_damage_fails_only_the_clips_that_need_the_damaged_stretch(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4", 500, g="50", **{"x264-params": "scenecut=0"})
    damage(source, 8.2, 8.4)  # its group of pictures lasts from 8 to 10
    folder, outcomes = cut(source, (1.0, 2.0), (6.0, 7.5), (8.5, 9.0), (9.5, 10.5), (12.0, 13.0))
    assert [o.frames for o in outcomes] == [25, 38, 0, 0, 25]
    assert outcomes[2].cause.startswith("a.mp4: damaged at 8.")
    assert numbers(folder / "1.mp4") == list(range(150, 188))
    assert numbers(folder / "4.mp4") == list(range(300, 325))
    assert sorted(p.name for p in folder.iterdir()) == ["0.mp4", "1.mp4", "4.mp4"]


def test_a_download_broken_off(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mkv", 500, g="50")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    folder, outcomes = cut(source, (1.0, 2.0), (18.0, 19.0))
    assert [o.frames for o in outcomes] == [25, 0]
    assert numbers(folder / "0.mp4") == list(range(25, 50))
    assert outcomes[1].cause.startswith("a.mkv")
    _, outcomes = cut(source, (0, float("inf")), numbered=True)
    assert "the file is cut short" in outcomes[0].cause


def test_a_full_disk_stops_with_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(tmp_path / "a.mp4", 100)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(DataError, match=r"0\.mp4: cannot write \(No space left on device\); free some space"):
        cut(source, (0.0, 1.0), (2.0, 3.0))


def test_stopping_gives_up_what_is_begun(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4", 100)
    asked = iter(range(1000))
    folder, outcomes = cut(source, (0.0, 1.0), (1.0, 3.0), stopped=lambda: next(asked) > 40)
    assert [o.clip_id for o in outcomes] == ["0"]
    assert sorted(p.name for p in folder.iterdir()) == ["0.mp4"]
