"""The strict look at a clip: once, before training, so that decoding in training need not be slow.

H.264 damaged in its data mostly decodes: FFmpeg guesses what is missing and says so only in its log. Here PyAV decodes
the window told to raise what it would conceal; what FFmpeg logs as an error counts; and the frames must be those that
training will see. What stays unseen is damage that decodes without any fault, to other pictures: no decoder can tell.
Of 1,000 damaged copies of a 340 × 256 clip (flips, zeros, cuts) 3 to 5 pass with a wrong or blemished frame, by single
flips inside a coded picture or its parameters, or by damaged tables of times, which lose the first frames; without this
look `decode_clip` gives 10 to 17. Of 1,500 copies of a 160 × 120 clip, whose pictures take a hundred bytes, 19 and 31.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sefar.data import decode_pyav
from sefar.data.decode import decode_clip, failures, find_window, scaled_size
from sefar.errors import DecodeError

COMPARED_SIDE = 64
"""Short side in pixels at which the frames of the two decoders are compared."""


def verify_clip(path: str | Path, start_frame: int = 0, end_frame: int = -1) -> int:
    """Number of frames of a window that decodes without fault.

    Sets FFmpeg's log, which the whole process shares, while it runs.

    Raises:
        DecodeError: it does not decode, or not without fault.
    """
    import av.logging

    path = Path(path)
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # of the clip before, too
    try:
        with av.logging.Capture() as logged:
            info, first, last = find_window(path, start_frame, end_frame, COMPARED_SIDE)
            with failures(path, start_frame, end_frame):
                size = scaled_size(info, COMPARED_SIDE)
                frames = decode_pyav.read_frames(info, range(first, last), size)
                if complaints := [text.strip() for _, _, text in logged]:
                    raise DecodeError(f"FFmpeg: {complaints[0]}")
    finally:
        av.logging.set_level(before[0])
        av.logging.set_skip_repeated(before[1])
    seen = decode_clip(path, start_frame, end_frame, max_short_side=COMPARED_SIDE)
    with failures(path, start_frame, end_frame):
        if seen.shape != frames.shape:
            raise DecodeError(f"decord and PyAV differ: {seen.shape} and {frames.shape}")
        other = np.flatnonzero((seen != frames).any((1, 2, 3)))
        if len(other):
            raise DecodeError(f"frame {first + other[0]}: decord and PyAV differ")
    return last - first
