"""Decode once, share among all trials of a node: one memory-mapped uint8 array per clip."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from sefar.data.decode import decode_clip
from sefar.errors import DataError
from sefar.files import replacing

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
MAX_OPEN = 256
"""Clips mapped at a time: each holds a file descriptor, of which a process often has no more than 1024."""


class FrameStore:
    """Frames of clips, decoded on first use and memory-mapped after.

    A clip's file is named by its path, size, modification time, window and the decoding parameters, so a changed clip
    is decoded anew. Writers use a temporary name and rename; several processes may fill one store. The `max_open` clips
    used last stay mapped; the arrays of a store that cannot be written are not kept, for they would fill the memory.

    Args:
        root: folder of the store; made on demand.
        max_short_side: greatest short side kept, pixels.
        max_open: clips mapped at a time.
    """

    def __init__(self, root: str | Path, *, max_short_side: int, max_open: int = MAX_OPEN) -> None:
        self.root = Path(root)
        self.max_short_side, self.max_open = max_short_side, max_open
        self._open: OrderedDict[str, np.memmap] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()  # of `_open`: loader threads share the store
        self._writable = True

    def frames(self, path: str, start_frame: int, end_frame: int) -> np.ndarray:
        """All frames of a clip, uint8 (T, H, W, C).

        Raises:
            DecodeError: the clip does not decode.
            DataError: the process has too many files open.
        """
        key = f"{path}#{start_frame}-{end_frame}"
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        try:
            frames = self._load_with_room(path, start_frame, end_frame)
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                raise
            raise DataError(
                f"frame store: {self.root}: {error.strerror}; raise the limit (ulimit -n) or run fewer trials at a time"
            ) from error
        if isinstance(frames, np.memmap):
            with self._lock:
                frames = self._open.setdefault(key, frames)
                while len(self._open) > self.max_open:
                    self._open.popitem(last=False)
        return frames

    def close(self) -> None:
        """Let go of all mapped clips."""
        with self._lock:
            self._open.clear()

    def _file(self, path: str, start_frame: int, end_frame: int) -> Path | None:
        try:
            stat = os.stat(path)
        except OSError:
            return None  # decode_clip says what is wrong
        key = f"{FORMAT_VERSION}|{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}"
        digest = hashlib.sha256(f"{key}|{start_frame}|{end_frame}|{self.max_short_side}".encode()).hexdigest()
        return self.root / digest[:2] / f"{digest[:32]}.npy"

    def _load_with_room(self, path: str, start_frame: int, end_frame: int) -> np.ndarray:
        """As `_load`; where descriptors run out, once more after letting go of those held here."""
        try:
            return self._load(path, start_frame, end_frame)
        except OSError as error:
            if error.errno not in OUT_OF_FILES or not self._open:
                raise
        self.close()
        return self._load(path, start_frame, end_frame)

    def _load(self, path: str, start_frame: int, end_frame: int) -> np.ndarray:
        file = self._file(path, start_frame, end_frame)
        if file is not None and file.is_file():
            try:
                return np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
                    raise
                log.warning("frame store: %s is torn (%s) and is built again", file, error)
        frames = decode_clip(path, start_frame, end_frame, max_short_side=self.max_short_side)
        if file is None or not self._writable or not self._write(file, frames):
            return frames
        return np.load(file, mmap_mode="r", allow_pickle=False)

    def _write(self, file: Path, frames: np.ndarray) -> bool:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as out:
                np.save(out, frames, allow_pickle=False)
            return True
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise
            self._writable = False
            log.warning(
                "frame store: %s cannot be written (%s); clips are decoded each time", self.root, error.strerror
            )
            return False
