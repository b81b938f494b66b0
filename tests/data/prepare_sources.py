"""Source videos whose frames show their number, and what clips cut out of them hold."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.data.awkward_videos import picture, read_number

NTSC = Fraction(30000, 1001)


def write_source(
    path: Path,
    frames: int,
    *,
    rate: Fraction = Fraction(25),
    ticks: Sequence[int] = (),
    time_base: Fraction | None = None,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    **options: str,
) -> Path:
    """A video with one key frame in 250 and B-frames, unless options say otherwise.

    Args:
        path: the file.
        frames: number of frames; frame k shows `picture(k)`.
        rate: frames a second.
        ticks: time of each frame in units of `time_base`; none given: regular ones.
        time_base: seconds; None: 1 / rate.
        size: width and height, pixels.
        codec: FFmpeg's encoder.
        **options: of the encoder.
    """
    x264 = {"g": "250", "bf": "3", "preset": "ultrafast", "threads": "1"} if codec == "libx264" else {}
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate, options=x264 | options)
        stream.width, stream.height = size
        stream.codec_context.time_base = time_base or 1 / rate
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = ticks[number] if ticks else number, time_base or 1 / rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def decoded(clip: Path) -> list[Any]:
    """All frames of a clip."""
    with av.open(str(clip)) as video:
        return list(video.decode(video=0))


def numbers(clip: Path) -> list[int | None]:
    """The frame numbers that a clip shows."""
    return [read_number(frame.to_ndarray(format="rgb24")) for frame in decoded(clip)]


def damage(path: Path, start_second: float, end_second: float) -> None:
    """Overwrite the packets of a stretch with zeros, their lengths and the container left alone."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as video:
        for packet in video.demux(video=0):
            if packet.pts is not None and start_second <= packet.pts * packet.time_base < end_second:
                data[packet.pos + 4 : packet.pos + packet.size] = bytes(packet.size - 4)
    path.write_bytes(data)


def between(start: float, end: float, times: Sequence[float]) -> list[int]:
    """Numbers of the frames shown at start ≤ time < end."""
    times_N = np.round(times, 6)
    return np.flatnonzero((times_N >= round(start, 6)) & (times_N < round(end, 6))).tolist()
