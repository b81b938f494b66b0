"""Writes a clip as an H.264 file, deterministically and all or nothing."""

from __future__ import annotations

import errno
import io
from pathlib import Path

from sefar import files
from sefar.data.synthgym.render import Frames
from sefar.data.synthgym.table import FRAMES_PER_SECOND, SynthGymConfig, clip_frames
from sefar.errors import DataError

_OPTIONS = {
    "preset": "veryfast", "crf": "18", "g": "8", "bf": "0",
    # Several encoder threads cut frames into slices, which changes the bytes with the machine's core count.
    "threads": "1", "x264-params": "threads=1:sliced-threads=0:lookahead-threads=1",
}  # fmt: skip


def encode_clip(frames: Frames) -> bytes:
    """Encodes (T, H, W, 3) RGB pictures as an mp4 with regular time stamps."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that readers see nothing or all of it.

    Raises:
        DataError: The folder cannot be written or the disk is full; no temporary file stays behind.
    """
    try:
        files.write_whole(path, content)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> DataError:
    """The error to raise when `path` cannot be written: says why and how to mend it."""
    mend = {
        errno.ENOSPC: "free some space or choose another root, then run again: finished clips are kept",
        errno.EDQUOT: "free some quota or choose another root, then run again: finished clips are kept",
    }.get(error.errno or 0, "choose a root folder that you may write to")
    return DataError(f"{path}: cannot write ({error.strerror or error}); {mend}")


def render_clip(folder: Path, config: SynthGymConfig, clip_id: str, path: str) -> None:
    """Renders a clip into `folder / path`, unless somebody else has meanwhile."""
    target = folder / path
    if not target.exists():
        write_whole(target, encode_clip(clip_frames(config, clip_id)))
