"""Annotation files → one clip table.

A clip table is a pandas frame with the columns of `CLIP_COLUMNS`: `label` is an integer (−1: unknown), frames
`start_frame` … `end_frame` (exclusive; −1: to the end) of the file at `path`, `group` the source video or performer,
`split` one of train, unlabelled, test.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pandas as pd

from sefar.errors import DataError

CLIP_COLUMNS = (
    "clip_id",
    "path",
    "label",
    "label_name",
    "event",
    "set",
    "group",
    "start_frame",
    "end_frame",
    "split",
)
LIST_NAMES = {"train": ("train",), "unlabelled": ("unlabel", "unlabelled", "unlabe"), "test": ("test", "val")}
LIST_SUFFIXES = (".csv", ".txt", ".list")
WINDOW = re.compile(r"^(?P<path>.+)#(?P<start>\d+)-(?P<end>\d+)$")


def read_lists(folder: Path, data_root: Path) -> pd.DataFrame:
    """Read plain lists: ``train``, ``unlabel`` and ``test`` files of ``<path> <label>`` lines.

    Args:
        folder: holds the lists (``.csv``, ``.txt`` or ``.list``) and, if wanted, ``classes.txt`` with one
            ``<label> <name>`` a line.
        data_root: relative paths that do not exist beside the lists are taken from here.

    Returns:
        The clip table; duplicate rows of a list are kept once.

    Raises:
        DataError: a list is missing, unreadable or malformed, or there are two of one split; names file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"lists:{folder}: no such folder; give the folder that holds train, unlabel and test lists")
    names = _class_names(folder / "classes.txt")
    tables = []
    for split, stems in LIST_NAMES.items():
        found = [folder / (s + e) for s in stems for e in LIST_SUFFIXES if (folder / (s + e)).is_file()]
        if len(found) > 1:
            raise DataError(
                f"{folder}: {len(found)} {split} lists, {' and '.join(f.name for f in found)}; keep one of them"
            )
        if found:
            tables.append(read_list(found[0], split=split, data_root=data_root, class_names=names))
        elif split != "unlabelled":
            raise DataError(
                f"{folder}: no {split} list; expected {split}.csv or {split}.txt with '<path> <label>' lines"
            )
    return pd.concat(tables, ignore_index=True)


def read_list(path: Path, *, split: str, data_root: Path, class_names: dict[int, str] | None = None) -> pd.DataFrame:
    """Read one plain list.

    Lines are ``<path> <label>`` or ``<path>,<label>``; the path may be quoted, hold spaces, and end in a frame window
    ``#start-end`` (end exclusive). Blank lines are passed over.

    Raises:
        DataError: unreadable or malformed, or a clip has two labels; the message counts further faulty lines.
    """
    rows, faults = [], []
    first: dict[tuple[str, object, object], tuple[int, object]] = {}  # line and label of each clip
    for number, line in enumerate(_read_lines(path, "<path> <label>"), 1):
        if not line.strip():
            continue
        parsed = _parse_line(line.strip())
        if parsed is None:
            faults.append(f"{path}:{number}: expected '<path> <label>', got '{line.strip()[:80]}'")
        else:
            row = _row(*parsed, path=path, split=split, data_root=data_root, class_names=class_names or {})
            key = (os.path.realpath(str(row["path"])), row["start_frame"], row["end_frame"])
            if key not in first:
                first[key] = (number, row["label"])
                rows.append(row)
            elif first[key][1] != row["label"]:
                faults.append(
                    f"{path}:{number}: expected label {first[key][1]} of '{row['clip_id']}' as on line "
                    f"{first[key][0]}, got {row['label']}"
                )
    if faults:
        more = f" (and {len(faults) - 1} more faulty lines)" if len(faults) > 1 else ""
        raise DataError(f"{faults[0]}{more}; mend the list, one clip a line")
    if not rows and split != "unlabelled":
        raise DataError(f"{path}: the list is empty; expected '<path> <label>' lines")
    return pd.DataFrame(rows, columns=list(CLIP_COLUMNS))


def _read_lines(path: Path, form: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()  # spreadsheets put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a text list ({error}); expected '{form}' lines") from error


def _parse_line(line: str) -> tuple[str, int, int, int] | None:
    """(path, start, end, label) of one line, or None when malformed."""
    if line.startswith('"'):
        fields = next(csv.reader([line], delimiter="," if '",' in line else " "), [])
        fields = [f for f in fields if f]
    else:
        fields = line.rsplit("," if "," in line and line.rsplit(",", 1)[1].strip().lstrip("-").isdigit() else None, 1)
    if len(fields) != 2 or not re.fullmatch(r"-1|\d+", fields[1].strip()):
        return None
    file, label = fields[0].strip(), int(fields[1])
    window = WINDOW.match(file)
    if window is None:
        return (file, 0, -1, label) if file else None
    start, end = int(window["start"]), int(window["end"])
    return (window["path"], start, end, label) if end > start else None


def _row(
    file: str,
    start: int,
    end: int,
    label: int,
    *,
    path: Path,
    split: str,
    data_root: Path,
    class_names: dict[int, str],
) -> dict[str, object]:
    resolved = Path(file)
    if not resolved.is_absolute():
        beside = path.parent / resolved
        resolved = beside if beside.exists() else data_root / resolved
    return {
        "clip_id": file if end < 0 else f"{file}#{start}-{end}",
        "path": str(resolved),
        "label": label,
        "label_name": class_names.get(label, str(label)),
        "event": "",
        "set": "",
        "group": Path(file).stem,
        "start_frame": start,
        "end_frame": end,
        "split": split,
    }


def _class_names(path: Path) -> dict[int, str]:
    """Names from ``classes.txt``; without the file, labels are their own names."""
    if not path.is_file():
        return {}
    names = {}
    for number, line in enumerate(_read_lines(path, "<label> <name>"), 1):
        if line.strip():
            label, _, name = line.strip().partition(" ")
            if not label.isdigit() or not name:
                raise DataError(f"{path}:{number}: expected '<label> <name>', got '{line.strip()[:80]}'")
            names[int(label)] = name.strip()
    return names
