"""Folders in /tmp that carry their process's number, so that a later run can tell which a killed one has left."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

NAME = re.compile(r"sefar-[a-z]+-(?P<pid>\d+)n(?P<namespace>\d+)-\w+")
TMP = "/tmp"  # not $TMPDIR: the paths of Ray's sockets must be short


def make_folder(kind: str) -> str:
    """A new folder; `kind` says in its name what it holds."""
    return tempfile.mkdtemp(prefix=f"sefar-{kind}-{os.getpid()}n{_namespace()}-", dir=TMP)


def remove_folder(folder: str) -> None:
    """Delete a folder into which processes on their way out may still be writing."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)


def remove_abandoned() -> None:
    """Delete the folders of processes of this user that are gone, where the system tells which those are."""
    if not Path("/proc/self").exists():
        return
    for folder in Path(TMP).glob("sefar-*"):
        name = NAME.fullmatch(folder.name)
        if name and name["namespace"] == _namespace() and not Path("/proc", name["pid"]).exists() and _is_ours(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _namespace() -> str:
    """Tells apart containers that share the folder and number their processes each from 1; short, see `TMP`."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino % 10_000)
    except OSError:
        return "0"


def _is_ours(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.getuid()
    except OSError:
        return False
