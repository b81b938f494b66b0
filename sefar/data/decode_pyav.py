"""Frames by PyAV: the reference, and the way for what decord cannot read. Bit for bit what decord gives."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
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
    """By time: enter at a key frame, number frames by their time. Else from the start, numbered as they come."""
    wanted, pictures = set(numbers), {}
    with open_video(info.path) as (container, stream):
        stream.codec_context.options = CAREFUL
        length_bytes = unit_length_bytes(stream.codec_context)
        begin = _enter(container, stream, info, numbers[0]) if by_time else 0
        convert = _Converter(stream, size)
        last = -1
        for packet in container.demux(stream):
            if packet.size and (cause := packet_fault(packet, length_bytes)):
                raise DecodeError(f"after frame {last}: a packet is damaged: {cause}")
            for frame in _decoded(packet, last):
                number = bisect.bisect_left(info.times, frame.pts or 0) if by_time else last + 1
                if by_time and (number < begin or number >= info.frames):
                    continue  # shown before the key frame, without what it builds on; or behind a hole in a torn file
                if by_time and (number <= last or info.times[number] != frame.pts):
                    raise _OutOfOrderError
                if frame.is_corrupt:
                    raise DecodeError(f"frame {number} is damaged")
                last = number
                if number in wanted:
                    pictures[number] = convert(frame)
            if len(pictures) == len(wanted):
                return np.stack([pictures[number] for number in numbers])
    raise DecodeError(f"frame {min(wanted - set(pictures))} is missing from the stream")


def _decoded(packet: Any, last: int) -> list[Any]:
    try:
        return packet.decode()
    except EOFError:
        return []
    except Exception as error:  # PyAV raises its own, ValueError and OSError alike
        raise DecodeError(f"after frame {last}: {error}") from error


def _enter(container: Any, stream: Any, info: VideoInfo, number: int) -> int:
    """Go to the key frame from which frame `number` can be decoded; its number. Where seeking fails: to the start."""
    place = bisect.bisect_right(info.entries, info.times[number]) - 1
    if place <= 0:
        return 0
    container.seek(info.entries[place], stream=stream)
    first = next((packet for packet in container.demux(stream) if packet.size), None)
    if first is not None and first.is_keyframe and first.pts in info.entries[: place + 1]:
        container.seek(info.entries[place], stream=stream)
        return bisect.bisect_left(info.times, first.pts)
    container.seek(0)
    return 0


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
