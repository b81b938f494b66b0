"""Every kind of file gives the frames that its pictures say, or an error that says why not."""

from __future__ import annotations

import itertools
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sefar.data import decode, decode_pyav
from sefar.data.decode import clip_frames, decode_clip, decode_frames, scaled_size
from sefar.data.verify import verify_clip
from sefar.data.video_info import read_info
from sefar.errors import DecodeError
from tests.data.awkward_videos import encode, read_numbers, sound_only, trimmed, turned
from tests.data.test_decode import BROKEN, REAL

pytestmark = pytest.mark.timeout(120)

FRAMES = 40
MEND = "; replace the clip or take it out of the list"
OPEN_GOP = {"x264-params": "open-gop=1:keyint=10:bframes=3"}
KINDS: dict[str, dict] = {
    "plain.mp4": {},
    "sound.mp4": {"sound": True},
    "no_count.mkv": {},
    "no_count.webm": {"codec": "libvpx-vp9"},
    "hidden_frames.webm": {"codec": "libvpx", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"},
    "no_count.ts": {},
    "no_count.flv": {},
    "fragments.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}, "g": "10"},
    "odd.mp4": {"pix_fmt": "yuv444p", "size": (97, 63)},
    "odd.webm": {"codec": "libvpx-vp9", "size": (97, 63)},
    "ten_bit.mp4": {"pix_fmt": "yuv420p10le"},
    "ten_bit.mov": {"codec": "prores", "pix_fmt": "yuv422p10le"},
    "full_range.mp4": {"pix_fmt": "yuvj420p"},
    "variable_rate.mp4": {"ticks": [0, 1, 2, 5, 6, 9, *range(20, 54)]},
    "variable_rate.mkv": {"ticks": [0, 1, 2, 50, 51, 300, *range(310, 344)]},
    "one_frame.mp4": {"frames": 1},
    "one_frame.webm": {"codec": "libvpx-vp9", "frames": 1},
    "two_frames.mp4": {"frames": 2},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "bf": "2"},
    "h264.avi": {},
    "h264_no_b_frames.avi": {"g": "10", "bf": "0"},
    "h264.wmv": {"g": "10", "bf": "3"},
    "intra_refresh.mp4": {"intra-refresh": "1", "g": "10"},
    "open_gop.mp4": OPEN_GOP,
    "hevc.mp4": {"codec": "libx265", "x265-params": "log-level=none:keyint=10"},
    "mpeg2.mpg": {"codec": "mpeg2video", "bf": "2", "g": "10"},
    "motion_jpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "lossless.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p"},
    "wide_16.mp4": {"size": (16, 24)},
    "wide_24.mp4": {"size": (24, 16)},
    "wide_48.mp4": {"size": (48, 36)},
    "wide_72.mp4": {"size": (72, 48)},
    "name: 100% #1!.mp4": {},
}
OPEN = {
    *("open_gop.mp4", "hevc.mp4", "intra_refresh.mp4", "h264.wmv"),
    *("mpeg4_b_frames.avi", "h264.avi", "h264_no_b_frames.avi"),
}
"""Where decord, asked for a frame behind the first key frame, gives another one; at times, in AVI, another last one."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a video of `KINDS` by name, once."""
    folder = tmp_path_factory.mktemp("kinds")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else encode(path, **KINDS[name])

    return make


def in_sequence(path: Path) -> np.ndarray:
    """All frames as PyAV alone gives them, one after the other from the start."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    turns = frames[0].rotation // 90
    return np.stack([np.rot90(f.to_ndarray(format="rgb24", interpolation="BICUBIC"), turns) for f in frames])


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_the_one_its_picture_says(video: Callable[[str], Path], name: str) -> None:
    path, total = video(name), KINDS[name].get("frames", FRAMES)
    frames = decode_clip(path)
    width, height = KINDS[name].get("size", (96, 64))
    assert (frames.shape, frames.dtype) == ((total, height, width, 3), np.uint8)
    assert read_numbers(frames) == list(range(total))
    assert clip_frames(path) == verify_clip(path) == total
    assert clip_frames(path, 0, 1) == 1
    np.testing.assert_array_equal(frames, in_sequence(path))


@pytest.mark.parametrize("name", KINDS)
def test_windows_and_single_frames_are_exact(video: Callable[[str], Path], name: str) -> None:
    path, total = video(name), KINDS[name].get("frames", FRAMES)
    whole = decode_clip(path)
    for start in range(0, total, 3):
        end = min(start + 4, total)
        np.testing.assert_array_equal(decode_clip(path, start, end), whole[start:end])
        assert read_numbers(decode_frames(path, [total - 1, start, start])) == [total - 1, start, start]
        assert read_numbers(decode_frames(path, [start])) == [start]  # which does not see what comes after
    window = whole[min(2, total - 1) :]
    numbers = np.random.default_rng(0).integers(0, len(window), 9)
    got = decode_frames(path, numbers.tolist(), start_frame=min(2, total - 1), end_frame=total)
    np.testing.assert_array_equal(got, window[numbers])


@pytest.mark.parametrize("name", KINDS)
def test_whole_windows_equal_pyav_to_the_bit(video: Callable[[str], Path], name: str) -> None:
    """Of files that decord is trusted with they are decord's."""
    assert differing_sides(video(name), (0, 15)) == []


def differing_sides(path: Path, sides: tuple[int, ...]) -> list[int]:
    """Of these short sides, those at which the whole clip, or two of its frames alone, are not PyAV's."""
    differing = []
    for side in sides:
        info = read_info(path, max_short_side=side)
        by_pyav = decode_pyav.read_frames(info, range(info.frames), scaled_size(info, side))
        some = sorted({info.frames // 2, info.frames - 1})
        alone = decode_pyav.read_frames(info, some, scaled_size(info, side))
        if not (
            np.array_equal(decode_clip(path, max_short_side=side), by_pyav) and np.array_equal(alone, by_pyav[some])
        ):
            differing.append(side)
    return differing


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith(("no_", "mpeg2"))])
def test_decord_itself_reads_what_it_is_trusted_with(video: Callable[[str], Path], name: str) -> None:
    info = read_info(video(name))
    assert info.plain is (name not in OPEN)
    if info.plain:
        numbers = np.arange(info.frames // 2, info.frames)
        frames = decode._read_decord(info, numbers, None)
        assert read_numbers(frames) == numbers.tolist()


@pytest.mark.parametrize("name", ["hevc.mp4", "h264_no_b_frames.avi"])
def test_decord_seeks_wrong_in_files_it_is_not_trusted_with(video: Callable[[str], Path], name: str) -> None:
    """Open groups of pictures, and H.264 in AVI: why such files go to PyAV."""
    info = read_info(video(name))
    assert any(read_numbers(decode._read_decord(info, np.array([n]), None)) != [n] for n in range(info.frames))


@pytest.mark.parametrize(("degrees", "size"), list(itertools.product((90, 180, 270), ((96, 64), (40, 24), (48, 36)))))
def test_pictures_are_turned_as_the_file_says(tmp_path: Path, degrees: int, size: tuple[int, int]) -> None:
    path = turned(tmp_path / "turned.mp4", encode(tmp_path / "stored.mp4", 12, size=size), degrees)
    frames = decode_clip(path)
    upright = np.rot90(frames, degrees // 90, (1, 2))
    assert upright.shape[1:3] == size[::-1]
    assert read_numbers(upright) == list(range(12))
    assert differing_sides(path, (0, 16, 20)) == []
    assert min(decode_clip(path, 0, 1, max_short_side=16).shape[1:3]) == 16
    assert verify_clip(path) == 12


def test_a_picture_turned_askew_is_refused(tmp_path: Path) -> None:
    path = turned(tmp_path / "turned.mp4", encode(tmp_path / "stored.mp4", 12), 90)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 4] = (1 << 16).to_bytes(4, "big")  # a shear
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"turned\.mp4: does not decode.*multiples of 90 are understood"):
        verify_clip(path)


def test_frames_before_the_start_of_an_edit_list_are_not_shown(tmp_path: Path) -> None:
    path = trimmed(tmp_path / "cut.mp4", encode(tmp_path / "whole.mp4", g="10", bf="2"), 7)
    frames = decode_clip(path)
    assert read_numbers(frames) == list(range(7, FRAMES)) == read_numbers(in_sequence(path))
    assert verify_clip(path) == FRAMES - 7
    assert read_numbers(decode_frames(path, [20, 0])) == [27, 7]


def test_damaged_times_do_not_hide_a_frame(tmp_path: Path) -> None:
    """A time before or after the edit list's span makes FFmpeg leave the frame out in silence."""
    whole = encode(tmp_path / "whole.mp4").read_bytes()
    for entry, offset in ((0, 0), (3, 1 << 24), (3, 0x7FFFFFFF)):
        data = bytearray(whole)
        at = data.index(b"ctts") + 12 + 8 * entry + 4
        data[at : at + 4] = offset.to_bytes(4, "big")
        path = tmp_path / f"{entry}_{offset}.mp4"
        path.write_bytes(data)
        try:
            frames = decode_clip(path)
        except DecodeError as error:
            assert "its edit list leaves out frames" in str(error)
        else:
            assert read_numbers(frames) == list(range(FRAMES))


# Files that are cut short

CUTS = {
    "cut.mp4": {"container": {"movflags": "faststart"}},
    "cut.mkv": {},
    "cut.webm": {"codec": "libvpx-vp9"},
    "cut.avi": {"codec": "mpeg4"},
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("share", [0.5, 0.75, 0.95])
def test_files_cut_short(tmp_path: Path, name: str, share: float) -> None:
    data = encode(tmp_path / f"whole_{name}", **CUTS[name]).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    for whole in (decode_clip, verify_clip, clip_frames):
        with pytest.raises(
            DecodeError, match=rf"{name}: does not decode, frames 0-end \((the file is cut|Invalid data)"
        ):
            whole(path)  # type: ignore[operator]
    there = 0
    for number in range(FRAMES):
        try:
            assert read_numbers(decode_clip(path, number, number + 1)) == [number]
            there += 1
        except DecodeError as error:
            assert str(error).startswith(str(path))
    assert name == "cut.avi" or 0 < there < FRAMES  # an AVI's index is at its end


@pytest.mark.parametrize(
    ("name", "share"), list(itertools.product(("cut.ts", "cut.flv"), (0.5, 0.6, 0.75, 0.8, 0.9, 0.95)))
)
def test_streams_that_end_early_hold_no_wrong_frame(tmp_path: Path, name: str, share: float) -> None:
    """Such files do not say how long they are: what is there is taken, unless it ends in a torn frame or a hole."""
    data = encode(tmp_path / f"whole_{name}").read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    try:
        frames = decode_clip(path)
        assert read_numbers(frames) == list(range(len(frames)))
    except DecodeError as error:
        assert str(error).startswith(f"{path}: does not decode, frames 0-end (")
    assert read_numbers(decode_clip(path, 0, 5)) == [0, 1, 2, 3, 4]


# Files that are no video


def no_video(path: Path, kind: str) -> Path:
    if kind == "sound":
        return sound_only(path)
    if kind == "png":
        Image.new("RGB", (64, 48), "red").save(path, "png")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a" * 500)
    else:
        texts = {
            "empty": "",
            "text": "not a video\n" * 50,
            "list of files": "ffconcat version 1.0\nfile other.mp4\n",
            "play list": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.ts\n#EXT-X-ENDLIST\n",
        }
        path.write_text(texts[kind])
    return path


@pytest.mark.parametrize("kind", ["sound", "png", "zip", "empty", "text", "list of files", "play list"])
def test_files_that_are_no_video(tmp_path: Path, kind: str) -> None:
    path = no_video(tmp_path / "clip.mp4", kind)
    encode(tmp_path / "other.mp4", 4)
    for whole in (decode_clip, verify_clip, clip_frames):
        with pytest.raises(DecodeError) as caught:
            whole(path)  # type: ignore[operator]
        head, cause, mend = re.split(r"[()]", str(caught.value))
        assert (head, mend) == (f"{path}: does not decode, frames 0-end ", MEND)
        assert cause == "it has no video stream" if kind == "sound" else cause.startswith("Invalid ")


# Asking


def test_numbers_outside_the_window_are_refused(video: Callable[[str], Path]) -> None:
    path = video("plain.mp4")
    for numbers in ([], [-1], [3, 6]):
        with pytest.raises(IndexError, match=r"asked for of a window of 6"):
            decode_frames(path, numbers, start_frame=2, end_frame=8)
    with pytest.raises(DecodeError, match="frames 38-41 asked for, but the video has 40; mend the window or the clip"):
        decode_frames(path, [0], start_frame=38, end_frame=41)


def test_one_read_serves_a_view(video: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    reads, real = [], decode_pyav.read_frames
    monkeypatch.setattr(decode_pyav, "read_frames", lambda info, n, size: reads.append(n) or real(info, n, size))
    frames = decode_frames(video("plain.mp4"), [30, 2, 10, 2], max_short_side=40)
    assert reads == [[2, 10, 30]]
    assert frames.shape == (4, 40, 60, 3)
    assert read_numbers(frames) == [30, 2, 10, 2]


def test_pyav_takes_over_where_decord_fails(video: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decode_clip(video("plain.mp4"))
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(ImportError):
        decode_clip(video("plain.mp4"))
    monkeypatch.undo()

    def fails(*_: object) -> np.ndarray:
        raise RuntimeError("decord's own")

    monkeypatch.setattr(decode, "_read_decord", fails)
    np.testing.assert_array_equal(decode_clip(video("plain.mp4")), whole)
    assert read_numbers(decode_frames(video("plain.mp4"), [9, 3])) == [9, 3]


# Real footage


@pytest.mark.parametrize("name", sorted(set(REAL) - BROKEN))
def test_real_videos_equal_pyav_in_sequence(shared_videos: Path, name: str) -> None:
    path = shared_videos / name
    frames = in_sequence(path)
    np.testing.assert_array_equal(decode_clip(path), frames)
    assert verify_clip(path) == len(frames)
    numbers = np.random.default_rng(0).integers(0, len(frames), 8)
    np.testing.assert_array_equal(decode_frames(path, numbers.tolist()), frames[numbers])
    assert differing_sides(path, (48,)) == []


def test_the_damaged_real_video_gives_true_frames_or_none(shared_videos: Path) -> None:
    path = shared_videos / next(iter(BROKEN))
    with pytest.raises(DecodeError, match=r"frames 0-end \(packet 30: the lengths of its NAL units do not fit\)"):
        verify_clip(path)
    with av.open(str(path)) as container:
        frames = itertools.islice(container.decode(video=0), 16)
        first = [frame.to_ndarray(format="rgb24", interpolation="BICUBIC") for frame in frames]
    np.testing.assert_array_equal(decode_clip(path, 0, 16), np.stack(first))
