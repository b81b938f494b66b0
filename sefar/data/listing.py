"""Folders read once: whether thousands of clips exist, and which are links, without asking the disk for each."""

from __future__ import annotations

import os
from collections.abc import Iterable


class Listing:
    """What the folders of some paths hold, as of the moment each folder is first asked for."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, dict[str, os.DirEntry[str]]]] = {}

    def is_file(self, path: str) -> bool:
        """Whether there is such a file, or a link to one."""
        folder, name = os.path.split(path)
        entry = self._folder(folder)[1].get(name)
        try:
            return entry is not None and entry.is_file()
        except OSError:  # a link into a folder that may not be entered
            return False

    def real_path(self, path: str) -> str:
        """`os.path.realpath` of it."""
        folder, name = os.path.split(path)
        real, entries = self._folder(folder)
        if name in ("", ".", "..") or (name in entries and entries[name].is_symlink()):
            return os.path.realpath(path)
        return os.path.join(real, name)

    def _folder(self, folder: str) -> tuple[str, dict[str, os.DirEntry[str]]]:
        if folder not in self._folders:
            self._folders[folder] = (os.path.realpath(folder), _entries(folder))
        return self._folders[folder]


def _entries(folder: str) -> dict[str, os.DirEntry[str]]:
    try:
        with os.scandir(folder or ".") as found:
            return {entry.name: entry for entry in found}
    except OSError:  # none, or not to be read: its clips are as good as absent
        return {}


def real_paths(paths: Iterable[str]) -> dict[str, str]:
    """`os.path.realpath` of each path."""
    listing = Listing()
    return {path: listing.real_path(path) for path in paths}
