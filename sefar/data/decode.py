"""Video files → frames. The only module that imports decord."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from sefar.errors import DecodeError

# decord asks again this often at a torn end of file before it gives up; its default of 10,240 takes minutes
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "1024")


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
    import decord

    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        total = len(reader)
        last = total if end_frame < 0 else end_frame
        if total == 0 or not 0 <= start_frame < last <= total:
            raise DecodeError(
                f"{path}: frames {start_frame}-{last} asked for, but the video has {total}; mend the window or the clip"
            )
        first: np.ndarray = reader[start_frame].asnumpy()
        scale = max_short_side / min(first.shape[:2]) if max_short_side else 1.0
        if scale < 1:
            size = {"width": round(first.shape[1] * scale), "height": round(first.shape[0] * scale)}
            reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1, **size)
            frames: np.ndarray = reader.get_batch(range(start_frame, last)).asnumpy()
        elif last - start_frame == 1:
            frames = first[None]
        else:  # going on from the first frame spares a seek back, half the time of a short clip
            frames = np.concatenate([first[None], reader.get_batch(range(start_frame + 1, last)).asnumpy()])
    except DecodeError:
        raise
    except Exception as error:  # decord raises its own, RuntimeError and plain Exception alike
        cause = " ".join(str(error).split())[:160]
        raise DecodeError(
            f"{path}: does not decode, frames {start_frame}-{end_frame if end_frame >= 0 else 'end'} ({cause}); "
            "replace the clip or take it out of the list"
        ) from error
    return frames
