"""Decode once per node, share among all trials: one memory-mapped file a clip, raw or JPEG."""

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
from sefar.data.frame_budget import Budget, NoRoomError, locked, touch
from sefar.data.frame_files import SUFFIX, DecodedFrames, Frames, open_frames, pack
from sefar.errors import ConfigError, DataError
from sefar.files import replacing

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
ENCODINGS = ("raw", "jpeg", "off")
NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR)
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
MAX_OPEN = 256
"""Clips mapped at a time: each holds a file descriptor, of which a process often has no more than 1024."""


class FrameStore:
    """Frames of clips, decoded on first use and memory-mapped after.

    A clip's file is named by its path, size, modification time, window, the decoding parameters and the format's
    version, so a changed clip is decoded anew and files of other versions are never read. Processes that fill one store
    lock the clip that they decode, so each is decoded once; writers use a temporary name and rename. A store that
    cannot be written or takes no more (`Budget`) decodes the frames asked for each time. The `max_open` clips used last
    stay mapped; frames that are not stored are not kept, for they would fill the memory.

    Args:
        root: folder of the store; made on demand.
        max_short_side: greatest short side kept, pixels.
        limit_gb: of all clips, in 10⁹ bytes; None: no limit.
        encoding: ``raw``, ``jpeg`` (quality 95, about a tenth of the room, not the very pixels) or ``off``.
        max_open: clips mapped at a time.

    Raises:
        ConfigError: no such encoding.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        max_short_side: int,
        limit_gb: float | None = None,
        encoding: str = "raw",
        max_open: int = MAX_OPEN,
    ) -> None:
        if encoding not in ENCODINGS:
            raise ConfigError(f"frame store: '{encoding}' is unknown — valid: {', '.join(ENCODINGS)}")
        self.root, self.encoding = Path(root), encoding
        self.max_short_side, self.max_open = max_short_side, max_open
        self.storing = encoding != "off"  # until it cannot be written or is full
        self.budget = Budget(self.root, None if limit_gb is None else round(limit_gb * 1e9))
        self._open: OrderedDict[str, tuple[Path, Frames]] = OrderedDict()  # least recently used first
        self._decoded: dict[str, DecodedFrames] = {}  # not stored: a path and a number each, no frames
        self._lock = threading.Lock()  # of `_open`: loader threads share the store

    def frames(self, path: str, start_frame: int, end_frame: int) -> Frames:
        """The frames of a clip: ``len`` of it, and uint8 (N, H, W, C) for an array of numbers (N,).

        Raises:
            DecodeError: the clip does not decode.
            DataError: the process has too many files open.
        """
        key = f"{path}#{start_frame}-{end_frame}"
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                file, frames = self._open[key]
                touch(file)
                return frames
            if key in self._decoded:
                return self._decoded[key]
        try:
            found, frames = self._load_with_room(path, start_frame, end_frame)
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                raise
            raise DataError(
                f"frame store: {self.root}: {error.strerror}; raise the limit (ulimit -n) or run fewer trials at a time"
            ) from error
        with self._lock:
            if isinstance(frames, DecodedFrames):
                self._decoded[key] = frames
            elif found is not None:
                _, frames = self._open.setdefault(key, (found, frames))
                while len(self._open) > self.max_open:
                    self._open.popitem(last=False)
        return frames

    def close(self) -> None:
        """Let go of all mapped clips."""
        with self._lock:
            self._open.clear()
            self._decoded.clear()

    def file(self, path: str, start_frame: int, end_frame: int) -> Path | None:
        """Where a clip's frames are or would be; None where there is no store or no such clip."""
        if self.encoding == "off":
            return None
        try:
            stat = os.stat(path)
        except OSError:
            return None  # decoding says what is wrong
        key = f"{FORMAT_VERSION}|{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}"
        digest = hashlib.sha256(f"{key}|{start_frame}|{end_frame}|{self.max_short_side}".encode()).hexdigest()
        return self.root / digest[:2] / (digest[:32] + SUFFIX[self.encoding])

    def _load_with_room(self, path: str, start_frame: int, end_frame: int) -> tuple[Path | None, Frames]:
        """As `_load`; where descriptors run out, once more after letting go of those held here."""
        try:
            return self._load(path, start_frame, end_frame)
        except OSError as error:
            if error.errno not in OUT_OF_FILES or not self._open:
                raise
        self.close()
        return self._load(path, start_frame, end_frame)

    def _load(self, path: str, start_frame: int, end_frame: int) -> tuple[Path | None, Frames]:
        """A clip's frames, and the file that they are mapped from."""
        file = self.file(path, start_frame, end_frame)
        if file is not None:
            frames = self._stored(file)
            if frames is None and self.storing:
                frames = self._build(file, path, start_frame, end_frame)
            if frames is not None:
                return file, frames
        return None, DecodedFrames(path, start_frame, end_frame, max_short_side=self.max_short_side)

    def _stored(self, file: Path) -> Frames | None:
        """A clip's frames, if they are stored and whole."""
        try:
            frames = open_frames(file, self.encoding)
        except (OSError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
                raise
            return None
        touch(file)
        return frames

    def _build(self, file: Path, path: str, start_frame: int, end_frame: int) -> Frames | None:
        """Decode and store a clip, or wait for who is at it; None if it cannot be stored."""
        try:
            locks = self.root / ".locks"
            for folder in (locks, file.parent):
                folder.mkdir(parents=True, exist_ok=True)
            # 4096 locks in all: two clips seldom share one, and none need be deleted
            with locked(locks / file.name[:3]):
                if (frames := self._stored(file)) is not None:
                    return frames  # built while this process waited
                if file.exists():
                    log.warning("frame store: %s is torn and is built again", file)
                for leftover in file.parent.glob(f"{file.name}.*.part"):
                    leftover.unlink(missing_ok=True)  # of a killed process, for the lock is held here
                self._write(file, decode_clip(path, start_frame, end_frame, max_short_side=self.max_short_side))
                return self._stored(file)
        except OSError as error:
            if error.errno not in NOT_WRITABLE:
                raise
            self._stop(f"it cannot be written ({error.strerror})")
        except NoRoomError as error:
            self._stop(str(error))
        return None

    def _write(self, file: Path, frames_THWC: np.ndarray) -> None:
        parts = pack(frames_THWC, self.encoding)
        size = sum(map(len, parts))
        with replacing(file) as out:
            self.budget.admit(size, lambda: out.truncate(size))
            out.writelines(parts)

    def _stop(self, reason: str) -> None:
        if self.storing:
            log.warning("frame store: %s: %s; clips that are not in it are decoded each time", self.root, reason)
        self.storing = False
