"""Faults in a file's outer structure and packets that FFmpeg passes over in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

MATROSKA_SEGMENT = b"\x18\x53\x80\x67"
MOST_BOXES = 100_000
H264_TYPES = range(1, 22)
"""NAL unit types of H.264 in use; the others are unspecified or reserved."""

KEY_TYPES = {5, 6}
"""NAL unit types of which a key frame has one: a slice of an IDR picture, or the message that decoding may start."""

FORBIDDEN = (b"\0\0\0", b"\0\0\1", b"\0\0\2")


def cut_short(path: Path, kind: str) -> str | None:
    """Whether a file's outermost lengths reach past its end, as they do after a broken download.

    Args:
        path: the file.
        kind: FFmpeg's name of its container; other than MP4, AVI and Matroska they have no such length.

    Returns:
        what is missing; None: nothing, or it cannot be told.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind.startswith("mov"):
            end = _end_of_boxes(file, size)
        elif kind == "avi":
            end = 8 + int.from_bytes(file.read(8)[4:], "little")
        elif kind.startswith("matroska"):
            end = _end_of_segment(file)
        else:
            return None
    return f"the file is cut short: {size} of {end} bytes are there" if end > size else None


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(MOST_BOXES):
        if at >= size:
            break
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file
            break
        at += length
    return at


def _end_of_segment(file: BinaryIO) -> int:
    file.seek(4)
    length = _read_vint(file)
    file.seek((length or 0), 1)
    if file.read(4) != MATROSKA_SEGMENT:
        return 0
    length = _read_vint(file)
    return 0 if length is None else file.tell() + length


def _read_vint(file: BinaryIO) -> int | None:
    """A length of EBML; None: unknown, as in a live recording."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & ((1 << (7 - more)) - 1)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def unit_length_bytes(codec_context: Any) -> int:
    """Bytes of the length before each NAL unit of H.264; 0: another codec, or units parted by start codes."""
    extra = codec_context.extradata or b""
    return (extra[4] & 3) + 1 if codec_context.name == "h264" and len(extra) > 6 and extra[0] == 1 else 0


def packet_fault(packet: Any, length_bytes: int) -> str | None:
    """What is wrong with a packet before it is decoded; None: nothing seen.

    In H.264 no three bytes inside a NAL unit are 0 0 0, 0 0 1 or 0 0 2 (ITU-T H.264 7.4.1), a packet's units fill it by
    their lengths, and a key frame has a unit that says so: zeroed blocks and shifted packets, which decoders conceal,
    and a damaged list of key frames are found here.

    Args:
        packet: PyAV's packet.
        length_bytes: of `unit_length_bytes`.
    """
    if packet.is_corrupt:
        return "it is torn"
    if not length_bytes:
        return None
    data, at, types = bytes(packet), 0, set()
    while at < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        if at > len(data) or at <= start:
            return "the lengths of its NAL units do not fit"
        unit = data[start:at].rstrip(b"\0")  # some encoders pad
        if not unit or unit[0] & 0x80 or unit[0] & 31 not in H264_TYPES or at - start - len(unit) > 8:
            return "it holds what is no NAL unit"
        if b"\0\0" in unit and any(three in unit for three in FORBIDDEN):
            return "a NAL unit holds bytes that none may hold"
        types.add(unit[0] & 31)
    return "it is marked as a key frame and is none" if packet.is_keyframe and not types & KEY_TYPES else None
