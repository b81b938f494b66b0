"""Frames of a source with their presentation times: a video, from any time on, or a folder of pictures."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from sefar.data.container import cut_short, packet_fault, unit_length_bytes
from sefar.data.decode_pyav import CAREFUL
from sefar.data.video_info import open_video
from sefar.errors import DecodeError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")

PICTURES_PER_SECOND = Fraction(25)
"""What a folder of pictures is played at; nothing says how fast they were taken."""

SEEK_BACK_SECONDS = (1.0, 15.0)
"""How far before the wanted time to seek: files are indexed by decoding time, a little before presentation; and, where
that fails, far enough that frames which the wanted ones lean on were read whole."""

_ROUNDING_SECONDS = 1e-5
"""Added to every time: containers and annotations round, and a frame just at a border belongs after it."""


@dataclass(frozen=True)
class SourceFrame:
    """A decoded frame.

    Attributes:
        position: presentation time in seconds from the start of the source; of a numbered source, the frame's number.
        pts: its time stamp in units of `time_base` (seconds).
        rate: the source's nominal frames a second.
        picture: av.VideoFrame.
    """

    position: float
    pts: int
    time_base: Fraction
    rate: Fraction
    picture: Any


def read_from(source: Path, seconds: float, *, back_seconds: float = SEEK_BACK_SECONDS[0]) -> Generator[SourceFrame]:
    """Decode the frames of a video that are shown at a time or later, in display order.

    Args:
        source: the video.
        seconds: from the start of the source.
        back_seconds: seek to the key frame at or before so long ahead of it.

    Raises:
        DecodeError: there is no video, a frame is damaged or has no time stamp, or the time stamps go back.
        av.FFmpegError: it cannot be opened.
    """
    last = None
    with _opened_before(source, seconds, back_seconds) as (container, stream, packets):
        origin = Fraction(container.start_time or 0, 1_000_000)
        start_pts = math.ceil((Fraction(seconds - _ROUNDING_SECONDS) + origin) / stream.time_base)
        for frame in _decoded(stream, packets, start_pts):
            if last is not None and frame.pts <= last:
                raise DecodeError(f"time stamp {frame.pts} after {last}; remux the file with FFmpeg")
            last = frame.pts
            position = float(frame.pts * stream.time_base - origin) + _ROUNDING_SECONDS
            yield SourceFrame(position, frame.pts, stream.time_base, _rate(stream), frame)


def read_numbered(source: Path) -> Generator[SourceFrame]:
    """Decode a video, or a folder of pictures in the order of their numbers, from its first frame on.

    Its number is a frame's time stamp too: those of the source are not looked at (AVI files have none, and guesses
    go wrong).

    Raises:
        DecodeError: there is no video or picture, the file is cut short, or a frame is damaged.
        av.FFmpegError: it cannot be opened.
    """
    if source.is_dir():
        for number, picture in enumerate(_pictures(source)):
            yield _numbered(number, PICTURES_PER_SECOND, picture)
        return
    with _opened_before(source, 0.0, 0.0) as (container, stream, packets):
        if cause := cut_short(source, container.format.name):
            raise DecodeError(cause)
        for number, frame in enumerate(_decoded(stream, packets, None)):
            yield _numbered(number, _rate(stream), frame)


def _numbered(number: int, rate: Fraction, picture: Any) -> SourceFrame:
    return SourceFrame(number, number, 1 / rate, rate, picture)


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.base_rate or PICTURES_PER_SECOND)


@contextmanager
def _opened_before(source: Path, seconds: float, back_seconds: float) -> Iterator[tuple[Any, Any, Iterator[Any]]]:
    """The container, its video stream and packets: from a key frame at or before `seconds`, else from the beginning."""
    for goal in (seconds - back_seconds, 0.0):
        with open_video(source) as (container, stream):
            stream.codec_context.options = CAREFUL
            packets = container.demux(stream)
            if goal <= 0:
                yield container, stream, packets
                return
            origin = Fraction(container.start_time or 0, 1_000_000)
            container.seek(int((Fraction(goal) + origin) / stream.time_base), stream=stream)
            first = next(packets)
            if first.pts is not None and first.is_keyframe and first.pts * stream.time_base - origin <= seconds:
                yield container, stream, chain([first], packets)
                return


def _decoded(stream: Any, packets: Iterator[Any], start_pts: int | None) -> Iterator[Any]:
    """Frames shown at `start_pts` or later; None: all, whatever their time stamps.

    Faults before the last key frame ahead of the start do no harm and are passed over. There are some in sound files:
    after a seek, frames that lean on what lies before the key frame.
    """
    length_bytes = unit_length_bytes(stream.codec_context)
    fault = None
    for packet in packets:
        if None not in (start_pts, packet.pts) and packet.is_keyframe and packet.pts <= start_pts:
            fault = None
        frames, cause = _decode(packet, length_bytes)
        fault = fault or cause
        for frame in frames:
            if start_pts is not None and frame.pts is None:
                raise DecodeError("a frame without a time stamp; remux the file with FFmpeg")
            if start_pts is None or frame.pts >= start_pts:
                if fault or frame.is_corrupt:
                    raise DecodeError(f"damaged at {frame.time or 0:.2f} s: {fault or 'a frame is incomplete'}")
                yield frame
    if fault:
        raise DecodeError(f"damaged at its end: {fault}")


def _decode(packet: Any, length_bytes: int) -> tuple[list[Any], str | None]:
    """A packet's frames, and what is wrong with it."""
    import av

    if packet.size and (cause := packet_fault(packet, length_bytes)):
        return [], cause
    try:
        return packet.decode(), None
    except av.FFmpegError as error:
        return [], error.strerror


def _pictures(folder: Path) -> Iterator[Any]:
    import av

    files = [f for f in folder.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES]
    if not files:
        raise DecodeError("no pictures in the folder")
    for file in sorted(files, key=lambda f: (len(f.stem), f.stem)):  # numbers, padded with zeros or not
        try:
            with av.open(str(file.absolute())) as container:
                yield from container.decode(video=0)
        except av.FFmpegError as error:
            raise DecodeError(f"{file.name}: {error.strerror}") from error
