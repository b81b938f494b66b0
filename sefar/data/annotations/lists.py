"""Plain lists, as papers release them: one ``<path> <label>`` a line in a train, an unlabelled and a test list."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from sefar.data.annotations.list_checks import check_lists
from sefar.data.annotations.table import clip_rows
from sefar.data.annotations.text import malformed, read_rows
from sefar.data.findings import Findings
from sefar.data.listing import Listing
from sefar.errors import DataError

LIST_NAMES = {"train": ("train",), "unlabelled": ("unlabel", "unlabelled", "unlabe"), "test": ("test", "val")}
LIST_SUFFIXES = (".csv", ".txt", ".list")
QUOTED = re.compile(r'"(?P<path>(?:[^"]|"")*)"(?: *, *|\s+)(?P<label>\S+)')
WINDOW = re.compile(r"^(?P<path>.+)#(?P<start>[0-9]{1,9})-(?P<end>[0-9]{1,9})$")
FORM = "<path> <label>"


def read_lists(
    folder: Path, data_root: Path, *, path_prefix: tuple[str, str] | None = None
) -> tuple[pd.DataFrame, Findings]:
    """Read ``train``, ``unlabel`` (or ``unlabelled``, ``unlabe``) and ``test`` (or ``val``) lists.

    Lines are ``<path> <label>`` or ``<path>,<label>``; the path may be quoted, hold spaces, and end in a frame window
    ``#start-end`` (end exclusive); label −1 is unknown.

    Args:
        folder: holds the lists (``.csv``, ``.txt`` or ``.list``) and, if wanted, ``classes.txt`` with one
            ``<label> <name>`` a line.
        data_root: relative paths that do not exist beside the lists are taken from here.
        path_prefix: (old, new) leading folders: a path that begins with the old one is looked for under the new one.
            Clip ids stay as the lists write them.

    Returns:
        The clip table, each clip of a list once, and what is wrong with the lists.

    Raises:
        DataError: a list is missing, empty or no text, or there are two of one split; names the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"lists:{folder}: no such folder; give the folder that holds train, unlabel and test lists")
    findings = Findings()
    names = _class_names(folder / "classes.txt", findings)
    resolve = _resolver(folder, Path(data_root), path_prefix)
    rows: list[dict[str, object]] = []
    for split, path in _list_files(folder, findings):
        read = list(_list_rows(path, split, resolve, names, findings))
        if not read and split != "unlabelled" and not findings.fatal:
            raise DataError(f"{path}: the list is empty; expected '{FORM}' lines")
        rows += read
    if path_prefix and not any(Path(str(row["clip_id"])).is_relative_to(path_prefix[0]) for row in rows):
        findings.add("path prefix", folder.name, f"no path begins with '{path_prefix[0]}'; mend the prefix to replace")
    return check_lists(clip_rows(rows), names, findings), findings


def _list_files(folder: Path, findings: Findings) -> Iterator[tuple[str, Path]]:
    """(split, file) of each list."""
    for split, stems in LIST_NAMES.items():
        found = [folder / (s + e) for s in stems for e in LIST_SUFFIXES if (folder / (s + e)).is_file()]
        if len(found) == 2 and split == "test" and _same_rows(*found):
            findings.add(
                "val equals test", found[1].name, f"has the rows of {found[0].name}: whoever chooses by it tests"
            )
            found = found[:1]
        if len(found) > 1:
            raise DataError(
                f"{folder}: {len(found)} {split} lists, {' and '.join(f.name for f in found)}; keep one of them"
            )
        if found:
            if found[0].stem not in (split, stems[0]):
                usual = stems[0] + found[0].suffix
                findings.add("list name", found[0].name, f"expected {usual}; read as the {split} list all the same")
            yield split, found[0]
        elif split != "unlabelled":
            raise DataError(f"{folder}: no {split} list; expected {split}.csv or {split}.txt with '{FORM}' lines")


def _same_rows(first: Path, second: Path) -> bool:
    one, other = ({row for _, row in read_rows(path, FORM, Findings())} for path in (first, second))
    return one == other


def _list_rows(
    path: Path, split: str, resolve: Callable[[str], str], names: dict[int, str], findings: Findings
) -> Iterator[dict[str, object]]:
    lines = read_rows(path, FORM, findings)
    if commas := sum(bool(re.search(r",\s*-?\d+$", line)) for _, line in lines):
        findings.add("separator", path.name, f"{commas} of {len(lines)} rows separate by comma; read all the same")
    for number, line in lines:
        where = f"{path.name}:{number}"
        parsed = _parse_line(line)
        if parsed is None:
            malformed(findings, where, FORM, line)
            continue
        file, start, end, label = parsed
        yield {
            "clip_id": file if end < 0 else f"{file}#{start}-{end}",
            "path": resolve(file),
            "label": label,
            "label_name": names.get(label, str(label)),
            "group": os.path.splitext(file)[0],
            "start_frame": start,
            "end_frame": end,
            "split": split,
            "where": where,
        }


def _parse_line(line: str) -> tuple[str, int, int, int] | None:
    """(path, start, end, label) of one line, or None when malformed."""
    if quoted := QUOTED.fullmatch(line):
        fields = [quoted["path"].replace('""', '"'), quoted["label"]]
    else:
        fields = line.rsplit("," if "," in line and line.rsplit(",", 1)[1].strip().lstrip("-").isdigit() else None, 1)
    if len(fields) != 2 or not re.fullmatch(r"-1|[0-9]{1,9}", fields[1].strip()):
        return None
    file, label = fields[0].strip(), int(fields[1])
    if not file or "\0" in file:
        return None
    window = WINDOW.match(file)
    if window is None:
        return file, 0, -1, label
    start, end = int(window["start"]), int(window["end"])
    return (window["path"], start, end, label) if end > start else None


def _resolver(folder: Path, data_root: Path, path_prefix: tuple[str, str] | None) -> Callable[[str], str]:
    """Where a path of a list lies: under the new prefix, else beside the list, else under `data_root`."""
    listing = Listing()

    def resolve(file: str) -> str:
        path = Path(file)
        if path_prefix and path.is_relative_to(path_prefix[0]):
            path = path_prefix[1] / path.relative_to(path_prefix[0])
        if path.is_absolute():
            return str(path)
        beside = str(folder / path)
        return beside if listing.is_file(beside) else str(data_root / path)

    return resolve


def _class_names(path: Path, findings: Findings) -> dict[int, str]:
    """Names from ``classes.txt``; without the file, labels are their own names."""
    names: dict[int, str] = {}
    if path.is_file():
        for number, line in read_rows(path, "<label> <name>", findings):
            label, _, name = line.partition(" ")
            if re.fullmatch(r"[0-9]{1,9}", label) and name:
                names[int(label)] = name.strip()
            else:
                malformed(findings, f"{path.name}:{number}", "<label> <name>", line)
    return names
