"""What became of the clips that were asked for: ``manifest.csv`` in the folder of the clips, and a summary of it.

A row for each clip of each split: ``clip_id, split, status, cause, frames``. The status is ``available``, ``missing``
(there is no source for it) or ``failed``; ``frames`` is empty where nobody counted them.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sefar.data.listing import Listing
from sefar.data.prepare.cutting import Outcome
from sefar.data.prepare.parallel import Task, cut_all
from sefar.data.synthgym.video import cannot_write
from sefar.errors import DataError
from sefar.files import write_whole

COLUMNS = ("clip_id", "split", "status", "cause", "frames")
AVAILABLE, MISSING, FAILED = STATUSES = ("available", "missing", "failed")
NOT_YET = "stopped before its turn"
NAMED_CAUSES = 5


class Row(NamedTuple):
    """One line; see the module."""

    clip_id: str
    split: str
    status: str
    cause: str
    frames: str


class Manifest:
    """The clips asked for and what is known of each.

    Args:
        clips: folder of the clips; the manifest lies in it.
        wanted: ``clip_id``, ``split`` and ``path`` of each clip of each split; a clip may be in several.

    Raises:
        DataError: the folder cannot be made, or holds another file named ``manifest.csv``.
    """

    def __init__(self, clips: Path, wanted: pd.DataFrame) -> None:
        self.file = clips / "manifest.csv"
        self._wanted = wanted
        self._paths = dict(zip(wanted.clip_id, wanted.path, strict=True))
        self._known: dict[str, tuple[str, str, str]] = {}  # status, cause, frames by clip id
        self._whole: Callable[[str, str], bool] | None = None
        try:
            clips.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(clips, error) from error
        self._before = _read(self.file)

    @property
    def total(self) -> int:
        """Number of different clips asked for."""
        return len(self._paths)

    def keep(self, whole: Callable[[str, str], bool] | None = None) -> dict[str, str]:
        """Take the clips that are on disk for available.

        Args:
            whole: told a clip's id and path, whether the file there is what is wanted; None: if it has frames.

        Returns:
            Path by id of the clips still to be made.
        """
        self._whole = whole
        counted = {row.clip_id: row.frames for row in self._before if row.status == AVAILABLE and row.frames}
        listing = Listing()
        for clip_id, path in self._paths.items():
            if clip_id in self._known or not listing.is_file(path) or (whole and not whole(clip_id, path)):
                continue
            before = counted.get(clip_id, "")
            frames = before if whole or (before and os.path.getsize(path)) else str(_header_frames(path))
            if frames != "0":
                self.available(clip_id, frames)
        return {clip_id: path for clip_id, path in self._paths.items() if clip_id not in self._known}

    def available(self, clip_id: str, frames: int | str = "") -> None:
        """The clip is on disk."""
        self._known[clip_id] = (AVAILABLE, "", str(frames))

    def missing(self, clip_id: str, cause: str) -> None:
        """There is no source for the clip."""
        self._known[clip_id] = (MISSING, cause, "")

    def failed(self, clip_id: str, cause: str) -> None:
        """The clip cannot be made from its source."""
        self._known[clip_id] = (FAILED, cause, "")

    def cut(self, tasks: Iterable[Task], *, workers: int, progress: bool) -> None:
        """Cut clips and note what becomes of them.

        Raises:
            DataError: a clip cannot be written.
        """
        try:
            for outcome in cut_all(tasks, workers=workers, progress=progress):
                self._note(outcome)
        finally:
            self.keep(self._whole)  # those that processes had finished, but not told, when they were stopped or died

    def write(self) -> None:
        """Write the file; rows that an earlier one has of other splits stay.

        Raises:
            DataError: it cannot be written.
        """
        splits = set(self._wanted.split)
        rows = self._rows() + [row for row in self._before if row.split not in splits]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([COLUMNS, *sorted(rows, key=lambda row: (row.split, row.clip_id))])
        try:
            write_whole(self.file, text.getvalue())
        except OSError as error:
            raise cannot_write(self.file, error) from error

    def summary(self) -> str:
        """Counts of each split, the commonest causes, and where the file lies: one screen."""
        rows = self._rows()
        counts = Counter((row.split, row.status) for row in rows)
        splits = sorted(set(self._wanted.split))
        width = max(map(len, [*splits, "split"]))
        lines = [f"{'split':{width}} {'clips':>9} {AVAILABLE:>10} {MISSING:>9} {FAILED:>9}"]
        for split in splits:
            available, missing, failed = (counts[split, status] for status in STATUSES)
            total = available + missing + failed
            lines.append(f"{split:{width}} {total:9,} {available:10,} {missing:9,} {failed:9,}")
        for status in (MISSING, FAILED):
            causes = Counter(cause for known, cause, _ in self._all() if known == status)
            common = [f"  {number:,} × {cause}" for cause, number in causes.most_common(NAMED_CAUSES)]
            more = [f"  … and {len(causes) - NAMED_CAUSES:,} other causes"] if len(causes) > NAMED_CAUSES else []
            lines += [f"{status}:", *common, *more] if causes else []
        return "\n".join([*lines, f"manifest: {self.file}"])

    def _note(self, outcome: Outcome) -> None:
        if outcome.cause:
            self.failed(outcome.clip_id, outcome.cause)
        else:
            self.available(outcome.clip_id, outcome.frames)

    def _all(self) -> list[tuple[str, str, str]]:
        return [self._known.get(clip_id, (MISSING, NOT_YET, "")) for clip_id in self._paths]

    def _rows(self) -> list[Row]:
        known = dict(zip(self._paths, self._all(), strict=True))
        return [Row(c, split, *known[c]) for c, split in zip(self._wanted.clip_id, self._wanted.split, strict=True)]


def _header_frames(path: str) -> int:
    """Number of frames that a clip's header gives; 0: no clip."""
    import av

    from sefar.data.video_info import open_video

    try:
        with open_video(Path(path)) as (_, stream):
            return stream.frames
    except (av.FFmpegError, DataError):
        return 0


def _read(file: Path) -> list[Row]:
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({error}); remove it, the clips stay") from error
    if not rows or any(len(row) != len(COLUMNS) for row in rows) or tuple(rows[0]) != COLUMNS:
        raise DataError(f"{file}: expected rows of {','.join(COLUMNS)}; remove it, the clips stay")
    return [Row(*row) for row in rows[1:]]
