"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file under a name of its own in `path`'s folder; when the block ends well, it takes `path`'s place.

    Several processes may write the same path at once: the last to end wins. If the block or the disk fails, `path` is
    what it was; a killed process leaves ``<name>.<random>.part``.

    Raises:
        OSError: the folder cannot be written or is full.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    try:
        os.fchmod(descriptor, 0o644)  # mkstemp's 0600 would shut out the owner's colleagues
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file as `replacing` does; text as UTF-8."""
    with replacing(path) as out:
        out.write(content.encode() if isinstance(content, str) else content)
