"""Decode once, share among all trials of a node: one memory-mapped uint8 array per clip."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import tempfile
from pathlib import Path

import numpy as np

from sefar.data.decode import decode_clip

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


class FrameStore:
    """Frames of clips, decoded on first use and memory-mapped after.

    A clip's file is named by its path, size, modification time, window and the decoding parameters, so a changed clip
    is decoded anew. Writers use a temporary name and rename; several processes may fill one store.

    Args:
        root: folder of the store; made on demand.
        max_short_side: greatest short side kept, pixels.
    """

    def __init__(self, root: str | Path, *, max_short_side: int) -> None:
        self.root = Path(root)
        self.max_short_side = max_short_side
        self._open: dict[str, np.ndarray] = {}
        self._writable = True

    def frames(self, path: str, start_frame: int, end_frame: int) -> np.ndarray:
        """All frames of a clip, uint8 (T, H, W, C).

        Raises:
            DecodeError: the clip does not decode.
        """
        key = f"{path}#{start_frame}-{end_frame}"
        if key not in self._open:
            self._open[key] = self._load(path, start_frame, end_frame)
        return self._open[key]

    def close(self) -> None:
        """Let go of all mapped clips."""
        self._open.clear()

    def _file(self, path: str, start_frame: int, end_frame: int) -> Path | None:
        try:
            stat = os.stat(path)
        except OSError:
            return None  # decode_clip says what is wrong
        key = f"{FORMAT_VERSION}|{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}"
        digest = hashlib.sha256(f"{key}|{start_frame}|{end_frame}|{self.max_short_side}".encode()).hexdigest()
        return self.root / digest[:2] / f"{digest[:32]}.npy"

    def _load(self, path: str, start_frame: int, end_frame: int) -> np.ndarray:
        file = self._file(path, start_frame, end_frame)
        if file is not None and file.is_file():
            try:
                return np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                log.warning("frame store: %s is torn (%s) and is built again", file, error)
        frames = decode_clip(path, start_frame, end_frame, max_short_side=self.max_short_side)
        if file is None or not self._writable or not self._write(file, frames):
            return frames
        return np.load(file, mmap_mode="r", allow_pickle=False)

    def _write(self, file: Path, frames: np.ndarray) -> bool:
        temporary = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
            with os.fdopen(descriptor, "wb") as out:
                np.save(out, frames, allow_pickle=False)
            os.replace(temporary, file)
            return True
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            if error.errno not in OUT_OF_SPACE:
                raise
            self._writable = False
            log.warning(
                "frame store: %s cannot be written (%s); clips are decoded each time", self.root, error.strerror
            )
            return False
