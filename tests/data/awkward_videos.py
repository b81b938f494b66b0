"""Videos whose frame numbers can be read off the picture, and ways to make them awkward or broken.

A picture is a grid of 4 × 4 bright and dark cells over weak noise: twelve cells spell the frame number, four a check
nibble, so that a wrong, torn, turned or mirrored picture is not taken for a right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

DARK, BRIGHT, NOISE = 50, 200, 12
TURNS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Degrees clockwise that a player turns the stored picture by → the first entries of the matrix in the file."""


def _bits(number: int) -> np.ndarray:
    check = (number ^ number >> 4 ^ number >> 8 ^ 0b1011) & 15
    return (((number & 0xFFF) << 4 | check) >> np.arange(15, -1, -1) & 1).reshape(4, 4)


def picture(number: int, width: int, height: int) -> np.ndarray:
    """The picture of a frame number below 4096, uint8 (H, W, C); the noise differs from frame to frame."""
    cells_HW = _bits(number)[np.arange(height) * 4 // height][:, np.arange(width) * 4 // width]
    noise_HW = np.random.default_rng(number).integers(-NOISE, NOISE + 1, (height, width))
    return np.repeat((DARK + cells_HW * (BRIGHT - DARK) + noise_HW)[..., None], 3, 2).astype(np.uint8)


def read_number(frame_HWC: np.ndarray) -> int | None:
    """The frame number in a picture; None where the cells spell none."""
    height, width, _ = frame_HWC.shape
    grey_HW = frame_HWC.mean(2)
    y, x = ((np.arange(5) * side) // 4 for side in (height, width))
    means = np.array([[grey_HW[y[i] : y[i + 1], x[j] : x[j + 1]].mean() for j in range(4)] for i in range(4)])
    if (np.abs(means - (DARK + BRIGHT) / 2) < 25).any():
        return None
    word = int("".join("1" if mean > (DARK + BRIGHT) / 2 else "0" for mean in means.ravel()), 2)
    return word >> 4 if np.array_equal(_bits(word >> 4), means > (DARK + BRIGHT) / 2) else None


def read_numbers(frames_THWC: Iterable[np.ndarray]) -> list[int | None]:
    """The frame number in each picture."""
    return [read_number(frame) for frame in frames_THWC]


def encode(
    path: Path,
    frames: int = 40,
    *,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    ticks: Sequence[int] = (),
    sound: bool = False,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a video whose frame k shows `picture(k)`; the same bytes each time.

    Args:
        path: the file; its ending chooses the container.
        frames: number of frames.
        size: width and height, pixels.
        codec: FFmpeg's encoder.
        pix_fmt: FFmpeg's pixel format.
        ticks: time of each frame in 1/25 s; none given: one tick a frame.
        sound: with a sound track.
        container: options of the container.
        **options: options of the encoder.
    """
    if codec == "libx264":  # its assembly decides on frame types by bytes it never set
        options["x264-params"] = ":".join(["asm=0", *filter(None, [options.get("x264-params")])])
    with av.open(str(path), "w", options=container or {}) as out:
        stream: Any = out.add_stream(codec, rate=25, options={"threads": "1", **options})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = Fraction(1, 25)
        track: Any = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = ticks[number] if ticks else number, Fraction(1, 25)
            out.mux(stream.encode(frame))
            if track is not None:
                out.mux(track.encode(_silence(number)))
        out.mux(stream.encode())
        if track is not None:
            out.mux(track.encode())
    return path


def sound_only(path: Path) -> Path:
    """A second of silence and no picture."""
    with av.open(str(path), "w") as out:
        track: Any = out.add_stream("aac", rate=16000, layout="mono")
        for number in range(25):
            out.mux(track.encode(_silence(number)))
        out.mux(track.encode())
    return path


def _silence(number: int) -> av.AudioFrame:
    sound = av.AudioFrame.from_ndarray(np.zeros((1, 640), np.float32), format="fltp", layout="mono")
    sound.rate, sound.pts, sound.time_base = 16000, number * 640, Fraction(1, 16000)
    return sound


def turned(path: Path, source: Path, degrees: int) -> Path:
    """A copy of an mp4 or mov whose metadata turns the picture clockwise for display."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in TURNS[degrees])
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def damaged(source: bytes, seed: int) -> tuple[str, bytes]:
    """A random injury to an mp4 and what it was: flipped bytes, a zeroed block or a cut, in its index or its data.

    Args:
        source: the whole file.
        seed: of the injury; the kinds take turns.
    """
    rng = np.random.default_rng(seed)
    data = bytearray(source)
    start = data.index(b"mdat") + 4
    index = data.index(b"moov")
    pictures = range(start, index) if index > start else range(start, len(data))
    header = range(index, len(data)) if index > start else range(0, start)
    kind = ("flips in the data", "zeros in the data", "flips in the index", "zeros in the index", "cut")[seed % 5]
    place = header if "index" in kind else pictures
    if kind == "cut":
        return kind, bytes(data[: int(rng.integers(1, len(data)))])
    if "zeros" in kind:
        length = int(rng.integers(4, 65 if "index" in kind else 1025))
        at = int(rng.integers(place.start, max(place.start + 1, place.stop - length)))
        data[at : at + length] = bytes(len(data[at : at + length]))
        return kind, bytes(data)
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(place.start, place.stop))] ^= int(rng.integers(1, 256))
    return kind, bytes(data)


def trimmed(path: Path, source: Path, frames: int) -> Path:
    """A copy of an mp4 whose edit list leaves out its first frames, as cutting without encoding does."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as video:
        base = video.streams.video[0].time_base
    assert base is not None
    at = data.index(b"elst") + 16  # past name, flags, count and duration: the time at which the first edit starts
    start = int.from_bytes(data[at : at + 4], "big") + frames * int(1 / (25 * base))
    data[at : at + 4] = start.to_bytes(4, "big")
    path.write_bytes(data)
    return path
