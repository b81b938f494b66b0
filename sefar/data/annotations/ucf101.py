"""UCF101 (Soomro et al., 2012; arXiv 1212.0402): 101 actions, three splits by group of clips from one source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sefar.data.annotations.checks import check_clips, check_counts
from sefar.data.annotations.table import clip_rows
from sefar.data.annotations.text import malformed, read_rows, require_files
from sefar.data.findings import Findings
from sefar.errors import DataError

COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
SOURCE = "from UCF101's action recognition splits (ucfTrainTestlist)"
TRAIN_FORM = "<Class>/v_<Class>_gNN_cNN.avi <label>"
TEST_FORM = "<Class>/v_<Class>_gNN_cNN.avi"
ROW = re.compile(
    r"(?P<class>\w+)/(?P<stem>v_(?P<named>\w+)_(?P<group>g\d\d)_c\d\d)\.avi(?: +(?P<label>\d{1,9}))?", re.ASCII
)


def read_ucf101(annotations: Path, *, split: int, clips: Path) -> tuple[pd.DataFrame, Findings]:
    """Read one of UCF101's splits.

    Args:
        annotations: folder of ``classInd.txt``, ``trainlist0<split>.txt`` and ``testlist0<split>.txt``.
        split: 1, 2 or 3.
        clips: folder where the clips lie, as ``<Class>/<file>``.

    Returns:
        The clip table (`label` as in ``classInd.txt``, from 1; `group` ``<Class>_gNN``), and what is wrong with the
        files.

    Raises:
        DataError: another split, or files are missing or unreadable.
    """
    if split not in COUNTS:
        raise DataError(f"UCF101 has splits 1, 2 and 3, not {split}")
    train, test = f"trainlist0{split}.txt", f"testlist0{split}.txt"
    require_files(annotations, ["classInd.txt", train, test], SOURCE)
    findings = Findings()
    classes = _read_classes(annotations / "classInd.txt", findings)
    rows = [
        row
        for part, name in (("train", train), ("test", test))
        for row in _clip_rows(annotations / name, part, classes, clips, findings)
    ]
    _find_misnamed(rows, findings)
    table = check_clips(clip_rows(rows), {label: name for name, label in classes.items()}, findings)
    check_counts(table, COUNTS[split], f"ucf101 split {split}", findings)
    return table, findings


def _read_classes(path: Path, findings: Findings) -> dict[str, int]:
    labels: dict[str, int] = {}
    for number, line in read_rows(path, "<label> <Class>", findings, source=SOURCE):
        match = re.fullmatch(r"([0-9]{1,9}) +(\w+)", line)
        if match is None or match[2] in labels or int(match[1]) in labels.values():
            malformed(findings, f"{path.name}:{number}", "<label> <Class>", line)
        else:
            labels[match[2]] = int(match[1])
    return labels


def _clip_rows(
    path: Path, split: str, classes: dict[str, int], clips: Path, findings: Findings
) -> Iterator[dict[str, object]]:
    form = TRAIN_FORM if split == "train" else TEST_FORM
    for number, line in read_rows(path, form, findings, source=SOURCE):
        where = f"{path.name}:{number}"
        match = ROW.fullmatch(line)
        if match is None or (match["label"] is None) != (split == "test"):
            malformed(findings, where, form, line)
            continue
        label = classes.get(match["class"], -1)
        if match["label"] is not None and int(match["label"]) != label:
            message = f"expected label {label}, that of {match['class']} in classInd.txt, got {match['label']}"
            findings.add("conflicting label", where, message, fatal=True)
        yield {
            "clip_id": match["stem"],
            "path": str(clips / match["class"] / f"{match['stem']}.avi"),
            "label": label,
            "label_name": match["class"],
            "group": f"{match['class']}_{match['group']}",
            "split": split,
            "where": where,
        }


def _find_misnamed(rows: list[dict[str, object]], findings: Findings) -> None:
    """Folders whose files are named after another class: names alone do not tell the class."""
    named = Counter((str(row["label_name"]), re.sub(r"_g\d\d_c\d\d$", "", str(row["clip_id"]))) for row in rows)
    for (folder, name), count in sorted(named.items()):
        if name != f"v_{folder}":
            findings.add("files named otherwise", folder, f"{count} files of this class are named {name}_*.avi")
