"""Faults that only lists have, which come without a table of their classes."""

from __future__ import annotations

from itertools import islice
from pathlib import PurePosixPath

import pandas as pd

from sefar.data.annotations.checks import check_clips
from sefar.data.findings import Findings
from sefar.data.leaks import windows

GAPS_SHOWN = 10
FOLDER_SHARE = 2 / 3  # of a folder's clips must agree on a label for the others to look swapped


def check_lists(table: pd.DataFrame, names: dict[int, str], findings: Findings) -> pd.DataFrame:
    """Every check of a clip table, and those of this module; returns the table without repeated rows.

    The classes are the labels that occur.
    """
    seen = sorted(int(label) for label in table.label.unique() if label >= 0)
    classes = {label: names.get(label, str(label)) for label in seen}
    find_label_gaps(seen, names, findings)
    find_swapped_labels(table, findings)
    find_changed_labels(table, findings)
    return check_clips(table, classes, findings)


def find_label_gaps(labels: list[int], names: dict[int, str], findings: Findings) -> None:
    """Labels that no list has though higher ones occur, and labels that ``classes.txt`` does not name; sorted ones."""
    if gaps := labels[-1] + 1 - len(labels) if labels else 0:
        seen = set(labels)  # of a stray number for a label, the gaps are too many to write out
        first = islice((label for label in range(labels[-1]) if label not in seen), GAPS_SHOWN)
        listed = ", ".join(map(str, first)) + (", …" if gaps > GAPS_SHOWN else "")
        findings.add("label gap", f"labels 0 … {labels[-1]}", f"{gaps:,} do not occur in any list: {listed}")
    for label in sorted(set(labels) - set(names)) if names else []:
        findings.add("label without name", "classes.txt", f"expected a line '{label} <name>', got none; add it")


def find_swapped_labels(table: pd.DataFrame, findings: Findings) -> None:
    """Clips whose label is not the one of nearly all others in their folder, where folders are classes."""
    folders = pd.Series([str(PurePosixPath(clip_id).parent) for clip_id in table.clip_id], index=table.index)
    known = table.label >= 0
    labels = table.label[known].groupby(folders[known])
    usual = labels.agg(lambda column: column.value_counts().index[0])
    share = labels.agg(lambda column: column.value_counts().iloc[0] / len(column))
    if len(usual) < 2 or usual.duplicated().any() or (share < FOLDER_SHARE).any():
        return
    for where, folder, label in zip(table["where"], folders, table.label, strict=True):
        if label >= 0 and label != usual[folder]:
            name = PurePosixPath(folder).name
            message = f"expected label {usual[folder]} as most clips of folder {name}, got {label}; see which is right"
            findings.add("label differs from its folder", where, message)


def find_changed_labels(table: pd.DataFrame, findings: Findings) -> None:
    """Clips that are labelled in train and have another label as unlabelled clips."""
    trained = table[table.split == "train"]
    labels = dict(zip(windows(trained), zip(trained.label, trained["where"], strict=True), strict=True))
    others = table[(table.split == "unlabelled") & (table.label >= 0)]
    for window, clip_id, label, where in zip(
        windows(others), others.clip_id, others.label, others["where"], strict=True
    ):
        expected, there = labels.get(window, (label, ""))
        if expected != label:
            message = f"'{clip_id}' has label {label} here, {expected} in {there}; the one in train counts"
            findings.add("other label in train", where, message)
