"""What this process holds open."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def open_files(below: Path | str = "") -> list[str]:
    """What this process's descriptors point to, of all or of those below a folder.

    Other tests' threads open and close descriptors meanwhile, so only those below a test's own folder can be counted.
    """
    names = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{name}"))
    return [name for name in names if name.startswith(str(below))]
