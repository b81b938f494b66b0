"""Files of a store or a checkpoint folder: a local path or any `pyarrow.fs` URI, written whole or not at all.

Whatever passes by itself (a connection refused, a server that is overloaded, a stale file handle) is tried again for
the location's patience; after that comes `StorageOutage`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from sefar.errors import StoreError
from studies.results.filesystems import open_filesystem
from studies.results.outage import PATIENCE_SECONDS, FolderGone, StorageOutage, explained, persist

__all__ = ["Location", "StorageOutage", "explained"]

T = TypeVar("T")

PUTS_WHOLE = ("s3", "gcs", "abfs")  # an object appears when its stream closes: no temporary name is needed


class Location:
    """A folder somewhere, with the few operations a store needs.

    It may be pickled and used after a fork: the connection is made anew in another process.

    Args:
        uri: a local path (relative ones count from the working directory) or ``s3://…``, ``gs://…``.
        patience_seconds: how long an operation is tried again while the storage does not answer.
        marker: a file that always lies there; a local folder without it, such as an empty mount point, does not answer.

    Raises:
        StoreError: the URI names no file system that is known here.
    """

    def __init__(
        self, uri: str | Path, *, patience_seconds: float = PATIENCE_SECONDS, marker: str | None = None
    ) -> None:
        self.uri, self.patience_seconds, self.marker = str(uri), patience_seconds, marker
        self._fs, self.root = open_filesystem(self.uri, patience_seconds)
        self._process = os.getpid()
        self.is_local = isinstance(self._fs, fs.LocalFileSystem)
        if self.is_local:
            self.uri = self.root
        self._home: Location | None = None

    @property
    def home(self) -> Location:
        """The location that this one is a sibling of, or itself."""
        return self._home or self

    def sibling(self, suffix: str) -> Location:
        """The location with `suffix` appended to its path, on the same file system (a URI's query stays its own)."""
        other = object.__new__(Location)
        other.__dict__.update(self.__dict__)
        other.root = self.root.rstrip("/") + suffix
        path, mark, query = (self.uri, "", "") if self.is_local else self.uri.partition("?")
        other.uri = path.rstrip("/") + suffix + mark + query
        other._home = self.home
        return other

    def __getstate__(self) -> dict[str, Any]:
        # Arrow's S3FileSystem would lose its retry strategy
        return {name: value for name, value in self.__dict__.items() if name != "_fs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fs, _ = open_filesystem(self.uri, self.patience_seconds)
        self._process = os.getpid()

    def where(self, name: str = "") -> str:
        """A file's full name, for messages."""
        return f"{self.uri.partition('?')[0] if not self.is_local else self.uri}/{name}".rstrip("/")

    def _try(
        self,
        name: str,
        done: str,
        work: Callable[[], T],
        patience_seconds: float | None = None,
        missing_raises: bool = False,
    ) -> T:
        if self._process != os.getpid():  # the AWS SDK's threads do not survive a fork
            self.__setstate__(self.__getstate__())
        patience = self.patience_seconds if patience_seconds is None else patience_seconds

        def guarded() -> T:
            self.require_folder()
            return work()

        return persist(guarded, self.where(name), done, patience, missing_raises)

    def require_folder(self) -> None:
        """Make sure that the home's marker, if it has one, is there: what is written elsewhere is lost to all others.

        Raises:
            FolderGone: it is not.
        """
        home = self.home
        if home.is_local and home.marker is not None:
            try:
                os.stat(os.path.join(home.root, home.marker))
            except (FileNotFoundError, NotADirectoryError):
                raise FolderGone(home.root) from None

    def files(self, folder: str = "") -> list[str]:
        """Paths of all files below `folder`, relative to the location, sorted; none when it does not exist."""
        return sorted(self.modified(folder))

    def modified(self, folder: str = "", *, patience_seconds: float | None = None) -> dict[str, float]:
        """All files below `folder` and when they were written, in seconds by the storage's own clock."""
        selector = fs.FileSelector(f"{self.root}/{folder}".rstrip("/"), recursive=True, allow_not_found=True)
        found = self._try(folder, "read", lambda: self._fs.get_file_info(selector), patience_seconds)
        return {
            info.path[len(self.root) :].lstrip("/"): (info.mtime_ns or 0) / 1e9
            for info in found
            if info.type == fs.FileType.File
        }

    def sizes(self, folder: str = "") -> dict[str, int]:
        """All files below `folder` and their sizes, bytes."""
        selector = fs.FileSelector(f"{self.root}/{folder}".rstrip("/"), recursive=True, allow_not_found=True)
        found = self._try(folder, "read", lambda: self._fs.get_file_info(selector))
        return {i.path[len(self.root) :].lstrip("/"): i.size or 0 for i in found if i.type == fs.FileType.File}

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return self.written_at(name) is not None

    def written_at(self, name: str, *, patience_seconds: float | None = None) -> float | None:
        """When the file was written, in seconds by the storage's own clock; None when it is not there."""
        info = self._try(name, "read", lambda: self._fs.get_file_info(f"{self.root}/{name}"), patience_seconds)
        return (info.mtime_ns or 0) / 1e9 if info.type == fs.FileType.File else None

    def names(self) -> list[str]:
        """Names of what lies directly there; none when the folder is missing.

        Raises:
            StoreError: a file stands in its place, or there is no such bucket.
        """
        info = self._try("", "read", lambda: self._fs.get_file_info(self.root))
        if info.type == fs.FileType.File:
            raise StoreError(f"{self.uri}: is a file, not a folder for results; give another --store")
        try:
            # an object store tells a missing bucket from an empty one only if it may complain
            found = self._try("", "read", lambda: self._fs.get_file_info(fs.FileSelector(self.root)), None, True)
        except FileNotFoundError:
            return []
        return [one.base_name for one in found]

    def read(self, name: str, *, patience_seconds: float | None = None) -> bytes:
        """The file's bytes; FileNotFoundError when it is not there."""

        def work() -> bytes:
            with self._fs.open_input_file(f"{self.root}/{name}") as stream:
                return stream.read()

        return self._try(name, "read", work, patience_seconds, missing_raises=True)

    def open(self, name: str, *, patience_seconds: float | None = None) -> pa.NativeFile:
        """The file for random access; FileNotFoundError when it is not there."""
        path = f"{self.root}/{name}"
        return self._try(name, "read", lambda: self._fs.open_input_file(path), patience_seconds, missing_raises=True)

    def write(self, name: str, data: bytes | Path, *, patience_seconds: float | None = None) -> None:
        """Write the file so that a reader sees the old bytes or all the new ones.

        Args:
            name: path relative to the location.
            data: its content, or a local file that holds it.
            patience_seconds: instead of the location's own.

        Raises:
            StorageOutage: the storage does not answer.
            StoreError: no space, no permission.
        """
        path = f"{self.root}/{name}"

        def work() -> None:
            if self.is_local:
                _replace(Path(path), data)
            elif self._fs.type_name in PUTS_WHOLE:
                self._send(path, data)
            else:
                folder, _, leaf = path.rpartition("/")
                temporary = f"{folder}/.{leaf}.{uuid.uuid4().hex}"
                self._fs.create_dir(folder, recursive=True)
                self._send(temporary, data)
                self._fs.move(temporary, path)

        self._try(name, "written", work, patience_seconds)

    def _send(self, path: str, data: bytes | Path) -> None:
        # one call: closing the stream puts whatever has been written, even after an error in between
        content = data if isinstance(data, bytes) else pa.memory_map(str(data)).read_buffer()
        with self._fs.open_output_stream(path) as stream:
            stream.write(content)

    def remove(self, name: str, *, patience_seconds: float | None = None) -> None:
        """Delete the file if it is there."""

        def work() -> None:
            if self._fs.get_file_info(f"{self.root}/{name}").type == fs.FileType.File:
                self._fs.delete_file(f"{self.root}/{name}")

        self._try(name, "deleted", work, patience_seconds)

    def remove_same(self, name: str, digest: str) -> bool:
        """Delete the file unless its content has changed.

        A local file that is the same is moved out of the way of whoever may write it in this moment, and moved back if
        that has happened since the look; of an object, one that is written between look and deletion is lost.

        Args:
            name: path relative to the location.
            digest: SHA-256 of the content that may go, hexadecimal.

        Returns:
            whether nothing is there any more.
        """

        def work() -> bool:
            if self.is_local:
                return _remove_same(Path(f"{self.root}/{name}"), digest)
            with self._fs.open_input_file(f"{self.root}/{name}") as stream:
                same = hashlib.sha256(stream.read()).hexdigest() == digest
            if same:
                self._fs.delete_file(f"{self.root}/{name}")
            return same

        try:
            return self._try(name, "deleted", work, missing_raises=True)
        except FileNotFoundError:
            return True


def _remove_same(path: Path, digest: str) -> bool:
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        return False  # it is never out of readers' sight, not even if this process is killed
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    os.rename(path, aside)
    same = hashlib.sha256(aside.read_bytes()).hexdigest() == digest
    if not same:
        try:
            os.link(aside, path)
        except FileExistsError:  # which of the two is newer nobody knows here; `verify` looks at what stays aside
            return False
        except OSError:  # a file system without links
            os.replace(aside, path)
            return False
    os.unlink(aside)
    return same


def _replace(path: Path, data: bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as out:
            if isinstance(data, bytes):
                out.write(data)
            else:
                with data.open("rb") as source:
                    shutil.copyfileobj(source, out, 2**20)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
