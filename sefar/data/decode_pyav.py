"""Frames by PyAV: the reference, and the way for what decord cannot read. Bit for bit what decord gives."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sefar.data.container import packet_fault, unit_length_bytes
from sefar.data.video_info import VideoInfo, open_video
from sefar.errors import DecodeError

CAREFUL = {"err_detect": "crccheck+bitstream+buffer+explode"}
"""FFmpeg shall raise what it would otherwise conceal."""


TURNS = {0: (), 90: ("cclock",), 180: ("clock", "clock"), 270: ("clock",)}
"""Degrees counter-clockwise → the quarter turns of FFmpeg's filter."""


class _OutOfOrderError(Exception):
    """Frames came in another order than that of their times."""


def read_frames(info: VideoInfo, numbers: Sequence[int], size: tuple[int, int] | None) -> np.ndarray:
    """Decode some frames of a video.

    Args:
        info: of the video.
        numbers: of the frames in display order; ascending.
        size: width and height of the displayed picture, scaled to while decoding; None: as stored.

    Returns:
        uint8 (len(numbers), H, W, C), RGB, turned for display.

    Raises:
        DecodeError: a frame is missing, or something on the way to it is damaged.
        Exception: PyAV's own of many kinds.
    """
    if info.times:
        try:
            return _read(info, numbers, size, by_time=True)
        except _OutOfOrderError:
            if info.fault or info.hidden:  # counting does not tell which frames are there, or shown
                raise DecodeError("frames come in another order than their times say") from None
    return _read(info, numbers, size, by_time=False)


def _read(info: VideoInfo, numbers: Sequence[int], size: tuple[int, int] | None, *, by_time: bool) -> np.ndarray:
    """By time: from key frame to key frame, numbering frames by their time. Else from the start, as they come."""
    times = info.times if by_time else ()
    pictures: dict[int, np.ndarray] = {}
    with open_video(info.path) as (container, stream):
        stream.codec_context.options = CAREFUL
        convert, length_bytes = _Converter(stream, size), unit_length_bytes(stream.codec_context)
        for run in _runs(info, numbers) if by_time else [list(numbers)]:
            begin, packets = _enter(container, stream, info, run[0]) if by_time else (0, container.demux(stream))
            try:
                missing = _take(run, _numbered(packets, length_bytes, begin, times, info.frames), convert, pictures)
            except DecodeError:
                if not begin:
                    raise
                missing = set(run)
            if missing and begin:  # with intra refresh, some frames behind an entry cannot be decoded from there
                container.seek(0)
                packets = container.demux(stream)
                missing = _take(run, _numbered(packets, length_bytes, 0, times, info.frames), convert, pictures)
            if missing:
                raise DecodeError(f"frame {min(missing)} is missing from the stream")
    return np.stack([pictures[number] for number in numbers])


def _take(
    run: list[int], frames: Iterator[tuple[int, Any]], convert: _Converter, pictures: dict[int, np.ndarray]
) -> set[int]:
    """Add the pictures of a run of frames; the numbers of those that did not come."""
    missing = set(run)
    for number, frame in frames:
        if number in missing:
            pictures[number] = convert(frame)
            missing.remove(number)
            if not missing:
                break
    return missing


def _runs(info: VideoInfo, numbers: Sequence[int]) -> list[list[int]]:
    """Ascending numbers in runs that are each read without a seek: from one key frame, or one after the other."""
    runs = [[numbers[0]]]
    for before, number in itertools.pairwise(numbers):
        if number == before + 1 or _entry(info, number) == _entry(info, before):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _entry(info: VideoInfo, number: int) -> int:
    """Place among `info.entries` of the last key frame at or before a frame; 0 where there is none."""
    return max(0, bisect.bisect_right(info.entries, info.times[number]) - 1)


def _numbered(
    packets: Iterator[Any], length_bytes: int, begin: int, times: Sequence[int], frames: int
) -> Iterator[tuple[int, Any]]:
    """Decoded frames with their numbers, from `begin` on; without `times` as they come."""
    last = -1
    for packet in packets:
        if packet.size and (cause := packet_fault(packet, length_bytes)):
            raise DecodeError(f"after frame {last}: a packet is damaged: {cause}")
        for frame in _decoded(packet, last):
            number = bisect.bisect_left(times, frame.pts or 0) if times else last + 1
            if times and (number < begin or number >= frames):
                continue  # shown before the key frame, without what it builds on; or behind a hole in a torn file
            if times and (number <= last or times[number] != frame.pts):
                raise _OutOfOrderError
            if frame.is_corrupt:
                raise DecodeError(f"frame {number} is damaged")
            last = number
            yield number, frame


def _decoded(packet: Any, last: int) -> list[Any]:
    try:
        return packet.decode()
    except EOFError:
        return []
    except Exception as error:  # PyAV raises its own, ValueError and OSError alike
        raise DecodeError(f"after frame {last}: {error}") from error


def _enter(container: Any, stream: Any, info: VideoInfo, number: int) -> tuple[int, Iterator[Any]]:
    """Packets from the key frame on from which frame `number` can be decoded, and the number of that key frame.

    Where seeking fails: from the start.
    """
    place = _entry(info, number)
    if place == 0:  # of the first frames asked for, if of any: nothing has been read yet
        return 0, container.demux(stream)
    container.seek(info.entries[place], stream=stream)
    packets = container.demux(stream)
    first = next((packet for packet in packets if packet.size), None)
    if first is not None and first.is_keyframe and first.pts in info.entries[: place + 1]:
        return bisect.bisect_left(info.times, first.pts), itertools.chain([first], packets)
    container.seek(0)
    return 0, container.demux(stream)


class _Converter:
    """FFmpeg's frame → uint8 (H, W, C), through the filters that decord uses, in its order: turn, scale, to RGB."""

    def __init__(self, stream: Any, size: tuple[int, int] | None) -> None:
        self.stream, self.size = stream, size
        self.graph: Any = None
        self.form: tuple[int, int, int] = (0, 0, 0)

    def __call__(self, frame: Any) -> np.ndarray:
        form = (frame.width, frame.height, int(frame.rotation) % 360)
        if self.graph is None:
            self.graph, self.form = self._build(*form), form
        if form != self.form:
            raise DecodeError(f"the picture changes from {self.form} to {form} (width, height, degrees)")
        self.graph.push(frame)
        return self.graph.pull().to_ndarray()

    def _build(self, width: int, height: int, rotation: int) -> Any:
        import av

        if rotation not in TURNS:
            raise DecodeError(f"the picture is to be turned by {rotation} degrees; multiples of 90 are understood")
        width, height = self.size or ((height, width) if rotation % 180 else (width, height))
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_buffer(template=self.stream),
            *(graph.add("transpose", turn) for turn in TURNS[rotation]),
            graph.add("scale", f"{width}:{height}:flags=bilinear"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ).configure()
        return graph
