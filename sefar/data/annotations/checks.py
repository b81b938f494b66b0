"""Faults that show in a clip table, whatever data set it comes from.

Functions take a table, with the column ``where`` (each row's file and line) if there is one, and let `Findings` grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import pandas as pd

from sefar.data.annotations.table import CLIP_COLUMNS
from sefar.data.findings import Findings
from sefar.data.leaks import Window, find_leaks, windows


def check_clips(table: pd.DataFrame, classes: Mapping[int, str], findings: Findings) -> pd.DataFrame:
    """Run every check of this module.

    Args:
        table: clip table as the files have it.
        classes: name of each label there should be.
        findings: grows.

    Returns:
        The table with each clip of a split once, and the columns of `CLIP_COLUMNS` alone.
    """
    table = drop_repeats(table, findings)
    find_shared_clips(table, findings)
    find_shared_sources(table, findings)
    find_labels_out_of_range(table, classes, findings)
    find_uncovered_classes(table, classes, findings)
    return table[list(CLIP_COLUMNS)]


def drop_repeats(table: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """Keep each clip of a split once; a clip that comes again with another label is fatal, and so are two of one id."""
    first: dict[tuple[str, Window], tuple[str, int]] = {}
    named: dict[str, tuple[str, Window]] = {}
    kept = []
    for row, split, clip_id, label, where, window in _rows(table):
        key = (split, window)
        there, other = named.setdefault(clip_id, (where, window))
        if other != window:
            message = f"'{clip_id}' is the name of another clip in {there}; mend one of the two"
            findings.add("two clips of one name", where, message, fatal=True)
        if key not in first:
            first[key] = (where, label)
            kept.append(row)
        elif first[key][1] == label:
            findings.add("duplicate", where, f"'{clip_id}' is in {first[key][0]} already; counted once")
        else:
            there, expected = first[key]
            message = f"expected label {expected} of '{clip_id}' as in {there}, got {label}; mend one of the two"
            findings.add("conflicting label", where, message, fatal=True)
    return table.iloc[kept].reset_index(drop=True)


def _rows(table: pd.DataFrame) -> zip:
    where, labels = table.get("where", table.clip_id), table.label.tolist()
    return zip(range(len(table)), table.split, table.clip_id, labels, where, windows(table), strict=True)


def find_shared_clips(table: pd.DataFrame, findings: Findings) -> None:
    """Training clips, labelled or not, that share a frame with a test clip: fatal."""
    tested = table[table.split == "test"]
    for part in ("train", "unlabelled"):
        clips = table[table.split == part]
        where = dict(zip(clips.clip_id, clips.get("where", clips.clip_id), strict=True))
        for clip_id, other in find_leaks(clips, tested):
            again = f"as '{other}'" if other != clip_id else "too"
            message = f"'{clip_id}' is in test {again}, wholly or in part; take it out of one of the two"
            findings.add(f"in {part} and test", where[clip_id], message, fatal=True)


def find_shared_sources(table: pd.DataFrame, findings: Findings) -> None:
    """Source videos or performers of which some clips are for training and some for testing: scores flatter."""
    tested = table[table.split == "test"].group.value_counts()
    trained = table[table.split != "test"].group.value_counts()
    for group in sorted(set(tested.index) & set(trained.index)):
        message = f"{trained[group]} clips for training and {tested[group]} for testing come from this one source"
        findings.add("source in train and test", group, message)


def find_labels_out_of_range(table: pd.DataFrame, classes: Mapping[int, str], findings: Findings) -> None:
    """Labels that are no class: fatal. Unlabelled clips may have −1."""
    fine = table.label.isin(list(classes)) | ((table.split == "unlabelled") & (table.label == -1))
    faulty = table[~fine]
    for where, clip_id, label in zip(faulty.get("where", faulty.clip_id), faulty.clip_id, faulty.label, strict=True):
        expected = f"one of the {len(classes)} labels {min(classes)} … {max(classes)}" if classes else "a label"
        message = f"expected {expected} for '{clip_id}', got {label}; mend the row"
        findings.add("label out of range", where, message, fatal=True)


def find_uncovered_classes(table: pd.DataFrame, classes: Mapping[int, str], findings: Findings) -> None:
    """Classes without a clip in train, or without one in test."""
    for split, kind, effect in (
        ("train", "class without labelled clip", "it cannot be learnt"),
        ("test", "class without test clip", "its accuracy stays unknown"),
    ):
        counts = table[table.split != split].label.value_counts()
        for label in sorted(set(classes) - set(table[table.split == split].label)):
            message = f"class {label} has no clip in {split} ({counts.get(label, 0)} elsewhere): {effect}"
            findings.add(kind, classes[label], message)


def check_counts(table: pd.DataFrame, expected: tuple[int, int], name: str, findings: Findings) -> None:
    """Compare the number of (train, test) clips with the published ones: a list cut off half way shows."""
    for split, count in zip(("train", "test"), expected, strict=True):
        if (found := int((table.split == split).sum())) != count:
            message = f"expected {count:,} clips, got {found:,}: is the list whole, and of this version?"
            findings.add("count differs", f"{name} {split}", message)


def find_crossed_splits(first: pd.DataFrame, second: pd.DataFrame, findings: Findings) -> None:
    """Clips in train of one data set and in test of the other: the two must not be mixed, nor one start the other.

    Gym99 and Gym288 cross so, by 99 clips each way.
    """
    for one, other, kind in (
        (first, second, "in train of the first and test of the second"),
        (second, first, "in test of the first and train of the second"),
    ):
        for clip_id, tested in find_leaks(one[one.split == "train"], other[other.split == "test"]):
            findings.add(kind, clip_id, f"shares frames with test clip '{tested}'; do not mix the two")


def find_label_offset(table: pd.DataFrame, reference: pd.DataFrame, findings: Findings) -> int | None:
    """Compare labels of the same clips, known by their file names, in a table and its data set's own.

    Returns:
        The offset that leads from each label of `table` to the reference's, or None when no single one does (each
        clip that departs from the commonest offset is a finding) or no clip is in both.
    """
    own = dict(zip(map(_stem, reference.path), reference.label, strict=True))
    names = table.path.map(_stem)
    offsets = (names.map(own) - table.label).dropna().astype("int64")
    if offsets.empty:
        return None
    offset = int(offsets.mode().iloc[0])
    if offset:
        findings.add("label offset", f"{len(offsets)} clips", f"labels are the data set's own minus {offset}")
    for row in offsets.index[offsets != offset]:
        message = f"expected label {own[names[row]] - offset}, got {table.label[row]}; see which is right"
        findings.add("label differs from the data set's", table.clip_id[row], message)
    return offset if (offsets == offset).all() else None


def _stem(path: str) -> str:
    return PurePath(path).stem
