"""Files of a store or a checkpoint folder: a local path or any `pyarrow.fs` URI, written whole or not at all."""

from __future__ import annotations

import copy
import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from sefar.errors import StoreError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
PUTS_WHOLE = ("s3", "gcs", "abfs")  # an object appears when its stream closes: no temporary name is needed


class Location:
    """A folder somewhere, with the few operations a store needs.

    Args:
        uri: a local path (relative ones count from the working directory) or ``s3://…``, ``gs://…``.

    Raises:
        StoreError: the URI names no file system that is known here.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        try:
            if "://" in self.uri:
                self._fs, self.root = fs.FileSystem.from_uri(self.uri)
            else:
                self._fs, self.root = fs.LocalFileSystem(), str(Path(self.uri).expanduser().absolute())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(
                f"{self.uri}: not a place results can lie ({error}); give a local path, s3://… or gs://…"
            ) from None
        self.is_local = isinstance(self._fs, fs.LocalFileSystem)
        if self.is_local:
            self.uri = self.root

    def sibling(self, suffix: str) -> Location:
        """The location with `suffix` appended to its path, on the same file system (a URI's query stays its own)."""
        other = copy.copy(self)
        other.root = self.root.rstrip("/") + suffix
        path, mark, query = (self.uri, "", "") if self.is_local else self.uri.partition("?")
        other.uri = path.rstrip("/") + suffix + mark + query
        return other

    def files(self, folder: str = "") -> list[str]:
        """Paths of all files below `folder`, relative to the location, sorted; none when it does not exist."""
        selector = fs.FileSelector(f"{self.root}/{folder}".rstrip("/"), recursive=True, allow_not_found=True)
        with explained(self.uri, "read"):
            found = self._fs.get_file_info(selector)
        return sorted(i.path[len(self.root) :].lstrip("/") for i in found if i.type == fs.FileType.File)

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        with explained(self.uri, "read"):
            return self._fs.get_file_info(f"{self.root}/{name}").type == fs.FileType.File

    def is_empty(self) -> bool:
        """Whether nothing lies there, or the folder is missing.

        Raises:
            StoreError: a file stands in its place.
        """
        with explained(self.uri, "read"):
            info = self._fs.get_file_info(self.root)
        if info.type == fs.FileType.File:
            raise StoreError(f"{self.uri}: is a file, not a folder for results; give another --store")
        with explained(self.uri, "read"):
            return not self._fs.get_file_info(fs.FileSelector(self.root, allow_not_found=True))

    def read(self, name: str) -> bytes:
        """The file's bytes; OSError when it is not there."""
        with self._fs.open_input_file(f"{self.root}/{name}") as stream:
            return stream.read()

    def open(self, name: str) -> pa.NativeFile:
        """The file for random access."""
        return self._fs.open_input_file(f"{self.root}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write the file so that a reader sees the old bytes or all the new ones.

        Raises:
            StoreError: no space, no permission, or the storage does not answer.
        """
        path = f"{self.root}/{name}"
        with explained(f"{self.uri}/{name}", "written"):
            if self.is_local:
                _replace(Path(path), data)
            elif self._fs.type_name in PUTS_WHOLE:
                with self._fs.open_output_stream(path) as stream:
                    stream.write(data)
            else:
                folder, _, leaf = path.rpartition("/")
                temporary = f"{folder}/.{leaf}.{uuid.uuid4().hex}"
                self._fs.create_dir(folder, recursive=True)
                with self._fs.open_output_stream(temporary) as stream:
                    stream.write(data)
                self._fs.move(temporary, path)

    def remove(self, name: str) -> None:
        """Delete the file if it is there."""
        with explained(f"{self.uri}/{name}", "deleted"):
            if self.exists(name):
                self._fs.delete_file(f"{self.root}/{name}")


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explained(where: str, done: str) -> Iterator[None]:
    """Turn an OSError into a StoreError that names the place and the mend."""
    try:
        yield
    except OSError as error:
        text = str(error).lower()
        if error.errno in NO_SPACE or "no space left" in text or "quota" in text:
            mend = "no space left there; free some, or give another --store, and run the same command again"
        elif error.errno in READ_ONLY or "read-only" in text or "access denied" in text:
            mend = "read-only or not permitted; give a --store that you may write to"
        else:
            mend = f"{error}; check the path and the connection"
        raise StoreError(f"{where}: cannot be {done}: {mend}") from error
