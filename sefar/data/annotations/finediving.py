"""FineDiving (Xu et al., CVPR 2022; arXiv 2204.03646): dives, each a sequence of steps.

Subsets: ``all`` (classes are dive codes), ``10m`` (dives from the 10 m platform), and a dive code such as ``5253B``
(its dives, classes are their sequences of steps). The files do not say a dive's height; the names of most videos do
(``…Women10m_final_r1``), numbered videos do not. For those the subset ``10m`` needs ``10m.txt`` beside the pickles: one
``<video id>`` or ``<video id> <clip number>`` a line for what was dived from 10 m.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sefar.data.annotations.checks import check_clips, check_counts
from sefar.data.annotations.finediving_dives import (
    COARSE,
    FINE,
    SOURCE,
    Dive,
    Key,
    parse_key,
    read_dives,
    read_keys,
    read_step_names,
)
from sefar.data.annotations.table import clip_rows
from sefar.data.annotations.text import read_rows, require_files
from sefar.data.findings import Findings
from sefar.errors import DataError, nearest

COUNTS = (2251, 749)
SPLITS = {"train": "train_split.pkl", "test": "test_split.pkl"}
HEIGHT_FORM = "<video id> [<clip number>]"


def read_finediving(annotations: Path, *, subset: str, clips: Path) -> tuple[pd.DataFrame, Findings]:
    """Read FineDiving.

    Args:
        annotations: folder of the coarse, fine and split pickles (and ``Sub_action_Types_Table.pkl``, which names the
            steps, where it is at hand).
        subset: ``all``, ``10m`` or a dive code.
        clips: folder where the clips lie or will lie, as ``<video id>_<clip number>.mp4``.

    Returns:
        The clip table (`label` the place of the class among the subset's sorted ones, `event` the height where the
        video's name tells, `set` the dive code, `group` the source video), and what is wrong with the files.

    Raises:
        DataError: files are missing, damaged or ask to run code, the subset is unknown, or the height of some videos.
    """
    require_files(annotations, [COARSE, FINE, *SPLITS.values()], SOURCE)
    findings = Findings()
    dives = read_dives(annotations, findings)
    class_names = _class_names(annotations, subset, dives, findings)
    classes = dict(enumerate(sorted(set(class_names.values()))))
    labels = {name: label for label, name in classes.items()}
    rows = [
        {
            "clip_id": dive.clip_id,
            "path": str(clips / f"{dive.clip_id}.mp4"),
            "label": labels[class_names[key]],
            "label_name": class_names[key],
            "event": dive.height,
            "set": dive.action_type,
            "group": dive.video_id,
            "split": split,
            "where": where,
        }
        for split, where, key, dive in _split_dives(annotations, dives, findings)
        if key in class_names
    ]
    table = check_clips(clip_rows(rows), classes, findings)
    if subset == "all":
        check_counts(table, COUNTS, "finediving", findings)
    return table, findings


def _split_dives(annotations: Path, dives: dict[Key, Dive], findings: Findings) -> Iterator[tuple[str, str, Key, Dive]]:
    """(split, file and entry, key, dive) of the entries of the split files, with findings."""
    seen = set()
    for split, name in SPLITS.items():
        for number, key in enumerate(read_keys(annotations / name, findings)):
            where = f"{name}: entry {number}"
            seen.add(key)
            if key in dives:
                yield split, where, key, dives[key]
            else:
                findings.add("clip without annotation", where, f"{FINE} has no usable entry of {key}", fatal=True)
    for key in sorted(set(dives) - seen):
        findings.add("clip in no split", dives[key].clip_id, "neither in train_split.pkl nor in test_split.pkl")


def _class_names(annotations: Path, subset: str, dives: dict[Key, Dive], findings: Findings) -> dict[Key, str]:
    """Class of each dive of the subset."""
    if subset == "all":
        return {key: dive.action_type for key, dive in dives.items()}
    if subset == "10m":
        high = _ten_metre_keys(annotations, dives, findings)
        return {key: dive.action_type for key, dive in dives.items() if key in high}
    codes = {dive.action_type for dive in dives.values()}
    if subset.upper() not in codes:
        raise DataError(f"finediving has no '{subset}'{nearest(subset.upper(), ['all', '10m', *codes])}")
    names = read_step_names(annotations, findings)
    return {
        key: " > ".join(names.get(step, str(step)) for step in dive.steps)
        for key, dive in dives.items()
        if dive.action_type == subset.upper()
    }


def _ten_metre_keys(annotations: Path, dives: dict[Key, Dive], findings: Findings) -> set[Key]:
    """Dives from 10 m: those of videos whose name says so, and what ``10m.txt`` adds for videos that do not tell."""
    path = annotations / "10m.txt"
    untold = sorted({dive.video_id for dive in dives.values() if not dive.height})
    if untold and not path.is_file():
        raise DataError(
            f"{annotations}: the names of {len(untold)} videos do not tell the height ({', '.join(untold[:5])}, …); "
            f"expected {path.name} with '{HEIGHT_FORM}' lines for their dives from 10 m"
        )
    listed: set[str | Key] = set()
    for number, line in read_rows(path, HEIGHT_FORM, findings) if path.is_file() else []:
        where = f"{path.name}:{number}"
        key = parse_key(line.rsplit(maxsplit=1))
        found: str | Key | None = key if key in dives else line if line in untold else None
        if found is None:
            findings.add("malformed row", where, f"expected '{HEIGHT_FORM}' of a dive, got '{line[:80]}'", fatal=True)
        elif key in dives and dives[key].height not in ("", "10m"):
            findings.add("conflicting height", where, f"the name of {key[0]} says {dives[key].height}", fatal=True)
        else:
            listed.add(found)
    return {
        key
        for key, dive in dives.items()
        if dive.height == "10m" or key in listed or (not dive.height and key[0] in listed)
    }
