"""Plain folders of clips: ``train/<class>/…``, ``test/<class>/…`` and, if wanted, ``unlabelled/…``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sefar.data.annotations.checks import check_clips
from sefar.data.annotations.lists import LIST_NAMES
from sefar.data.annotations.table import clip_rows
from sefar.data.findings import Findings
from sefar.errors import DataError

VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"}


def read_folders(folder: Path) -> tuple[pd.DataFrame, Findings]:
    """Read a tree of clips.

    Classes are the folders of ``train`` and ``test`` (or ``val``), numbered in sorted order. Clips of ``unlabelled``
    (or ``unlabel``) may lie in class folders too: then their label is kept to judge pseudo-labels by.

    Args:
        folder: holds ``train`` and ``test``; names that begin with a dot are passed over.

    Returns:
        The clip table (`clip_id` the path inside the folder, `group` the same), and what is wrong with the tree.

    Raises:
        DataError: no such folder, or it lacks ``train`` or ``test``, or has two of a split.
        OSError: one of the folders cannot be listed.
    """
    folder = Path(folder)
    parts = dict(_split_folders(folder))
    entries = [entry for split in ("train", "test") for entry in _visible(parts[split])]
    names = sorted({e.name for e in entries if _is_folder(e) and _readable(e.name) == e.name})
    labels = {name: label for label, name in enumerate(names)}
    findings = Findings()
    rows = [row for split, part in parts.items() for row in _clip_rows(folder, part, split, labels, findings)]
    return check_clips(clip_rows(rows), dict(enumerate(names)), findings), findings


def _split_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    for split, names in LIST_NAMES.items():
        found = [folder / name for name in names if os.path.isdir(folder / name)]
        if len(found) > 1:
            raise DataError(f"{folder}: two {split} folders, {found[0].name} and {found[1].name}; keep one of them")
        if found:
            yield split, found[0]
        elif split != "unlabelled":
            raise DataError(f"{folder}: no folder {split}; expected {split}/<class>/<clip>.mp4")


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    return sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda e: e.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _readable(name: str) -> str:
    """The name, with its bytes that are no UTF-8 written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _files(part: Path, findings: Findings) -> Iterator[tuple[str, Path]]:
    """(class or none, file) of each file in `part` and in its folders."""
    for entry in _visible(part):
        if not _is_folder(entry):
            yield "", Path(entry.path)
            continue
        for inner in _visible(Path(entry.path)):
            if _is_folder(inner):
                where = f"{part.name}/{entry.name}/{inner.name}"
                findings.add("folder too deep", where, f"expected {part.name}/<class>/<clip>; left out")
            else:
                yield entry.name, Path(inner.path)


def _clip_rows(
    folder: Path, part: Path, split: str, labels: dict[str, int], findings: Findings
) -> Iterator[dict[str, object]]:
    others: Counter[str] = Counter()
    for name, path in _files(part, findings):
        clip_id = path.relative_to(folder).as_posix()
        if _readable(clip_id) != clip_id:
            findings.add("name is no UTF-8", _readable(clip_id), "expected a name in UTF-8; rename it", fatal=True)
        elif path.suffix.lower() not in VIDEO_SUFFIXES:
            others[path.suffix or path.name] += 1
        elif name not in labels and split != "unlabelled":
            message = f"expected {part.name}/<class>/<clip>, got a clip outside class folders; left out"
            findings.add("clip without class", clip_id, message)
        else:
            yield {
                "clip_id": clip_id,
                "path": str(path),
                "label": labels.get(name, -1),
                "label_name": name if name in labels else "",
                "group": clip_id,
                "split": split,
                "where": clip_id,
            }
    for kind, count in sorted(others.items()):
        findings.add("not a video", part.name, f"{count} files {kind} are no videos; left out")
