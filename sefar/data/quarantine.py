"""Quarantine lists: clips that a check found not to decode, and why.

A CSV file in ``<root>/quarantine`` with the fields of `Quarantined`, a row a clip. An entry holds for the file that was
checked: once the file's size or time of change differs, the entry is stale and passed over.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from sefar.errors import DataError
from sefar.files import write_whole

NO_FILE = (-1, -1)


@dataclass(frozen=True)
class Quarantined:
    """A clip that does not decode.

    Attributes:
        clip_id: of the clip table.
        path: its file; in the CSV relative to the folder above the list's own where it lies beneath it, so that a data
            folder can be moved.
        start_frame, end_frame: its window, end exclusive, −1: to the end.
        size_bytes, modified_ns: of the file as checked; −1 where there was none.
        cause: why it does not decode, one line.
    """

    clip_id: str
    path: str
    start_frame: int
    end_frame: int
    size_bytes: int
    modified_ns: int
    cause: str


COLUMNS = tuple(f.name for f in fields(Quarantined))


def quarantined(clip_id: str, path: str, start_frame: int, end_frame: int, cause: str) -> Quarantined:
    """An entry for the file as it is now."""
    return Quarantined(clip_id, path, start_frame, end_frame, *_state(path), " ".join(cause.split()))


class Quarantine:
    """The entries of one or several lists."""

    def __init__(self, entries: Iterable[Quarantined] = ()) -> None:
        self._causes: dict[tuple[str, int, int], dict[tuple[int, int], str]] = {}
        for e in entries:
            states = self._causes.setdefault((os.path.abspath(e.path), e.start_frame, e.end_frame), {})
            states[e.size_bytes, e.modified_ns] = e.cause

    def cause(self, path: str, start_frame: int, end_frame: int) -> str | None:
        """Why this clip does not decode; None: not listed, or changed since. Unlisted files are not touched."""
        states = self._causes.get((os.path.abspath(path), start_frame, end_frame))
        return states.get(_state(path)) if states else None


def quarantine_file(root: Path, scope: str) -> Path:
    """Where the list of a scope lies: a name that tells the scope and is no other scope's."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", scope).strip("-.")[-80:]
    return Path(root) / "quarantine" / f"{slug}-{hashlib.sha256(scope.encode()).hexdigest()[:6]}.csv"


def quarantine_files(root: Path) -> list[Path]:
    """All lists of a data folder."""
    return sorted((Path(root) / "quarantine").glob("*.csv"))


def read_quarantine(files: Iterable[Path]) -> Quarantine:
    """Read lists.

    Raises:
        DataError: a list cannot be read or is not of this format; names file and line.
    """
    return Quarantine(entry for file in files for entry in _read(Path(file)))


def write_quarantine(file: Path, rows: Iterable[Quarantined]) -> None:
    """Write a list whole, with its folder.

    Raises:
        DataError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    base = Path(os.path.abspath(file)).parent.parent
    for row in rows:
        clip_id, path, *rest = astuple(row)
        absolute = Path(os.path.abspath(path))
        writer.writerow([clip_id, absolute.relative_to(base) if absolute.is_relative_to(base) else absolute, *rest])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.getvalue())
    except OSError as error:
        raise DataError(f"{file}: the quarantine list cannot be written ({error.strerror or error})") from error


def _read(file: Path) -> list[Quarantined]:
    form = f"{file}: expected a quarantine list with the columns {','.join(COLUMNS)}"
    remedy = "remove it and run `sefar prepare check` again"
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{form}, which cannot be read ({error}); {remedy}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(f"{form}, got '{','.join(rows[0])[:120] if rows else ''}'; {remedy}")
    base = Path(os.path.abspath(file)).parent.parent
    entries = []
    for number, row in enumerate(rows[1:], 2):
        try:
            clip_id, path, *numbers, cause = row
            start, end, size, modified = map(int, numbers)
        except ValueError:
            raise DataError(
                f"{file}:{number}: expected {','.join(COLUMNS)}, got '{','.join(row)[:120]}'; {remedy}"
            ) from None
        entries.append(Quarantined(clip_id, str(base / path), start, end, size, modified, cause))
    return entries


def _state(path: str) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds."""
    try:
        now = os.stat(path)
    except OSError:
        return NO_FILE
    return now.st_size, now.st_mtime_ns
