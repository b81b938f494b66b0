"""FineGym (Shao et al., CVPR 2020; arXiv 2004.06704): gymnastics elements of four events in fifteen sets.

Gym99 and Gym288 are two cuts of the same videos and must not be mixed: 99 clips are in Gym99's train and Gym288's val
list, 99 others the other way round (`checks.find_crossed_splits`). Train and val lists of one cut share source videos.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sefar.data.annotations.checks import check_clips, check_counts
from sefar.data.annotations.finegym_elements import parse_element
from sefar.data.annotations.table import clip_rows
from sefar.data.annotations.text import malformed, read_rows, require_files
from sefar.data.findings import Findings
from sefar.errors import DataError, nearest

EVENTS = {0: "VT", 2: "FX", 3: "BB", 4: "UB"}  # by the set's tens: set 41 is the first of UB
SET_IDS = {
    f"{event}-S{number}": 10 * tens + number
    for tens, event, count in ((0, "VT", 1), (2, "FX", 5), (3, "BB", 5), (4, "UB", 4))
    for number in range(1, count + 1)
}
COUNTS = {
    ("gym99", "1.0"): (20484, 8521),
    ("gym99", "1.1"): (26320, 8521),
    ("gym288", "1.0"): (22671, 9646),
    ("gym288", "1.1"): (29334, 9646),
}
SOURCE = "from the FineGym project page"
CLASS_FORM = "Clabel: N; set: N; Glabel: N; (EVENT) text"
CLASS_ROW = re.compile(
    r"(?:Clabel: *(?P<clabel>\d{1,9}); *set: *(?P<set>\d{1,9}); *Glabel: *\d+"
    r"|Glabel: *(?P<glabel>\d{1,9}); *set: *(?P<gset>\d{1,9})); *"
    r"(?P<text>\((?P<event>VT|FX|BB|UB)\) *.+)",
    re.ASCII,
)
ELEMENT_FORM = "<video>_E_<start>_<end>_A_<start>_<end> <label>"


@dataclass(frozen=True)
class FineGymClass:
    """A class: `name` is unique, `event` one of VT, FX, BB, UB, `set_id` as in ``set_categories.txt``."""

    name: str
    event: str
    set_id: int


def read_finegym(annotations: Path, *, subset: str, clips: Path, version: str = "1.1") -> tuple[pd.DataFrame, Findings]:
    """Read Gym99 or Gym288.

    Args:
        annotations: folder of FineGym's files: ``<subset>_train_element_v<version>.txt``,
            ``<subset>_val_element.txt``, ``<subset>_categories.txt`` and ``set_categories.txt``.
        subset: ``gym99`` or ``gym288``.
        clips: folder where the clips lie or will lie, as ``<element id>.mp4``.
        version: of the train list, ``1.0`` or ``1.1``.

    Returns:
        The clip table (`label` FineGym's, `set` its name, `group` the source video), and what is wrong with the files.

    Raises:
        DataError: an unknown subset or version, or files are missing or unreadable.
    """
    if (subset, version) not in COUNTS:
        known = [f"{name} v{number}" for name, number in COUNTS]
        raise DataError(f"FineGym has no {subset} v{version}{nearest(f'{subset} v{version}', known)}")
    lists = {"train": f"{subset}_train_element_v{version}.txt", "test": f"{subset}_val_element.txt"}
    require_files(annotations, [*lists.values(), f"{subset}_categories.txt", "set_categories.txt"], SOURCE)
    findings = Findings()
    set_names = read_set_names(annotations, findings)
    classes = read_classes(annotations / f"{subset}_categories.txt", set_names, findings)
    rows = [
        row
        for split, name in lists.items()
        for row in _element_rows(annotations / name, split, classes, set_names, clips, findings)
    ]
    table = check_clips(clip_rows(rows), {label: c.name for label, c in classes.items()}, findings)
    check_counts(table, COUNTS[subset, version], f"{subset} v{version}", findings)
    return table, findings


def read_set_names(annotations: Path, findings: Findings) -> dict[int, str]:
    """Names of the sets by id, from ``set_categories.txt``; ids of codes such as ``UB-S1`` are in `SET_IDS`."""
    names = {}
    for number, line in read_rows(annotations / "set_categories.txt", "set: N; name", findings, source=SOURCE):
        match = re.fullmatch(r"set: *([0-9]{1,9}); *(\S+)", line)
        if match is None or int(match[1]) not in SET_IDS.values():
            malformed(findings, f"set_categories.txt:{number}", "set: N; name", line)
        else:
            names[int(match[1])] = match[2]
    return names


def read_classes(path: Path, set_names: dict[int, str], findings: Findings) -> dict[int, FineGymClass]:
    """Classes of a category file by label; those of ``gym530_categories.txt`` by their Glabel.

    Texts that repeat get their set's name behind them.
    """
    found: dict[int, tuple[str, str, int]] = {}
    for number, line in read_rows(path, CLASS_FORM, findings, source=SOURCE):
        where = f"{path.name}:{number}"
        match = CLASS_ROW.fullmatch(line)
        if match is None:
            malformed(findings, where, CLASS_FORM, line)
            continue
        label = int(match["clabel"] or match["glabel"])
        if label in found:
            findings.add("repeated class", where, f"class {label} has a row already; keep one of them", fatal=True)
            continue
        set_id, text = int(match["set"] or match["gset"]), " ".join(match["text"].split())
        if EVENTS.get(set_id // 10) != match["event"]:
            findings.add("event differs from set", where, f"set {set_id} is none of {match['event']}")
        if earlier := [other for other, (known, _, _) in found.items() if known == text]:
            findings.add("repeated class text", where, f"class {label} has the text of class {earlier[0]}: '{text}'")
        found[label] = (text, match["event"], set_id)
    repeats = Counter(text for text, _, _ in found.values())
    return {
        label: FineGymClass(f"{text} [{set_names.get(s, s)}]" if repeats[text] > 1 else text, event, s)
        for label, (text, event, s) in found.items()
    }


def _element_rows(
    path: Path,
    split: str,
    classes: dict[int, FineGymClass],
    set_names: dict[int, str],
    clips: Path,
    findings: Findings,
) -> Iterator[dict[str, object]]:
    unknown = FineGymClass("", "", 0)
    for number, line in read_rows(path, ELEMENT_FORM, findings, source=SOURCE):
        where = f"{path.name}:{number}"
        element_id, label = line.split() if len(line.split()) == 2 else (line, "")
        element = parse_element(element_id)
        if element is None or not re.fullmatch(r"[0-9]{1,9}", label):
            malformed(findings, where, ELEMENT_FORM, line)
            continue
        cls = classes.get(int(label), unknown)
        yield {
            "clip_id": element_id,
            "path": str(clips / f"{element_id}.mp4"),
            "label": int(label),
            "label_name": cls.name,
            "event": cls.event,
            "set": set_names.get(cls.set_id, ""),
            "group": element.video_id,
            "split": split,
            "where": where,
        }
