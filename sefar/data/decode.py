"""Video files → frames. The only module that imports decord.

decord reads the windows that `VideoInfo.plain` says it reads right. PyAV reads the rest, what decord fails at, and
single frames, being faster from key frame to key frame. Both give the same frames bit for bit. Where decord's FFmpeg
reports damage, PyAV reads again and judges; `sefar.data.verify` is stricter.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sefar.data import decode_pyav, decord_log
from sefar.data.video_info import VideoInfo, read_info
from sefar.errors import DecodeError

log = logging.getLogger(__name__)

# decord asks again this often at a torn end of file before it gives up; its default of 10,240 takes minutes
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "1024")
PADDED_WIDTHS = (16, 24, 48, 72)
"""Pixels; where decord 0.6 mistakes the padding of a row for a channel, because it fills a byte more a pixel."""

END_LEAD_FRAMES = 16
"""Windows at the end are read from this far before it: nearer, decord at times is a frame behind from the start."""


def decode_clip(path: str | Path, start_frame: int = 0, end_frame: int = -1, *, max_short_side: int = 0) -> np.ndarray:
    """Decode a window of a video in display order.

    Args:
        path: the file.
        start_frame: first frame.
        end_frame: one past the last frame; −1: to the end.
        max_short_side: scale down, while decoding, to this short side in pixels; 0 or a smaller video: as it is.

    Returns:
        uint8 (T, H, W, C), RGB, turned as the file says.

    Raises:
        DecodeError: missing, empty, not a video, truncated, or shorter than the window.
    """
    return _decode(Path(path), None, start_frame, end_frame, max_short_side)


def decode_frames(
    path: str | Path, numbers: Sequence[int], *, start_frame: int = 0, end_frame: int = -1, max_short_side: int = 0
) -> np.ndarray:
    """Decode some frames of a window in one batched read.

    Args:
        path: the file.
        numbers: of the frames, counted from the start of the window; in any order, repeats allowed.
        start_frame: as in `decode_clip`.
        end_frame: as in `decode_clip`.
        max_short_side: as in `decode_clip`.

    Returns:
        uint8 (len(numbers), H, W, C), equal to ``decode_clip(…)[numbers]``.

    Raises:
        DecodeError: as in `decode_clip`.
        IndexError: a number outside the window.
    """
    return _decode(Path(path), np.asarray(numbers, dtype=np.int64), start_frame, end_frame, max_short_side)


def clip_frames(path: str | Path, start_frame: int = 0, end_frame: int = -1) -> int:
    """Number of frames of a window, without decoding.

    Raises:
        DecodeError: as in `decode_clip`.
    """
    _, first, last = find_window(Path(path), start_frame, end_frame)
    return last - first


def _decode(
    path: Path, numbers: np.ndarray | None, start_frame: int, end_frame: int, max_short_side: int
) -> np.ndarray:
    info, first, last = find_window(path, start_frame, end_frame, max_short_side)
    if numbers is None:
        wanted, order = np.arange(first, last), None
    else:
        if len(numbers) == 0 or numbers.min() < 0 or numbers.max() >= last - first:
            raise IndexError(f"{path}: frames {numbers.tolist()} asked for of a window of {last - first}")
        wanted, order = np.unique(numbers + first, return_inverse=True)
    with failures(path, start_frame, end_frame):
        frames = _read(info, wanted, scaled_size(info, max_short_side), sparse=order is not None)
    return frames if order is None else frames[order]


def find_window(path: Path, start_frame: int, end_frame: int, max_short_side: int = 0) -> tuple[VideoInfo, int, int]:
    """What a video holds, the first frame of a window and one past its last.

    Raises:
        DecodeError: as in `decode_clip`.
    """
    if not os.path.isfile(path):  # unlike Path.is_file, no error for names too long or in folders one may not enter
        raise DecodeError(f"{path}: no such file; mend its path in the list or fetch the clip")
    with failures(path, start_frame, end_frame):
        stat = path.stat()
        info = _info(path, stat.st_size, stat.st_mtime_ns, max_short_side)
        if info.fault and (end_frame < 0 or not info.frames):
            raise DecodeError(info.fault)
        if not info.frames:
            raise DecodeError("it has no frame")
    last = info.frames if end_frame < 0 else end_frame
    if not 0 <= start_frame < last <= info.frames:
        asked = f"{path}: frames {start_frame}-{last} asked for, but the video has {info.frames}"
        raise DecodeError(f"{asked}{f' ({info.fault})' if info.fault else ''}; mend the window or the clip")
    return info, start_frame, last


@lru_cache(1024)  # the views of a clip in a batch, and its length, ask one after the other
def _info(path: Path, _bytes: int, _modified_ns: int, max_short_side: int) -> VideoInfo:
    return read_info(path, max_short_side=max_short_side)


def scaled_size(info: VideoInfo, max_short_side: int) -> tuple[int, int] | None:
    """Width and height for display; None: as stored."""
    if not max_short_side or max_short_side >= min(info.size):
        return None
    width, height = info.size[::-1] if (info.rotation or 0) % 180 else info.size
    scale = max_short_side / min(info.size)
    return round(width * scale), round(height * scale)


@contextmanager
def failures(path: Path, start_frame: int, end_frame: int) -> Iterator[None]:
    """Any error, of which decord and PyAV know many, becomes a DecodeError that names the file and the frames."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        cause = " ".join(str(getattr(error, "strerror", None) or error).split())[:160] or type(error).__name__
        raise DecodeError(
            f"{path}: does not decode, frames {start_frame}-{end_frame if end_frame >= 0 else 'end'} ({cause}); "
            "replace the clip or take it out of the list"
        ) from error


def _read(info: VideoInfo, numbers: np.ndarray, size: tuple[int, int] | None, *, sparse: bool) -> np.ndarray:
    """Frames by ascending numbers; all of a window by decord where it can."""
    if info.plain and not sparse:
        try:
            return _read_decord(info, numbers, size)
        except ImportError:
            raise
        except Exception as error:  # decord raises its own, RuntimeError and plain Exception alike
            log.debug("%s: decord fails (%s); PyAV reads it", info.path, error)
    return decode_pyav.read_frames(info, numbers.tolist(), size)


def _read_decord(info: VideoInfo, numbers: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    import decord

    complaints = decord_log.listen(Path(decord.__file__))
    before = complaints()
    scale = {"width": size[0], "height": size[1]} if size else {}
    reader = decord.VideoReader(str(info.path), ctx=decord.cpu(0), num_threads=1, **scale)
    if len(reader) != info.frames:
        raise RuntimeError(f"decord counts {len(reader)} frames, there are {info.frames}")
    final, lead = info.frames - 1, []
    if numbers[-1] == final:
        lead = [n for n in (min(int(numbers[0]), max(0, info.frames - END_LEAD_FRAMES)), final - 1) if n >= 0]
    elif numbers[0] > info.frames - END_LEAD_FRAMES:
        lead = [max(0, info.frames - END_LEAD_FRAMES)]
    read = np.union1d(numbers, np.array(lead, dtype=np.int64))
    frames = _batch(reader, read.tolist(), size or info.size)
    del reader  # ends its thread, so that nothing is heard from it later
    if complaints() > before:
        raise RuntimeError("FFmpeg reports damage")
    if read[-1] == final:
        _mend_end(frames, info.path, scale)
    return frames if len(read) == len(numbers) else frames[np.searchsorted(read, numbers)]


def _batch(reader: Any, numbers: list[int], size: tuple[int, int]) -> np.ndarray:
    if set(size) & set(PADDED_WIDTHS):  # get_batch refuses them; which of the two is the width the rotation says
        return np.stack([_unpadded(reader[n].asnumpy()) for n in numbers])
    return reader.get_batch(numbers).asnumpy()


def _unpadded(frame_HWC: np.ndarray) -> np.ndarray:
    """Cut what decord takes for a fourth channel: at `PADDED_WIDTHS` FFmpeg pads the rows to 4 W bytes."""
    height, width, _ = frame_HWC.shape
    return frame_HWC.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _mend_end(frames_THWC: np.ndarray, path: Path, size: dict[str, int]) -> None:
    """Read the last frame again by PyAV, in place, where it repeats the one before.

    When decord meets the end of a file too early, a matter of timing, it steps back by itself and takes the last frame
    but one for the last (seen with B-frames, 1 to 4 % of the windows at the end of a video).
    """
    if len(frames_THWC) > 1 and np.array_equal(frames_THWC[-1], frames_THWC[-2]):
        info = read_info(path)
        scale = (size["width"], size["height"]) if size else None
        frames_THWC[-1] = decode_pyav.read_frames(info, [info.frames - 1], scale)[0]
