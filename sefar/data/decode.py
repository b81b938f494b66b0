"""Video files → frames. The only module that imports decord."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from sefar.errors import DecodeError

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
        uint8 (T, H, W, C), RGB.

    Raises:
        DecodeError: missing, empty, not a video, truncated, or shorter than the window.
    """
    path = Path(path)
    if not path.is_file():
        raise DecodeError(f"{path}: no such file; mend its path in the list or fetch the clip")
    try:
        reader = _open(path)
        total = len(reader)
        last = total if end_frame < 0 else end_frame
        if total == 0 or not 0 <= start_frame < last <= total:
            raise DecodeError(
                f"{path}: frames {start_frame}-{last} asked for, but the video has {total}; mend the window or the clip"
            )
        begin = min(start_frame, max(0, total - END_LEAD_FRAMES))
        first, size = _unpadded(reader[begin].asnumpy()), {}
        scale = max_short_side / min(first.shape[:2]) if max_short_side else 1.0
        if scale < 1:
            size = {"width": round(first.shape[1] * scale), "height": round(first.shape[0] * scale)}
            reader = _open(path, **size)
            first = _unpadded(reader[begin].asnumpy())
        frames = _go_on(reader, first, range(begin + 1, last))
        if last == total:
            _mend_end(frames, path, size)
        frames = frames[start_frame - begin :]
    except (DecodeError, ImportError):
        raise
    except Exception as error:  # decord raises its own, RuntimeError and plain Exception alike
        cause = " ".join(str(error).split())[:160]
        raise DecodeError(
            f"{path}: does not decode, frames {start_frame}-{end_frame if end_frame >= 0 else 'end'} ({cause}); "
            "replace the clip or take it out of the list"
        ) from error
    return frames


def _open(path: Path, **size: int) -> Any:
    import decord

    return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1, **size)


def _go_on(reader: Any, first_HWC: np.ndarray, numbers: range) -> np.ndarray:
    """A frame just read and those that follow it, uint8 (T, H, W, C); seeking back would take a short clip twice."""
    if first_HWC.shape[1] in PADDED_WIDTHS:  # get_batch refuses them
        return np.stack([first_HWC, *(_unpadded(reader[n].asnumpy()) for n in numbers)])
    if not numbers:
        return first_HWC[None]
    return np.concatenate([first_HWC[None], reader.get_batch(numbers).asnumpy()])


def _unpadded(frame_HWC: np.ndarray) -> np.ndarray:
    """Cut what decord takes for a fourth channel: at `PADDED_WIDTHS` FFmpeg pads the rows to 4 W bytes."""
    height, width, _ = frame_HWC.shape
    return frame_HWC.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _mend_end(frames_THWC: np.ndarray, path: Path, size: dict[str, int]) -> None:
    """Read the last frame again, in place, where it repeats the one before.

    When decord meets the end of a file too early, a matter of timing, it steps back by itself and takes the last frame
    but one for the last (seen with B-frames, 1 to 4 % of the windows at the end of a video).
    """
    for _ in range(4):
        if len(frames_THWC) < 2 or not np.array_equal(frames_THWC[-1], frames_THWC[-2]):
            return
        reader = _open(path, **size)
        frames_THWC[-1] = _unpadded(reader[len(reader) - 1].asnumpy())
