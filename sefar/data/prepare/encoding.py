"""One clip being encoded: H.264 made for reading a few frames from anywhere.

The same frames give the same bytes with the same FFmpeg libraries: one encoder thread, no dates, no version tags.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from sefar.data.prepare.reading import SourceFrame

SHORT_SIDE = 256
"""Pixels; larger videos are scaled down to it."""

KEY_FRAME_EVERY = 8
"""Frames; reading a frame decodes at most so many."""

OPTIONS = {
    "preset": "veryfast", "crf": "18", "bf": "0",
    # A scene cut would bring key frames out of step; several threads, or looking ahead, make the bytes differ at times.
    "g": str(KEY_FRAME_EVERY), "sc_threshold": "0",
    "threads": "1", "x264-params": "threads=1:sliced-threads=0:mbtree=0:rc-lookahead=0",
}  # fmt: skip
"""Of the encoder."""


class ClipEncoder:
    """Takes frames in display order, gives the file's content.

    Args:
        target: the file to be; ``.avi`` gives an AVI, anything else an MP4.

    Attributes:
        frames: number of frames taken.
    """

    def __init__(self, target: Path) -> None:
        self.frames = 0
        self._format = "avi" if target.suffix.lower() == ".avi" else "mp4"
        self._buffer = io.BytesIO()
        self._container: Any = None
        self._stream: Any = None
        self._first_pts = 0

    def add(self, picture: Any, source: SourceFrame) -> None:
        """Encode a frame.

        Args:
            picture: what `clip_picture` made of it; its time stamp is overwritten.
            source: where it comes from; its time, counted from that of the first frame taken, becomes the clip's.
        """
        if self._container is None:
            self._open(picture, source)
            self._first_pts = source.pts
        picture.time_base = source.time_base
        picture.pts = source.pts - self._first_pts
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def finish(self) -> bytes:
        """The file's content, of one frame at least; no more may be added afterwards."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()

    def _open(self, picture: Any, source: SourceFrame) -> None:
        import av

        self._container = av.open(self._buffer, mode="w", format=self._format, options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream("libx264", rate=source.rate, options=OPTIONS)
        self._stream.width, self._stream.height = picture.width, picture.height
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = source.time_base
        context.colorspace, context.color_range = picture.colorspace, picture.color_range


def clip_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a clip: short side at most `SHORT_SIDE`, even, never more than before."""
    short = min(width, height)
    keep = min(short, SHORT_SIDE)
    return width * keep // short // 2 * 2, height * keep // short // 2 * 2


def clip_picture(frame: Any) -> Any:
    """A decoded frame as it is encoded: upright, scaled down, yuv420p of standard matrix and limited range.

    Readers that ignore the file's colour tags assume that matrix and range.
    """
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    turns = round(frame.rotation / 90) % 4
    width, height = clip_size(frame.width, frame.height)
    if turns:
        upright = np.rot90(frame.reformat(width, height, "rgb24").to_ndarray(), turns)
        frame = type(frame).from_ndarray(np.ascontiguousarray(upright), format="rgb24")
        width, height = frame.width, frame.height
    picture = frame.reformat(
        width,
        height,
        "yuv420p",
        dst_colorspace=Colorspace.ITU601,
        interpolation=Interpolation.BICUBIC,
        src_color_range=frame.color_range,
        dst_color_range=ColorRange.MPEG,
    )
    picture.colorspace, picture.color_range = Colorspace.ITU601, ColorRange.MPEG
    picture.pict_type = 0  # the encoder would take the source's for a wish
    return picture
