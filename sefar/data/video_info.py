"""What a video file holds, read from its packets: how many frames, when they are shown, where decoding can start."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sefar.data.container import cut_short, packet_fault, unit_length_bytes
from sefar.errors import DecodeError

FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif"
"""Containers that are opened. FFmpeg would also take text for a terminal's, a PNG for a video of one frame, follow what
a play list names, and open bare streams, which tell neither times nor an end."""

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv")
"""Containers in which decord finds its way; in others it fails at the end, and slowly."""

TIMELESS = ("avi", "asf")
"""Containers with one time a packet, that of decoding: FFmpeg makes up when reordered frames are shown."""

REORDERING = ("h264", "hevc")
"""Codecs for which, in AVI, decord comes some frames behind after a seek, even without reordered frames."""

LENGTHLESS = ("mpegts", "mpeg", "flv", "asf")
"""Containers that do not say where the file ends."""


@dataclass(frozen=True)
class VideoInfo:
    """The packets of the video stream that is shown.

    Attributes:
        path: the file.
        frames: number of frames shown.
        hidden: number of frames before them that an edit list leaves out.
        size: width and height as stored, pixels; not turned.
        rotation: degrees counter-clockwise to turn a stored picture by for display; None: not looked up.
        times: time of each frame in the stream's units, in display order; empty where packets lack times of their own.
        entries: of these, where decoding can start: the key frames.
        plain: decord reads it right. Not so with damage, with frames cut off by an edit list, and where frames shown
            before a key frame are stored after it (open groups of pictures): decord then seeks to a wrong frame.
        fault: what is wrong with the file as a whole; None: nothing seen.
    """

    path: Path
    frames: int
    hidden: int
    size: tuple[int, int]
    rotation: int | None
    times: tuple[int, ...] = field(repr=False)
    entries: tuple[int, ...] = field(repr=False)
    plain: bool
    fault: str | None


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and best video stream of a file, to be decoded by one thread.

    Raises:
        DecodeError: without a video stream.
        Exception: PyAV's own of many kinds, for a file that is no video.
    """
    import av

    # absolute: FFmpeg takes what stands before a colon for a protocol; names in Latin-1 must not stop us
    with av.open(os.path.abspath(path), metadata_errors="ignore", options={"format_whitelist": FORMATS}) as container:
        stream: Any = container.streams.best("video")
        if stream is None or stream.codec_context is None or "attached_pic" in str(stream.disposition):
            raise DecodeError("it has no video stream")
        stream.thread_type, stream.thread_count = "NONE", 1
        yield container, stream


def read_info(path: Path, *, max_short_side: int = 0) -> VideoInfo:
    """Read the packets of a video, without decoding more than its first frame.

    Args:
        path: the file.
        max_short_side: pixels that the picture is to be scaled down to. Then the rotation is looked up, which takes the
            first frame's decoding; Matroska's always, since decord does not see it. 0: as it is.

    Raises:
        DecodeError: without a video stream.
        Exception: PyAV's own, for a file that is no video.
    """
    with open_video(path) as (container, stream):
        kind, context = container.format.name, stream.codec_context
        size = (context.width, context.height)
        turnable = kind == "matroska,webm" or (0 < max_short_side < min(size) and size[0] != size[1])
        packets, rotation, fault, broken = _packets(container, stream, turnable)
        reordered, claimed, codec = context.has_b_frames, stream.frames, context.name
    shown = [packet for packet in packets if not packet.discard]
    hidden = len(packets) - len(shown)
    torn = cut_short(path, kind) or broken or _torn(kind, packets, claimed)
    in_order = reordered and _storage_order(shown)
    if fault is None and not _starts_late(packets, in_order):
        fault = "its edit list leaves out frames after the first that is shown, or its times are damaged"
    if torn:
        shown = _surely_whole(shown)
    times = {packet.time: packet.key for packet in shown if packet.time is not None}
    if len(times) < len(shown) or (kind in TIMELESS and in_order):
        times = {}
    plain = not (torn or fault) and kind in INDEXED and bool(times) and not hidden
    plain = plain and _closed(shown) and not (rotation and kind == "matroska,webm")
    plain = plain and not (kind == "avi" and codec in REORDERING)
    frames = len(times) if torn else len(shown)
    entries = tuple(sorted(time for time, key in times.items() if key))
    return VideoInfo(path, frames, hidden, size, rotation, tuple(sorted(times)), entries, plain, torn or fault)


@dataclass(frozen=True)
class _Packet:
    time: int | None
    stored: int | None  # FFmpeg's decoding time
    key: bool
    discard: bool


def _packets(container: Any, stream: Any, turnable: bool) -> tuple[list[_Packet], int | None, str | None, str | None]:
    """The packets in the order of the file; the rotation, if asked for; the first fault; what keeps the rest away."""
    packets: list[_Packet] = []
    length_bytes = unit_length_bytes(stream.codec_context)
    rotation = fault = None
    try:
        for packet in container.demux(stream):
            if turnable and rotation is None:
                rotation = next((int(frame.rotation) for frame in packet.decode()), None)
            if packet.size:
                cause = packet_fault(packet, length_bytes)
                if cause and fault is None:
                    fault = f"packet {len(packets)}: {cause}"
                packets.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard))
    except Exception as error:  # PyAV raises its own and OSError alike
        return packets, rotation, fault, f"packet {len(packets)}: {getattr(error, 'strerror', None) or error}"
    return packets, rotation, fault, None


def _torn(kind: str, packets: list[_Packet], claimed: int) -> str | None:
    """What is missing at the end of a file whose outermost length is right or not known."""
    if kind.startswith("mov") and claimed > len(packets):  # AVI, too, tells a number, but counts what it leaves out
        return f"its index names {claimed} frames, of which {claimed - len(packets)} cannot be read"
    if kind in LENGTHLESS:
        times = sorted(packet.time or 0 for packet in packets)
        steps = [b - a for a, b in itertools.pairwise(times)]
        last = len(_surely_whole(packets))
        if last > 1 and max(steps[last - 1 :], default=0) > max(steps[: last - 1], default=0):
            return "the stream ends among frames that are stored in another order than they are shown in"
    return None


def _surely_whole(packets: list[_Packet]) -> list[_Packet]:
    """Those of a torn stream before which none is missing: shown no later than the last packet is decoded."""
    last = max((packet.stored for packet in packets if packet.stored is not None), default=None)
    return [p for p in packets if p.time is not None and last is not None and p.time <= last]


def _storage_order(packets: list[_Packet]) -> bool:
    times = [packet.time or 0 for packet in packets]
    return times == sorted(times)


def _starts_late(packets: list[_Packet], order_lost: bool) -> bool:
    """Whether the frames that are not shown, if any, are the first: what cutting without encoding leaves.

    A damaged time, which takes one frame out of the edit list's reach, also leaves a step longer than all others. With
    the times lost, frames that are reordered seem to be shown as they are stored.
    """
    hidden = sorted(packet.time or 0 for packet in packets if packet.discard)
    shown = sorted(packet.time or 0 for packet in packets if not packet.discard)
    if not hidden or not shown:
        return True
    if order_lost:
        return False
    steps = [b - a for times in (hidden, shown) for a, b in itertools.pairwise(times)]
    return packets[0].discard and 0 < shown[0] - hidden[-1] <= max(steps, default=shown[0] - hidden[-1])


def _closed(packets: list[_Packet]) -> bool:
    """Whether each key frame is shown after all that is stored before it and before all that is stored after it."""
    times = [packet.time or 0 for packet in packets]
    if not packets or not packets[0].key:
        return False
    latest, sound = times[0], True
    earliest_after = times.copy()
    for i in range(len(times) - 2, -1, -1):
        earliest_after[i] = min(times[i], earliest_after[i + 1])
    for i, packet in enumerate(packets[1:], 1):
        if packet.key:
            sound = sound and latest < times[i] == earliest_after[i]
        latest = max(latest, times[i])
    return sound and times[0] == earliest_after[0]
