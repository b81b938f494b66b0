"""What the frame store may take of the disk, and who leaves when it is full."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE_SECONDS = 3600.0
"""Clips used within it do not leave: they are somebody's working set."""
TOUCH_SECONDS = 600.0
"""A clip's time of last use, its file's modification time, is at most this far behind."""
DISK_RESERVE_BYTES, DISK_RESERVE_SHARE = 10**9, 0.05
"""The lesser of the two stays free, for checkpoints and results that lie on the same disk."""
HEADROOM = 0.05
"""Share of the limit that an eviction frees beyond need, so that the next clips do not each cause another."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
TOTAL_DIGITS = 20


class NoRoomError(Exception):
    """The store takes no more clips; the message says why and how to mend it."""


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a file locked against all other threads and processes; yields its descriptor.

    The kernel lets go when the holder dies. The file stays: deleting it would let two in at once. On a file system
    without locks it holds nobody off.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield descriptor
    finally:
        os.close(descriptor)


class Budget:
    """Keeps a store below its limit, and off the last of the disk.

    Clips used least recently leave. A process takes away only clips last used before it began and over `GRACE_SECONDS`
    ago; where that does not make room it stores no more. So no clip comes and goes in turns: of a working set larger
    than the limit a part is stored and the rest decoded each time.

    The total stands in a file, counted anew when it passes the limit: a process killed while it writes makes it too
    large, never too small.

    Args:
        root: folder of the store.
        limit_bytes: of all its files; None: no limit.
    """

    def __init__(self, root: Path, limit_bytes: int | None) -> None:
        self.root, self.limit_bytes = root, limit_bytes
        self._began = time.time()

    def admit(self, size: int, reserve: Callable[[], object]) -> None:
        """Make room for a file of `size` bytes, and `reserve` them (give the file its length) before others count.

        Raises:
            NoRoomError: there is none.
            OSError: the folder cannot be written.
        """
        with locked(self.root / ".budget") as descriptor:
            self._check_disk(size)
            total = _read_total(descriptor)
            if total is None:
                total = sum(bytes_ for _, bytes_, _ in self._files())
            if self.limit_bytes is not None and total + size > self.limit_bytes:
                total = self._evict(self.limit_bytes - size, HEADROOM * self.limit_bytes)
            try:
                if self.limit_bytes is not None and total + size > self.limit_bytes:
                    raise NoRoomError(
                        f"its limit of {self.limit_bytes / 1e9:g} GB is taken by clips in use; raise "
                        "loader.frame_store_gb or give the clips less room with loader.frame_store=jpeg"
                    )
                total += size
            finally:
                os.pwrite(descriptor, f"{total:0{TOTAL_DIGITS}d}\n".encode(), 0)
            reserve()

    def _check_disk(self, size: int) -> None:
        disk = shutil.disk_usage(self.root)
        reserve = min(DISK_RESERVE_BYTES, DISK_RESERVE_SHARE * disk.total)
        if disk.free - size < reserve:
            raise NoRoomError(
                f"the disk has {disk.free / 1e9:.2g} GB left, of which {reserve / 1e9:.2g} GB stay free; make room, "
                "put the store elsewhere with loader.frame_store_folder, or use loader.frame_store=jpeg"
            )

    def _evict(self, most: int, headroom: float) -> int:
        """Delete clips until at most `most` bytes, less the headroom, are left; the bytes that are."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        before = min(self._began, time.time() - GRACE_SECONDS)
        for used, size, path in files:
            if total <= most - headroom or used >= before:
                break
            Path(path).unlink(missing_ok=True)  # who has it mapped reads on
            total -= size
        return total

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Time of last use, bytes and path of the clips' files, those being written and of other versions too.

        They begin with the name of their folder, so that nothing else that may lie there is counted or deleted.
        """
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(folder.name) or not entry.is_file():
                        continue
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:  # renamed or deleted just now
                        continue
                    yield stat.st_mtime, stat.st_size, entry.path


def touch(file: Path) -> None:
    """Note that a clip is in use, at the grain of `TOUCH_SECONDS`; of no consequence where it fails."""
    try:
        if time.time() - file.stat().st_mtime > TOUCH_SECONDS:
            os.utime(file)
    except OSError:
        pass


def _read_total(descriptor: int) -> int | None:
    text = os.pread(descriptor, TOTAL_DIGITS + 1, 0)
    return int(text) if len(text) == TOTAL_DIGITS + 1 and text.strip().isdigit() else None
