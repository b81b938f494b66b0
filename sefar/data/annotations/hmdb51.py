"""HMDB51 (Kuehne et al., ICCV 2011): 51 actions from films and the web, three splits of 70 + 30 clips a class."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sefar.data.annotations.checks import check_clips, check_counts
from sefar.data.annotations.table import clip_rows
from sefar.data.annotations.text import malformed, read_rows
from sefar.data.findings import Findings
from sefar.errors import DataError

NUM_CLASSES = 51
COUNTS = (3570, 1530)  # of each split
SOURCE = "from HMDB51's test_train_splits"
FORM = "<source>_<class>_<tags>_N.avi <0|1|2>"
TAIL = r"[fhlu]_(?:cm|nm)_np[0-9]+_(?:ba|fr|le|ri)_(?:bad|med|goo)_[0-9]+"  # body, camera, people, view, quality
PLAIN = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)  # characters that shells leave alone


def read_hmdb51(annotations: Path, *, split: int, clips: Path) -> tuple[pd.DataFrame, Findings]:
    """Read one of HMDB51's splits.

    HMDB51 numbers no classes: `label` is a class's place in sorted order, from 0. Clips flagged 0 belong to neither
    part and are left out.

    Args:
        annotations: folder of the 51 files ``<class>_test_split<split>.txt``.
        split: 1, 2 or 3.
        clips: folder where the clips lie, as ``<class>/<file>``.

    Returns:
        The clip table (`group` the source's part of the file name), and what is wrong with the files.

    Raises:
        DataError: another split, or files are missing or unreadable.
    """
    if split not in (1, 2, 3):
        raise DataError(f"HMDB51 has splits 1, 2 and 3, not {split}")
    ending = f"_test_split{split}.txt"
    files = {path.name.removesuffix(ending): path for path in sorted(annotations.glob(f"*{ending}"))}
    if not files:
        raise DataError(f"{annotations}: no *{ending}; expected {NUM_CLASSES} files <class>{ending} {SOURCE}")
    findings = Findings()
    names = sorted(files)
    _check_classes(annotations, names, ending, findings)
    rows = [row for label, name in enumerate(names) for row in _clip_rows(files[name], name, label, clips, findings)]
    if unused := sum(row["split"] == "" for row in rows):
        findings.add("unused clip", f"split {split}", f"{unused:,} clips have flag 0: neither train nor test")
    table = check_clips(clip_rows(row for row in rows if row["split"]), dict(enumerate(names)), findings)
    check_counts(table, COUNTS, f"hmdb51 split {split}", findings)
    return table, findings


def _check_classes(annotations: Path, names: list[str], ending: str, findings: Findings) -> None:
    """Compare the files with ``class_list.txt``, which toolboxes add, and with the number of classes."""
    listed: list[str] = []
    if (annotations / "class_list.txt").is_file():
        listed = [line for _, line in read_rows(annotations / "class_list.txt", "<class>", findings)]
    for name in sorted(set(listed) - set(names)):
        findings.add("missing class", name, f"class_list.txt has it, expected {name}{ending} {SOURCE}", fatal=True)
    if len(names) != NUM_CLASSES and not set(listed) - set(names):
        message = f"expected {NUM_CLASSES} files {SOURCE}, got {len(names)}"
        findings.add("missing class", f"*{ending}", message, fatal=True)
    if moved := [name for name, there in zip(sorted(listed), listed, strict=True) if name != there]:
        message = f"not in sorted order ({', '.join(moved)}); labels follow the sorted names"
        findings.add("class order", "class_list.txt", message)


def _clip_rows(path: Path, name: str, label: int, clips: Path, findings: Findings) -> Iterator[dict[str, object]]:
    row_form = re.compile(rf"(?P<stem>(?P<source>[^/\\\0]+)_{re.escape(name)}_{TAIL})\.avi +(?P<flag>[012])")
    odd = []
    for number, line in read_rows(path, FORM, findings, source=SOURCE):
        match = row_form.fullmatch(line)
        if match is None:
            malformed(findings, f"{path.name}:{number}", FORM, line)
            continue
        if not PLAIN.fullmatch(match["stem"]):
            odd.append((number, match["stem"]))
        yield {
            "clip_id": match["stem"],
            "path": str(clips / name / f"{match['stem']}.avi"),
            "label": label,
            "label_name": name,
            "group": match["source"],
            "split": {"0": "", "1": "train", "2": "test"}[match["flag"]],
            "where": f"{path.name}:{number}",
        }
    if odd:
        message = f"{len(odd)} names hold characters that shells read otherwise, first '{odd[0][1]}.avi': quote them"
        findings.add("odd characters", f"{path.name}:{odd[0][0]}", message)
