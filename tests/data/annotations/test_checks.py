from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sefar.data.annotations.checks import check_clips, check_counts, find_crossed_splits, find_label_offset
from sefar.data.annotations.table import CLIP_COLUMNS, clip_rows
from sefar.data.findings import Findings

Row = tuple[str, int, str]


def table(*rows: Row) -> pd.DataFrame:
    return clip_rows(
        {
            "clip_id": Path(p).stem,
            "path": p,
            "label": label,
            "label_name": "",
            "group": p,
            "split": split,
            "where": f"l:{n}",
        }
        for n, (p, label, split) in enumerate(rows, 1)
    )


FINE: tuple[Row, ...] = (
    ("/v/a.mp4", 0, "train"),
    ("/v/b.mp4", 1, "train"),
    ("/v/t.mp4", 0, "test"),
    ("/v/u.mp4", 1, "test"),
)


@pytest.mark.parametrize(
    ("row", "kind", "fatal", "message"),
    [
        (("/v/x/../a.mp4", 0, "train"), "duplicate", False, "'a' is in l:1 already; counted once"),
        (("/v/a.mp4", 1, "train"), "conflicting label", True, "expected label 0 of 'a' as in l:1, got 1; mend"),
        (("/v/t.mp4", -1, "unlabelled"), "in unlabelled and test", True, "'t' is in test too, wholly or in part"),
        (("/v/c.mp4", 7, "train"), "label out of range", True, "expected one of the 2 labels 0 … 1 for 'c', got 7"),
        (("/v/c.mp4", -1, "test"), "label out of range", True, "expected one of the 2 labels 0 … 1 for 'c', got -1"),
    ],
)
def test_one_faulty_row_among_fine_ones(row: Row, kind: str, fatal: bool, message: str) -> None:
    findings = Findings()
    checked = check_clips(table(*FINE, row), {0: "swing", 1: "kip"}, findings)
    assert tuple(checked.columns) == CLIP_COLUMNS
    (found,) = (f for f in findings if f.kind != "source in train and test")
    assert (found.kind, found.where, found.fatal) == (kind, "l:5", fatal)
    assert found.message.startswith(message)


def test_two_clips_of_one_name_are_fatal() -> None:
    findings = Findings()
    check_clips(table(*FINE, ("/w/t.mp4", 1, "train")), {0: "swing", 1: "kip"}, findings)
    (found,) = findings.fatal
    assert str(found) == "l:5: 't' is the name of another clip in l:3; mend one of the two"


def test_nothing_is_found_in_a_fine_table_and_unknown_labels_may_be_unlabelled() -> None:
    findings = Findings()
    checked = check_clips(table(*FINE, ("/v/c.mp4", -1, "unlabelled")), {0: "swing", 1: "kip"}, findings)
    assert len(checked) == 5
    assert list(findings) == []


def test_classes_without_train_or_test_clips_are_named() -> None:
    findings = Findings()
    check_clips(table(*FINE[:3]), {0: "swing", 1: "kip", 2: "salto"}, findings)
    assert [(f.kind, f.where) for f in findings] == [
        ("class without labelled clip", "salto"),
        ("class without test clip", "kip"),
        ("class without test clip", "salto"),
    ]
    assert findings.of_kind("class without test clip")[0].message.startswith(
        "class 1 has no clip in test (1 elsewhere)"
    )


def test_counts_are_held_against_the_published_ones() -> None:
    findings = Findings()
    check_counts(table(*FINE), (2, 3), "gym", findings)
    assert [str(f) for f in findings] == ["gym test: expected 3 clips, got 2: is the list whole, and of this version?"]


def test_clips_that_cross_between_two_data_sets() -> None:
    findings = Findings()
    other = table(("/v/a.mp4", 9, "test"), ("/v/t.mp4", 9, "test"), ("/v/u.mp4", 3, "train"))
    find_crossed_splits(table(*FINE), other, findings)
    assert [(f.kind, f.where) for f in findings] == [
        ("in train of the first and test of the second", "a"),
        ("in test of the first and train of the second", "u"),
    ]


def test_labels_that_are_the_reference_minus_an_offset() -> None:
    reference = table(("/o/a.avi", 74, "train"), ("/o/b.avi", 75, "train"), ("/o/t.avi", 76, "test"))
    findings = Findings()
    assert find_label_offset(table(("/v/a.mp4", 0, "train"), ("/v/b.mp4", 1, "test")), reference, findings) == 74
    assert [str(f) for f in findings] == ["2 clips: labels are the data set's own minus 74"]
    same, stranger, torn = Findings(), Findings(), Findings()
    assert find_label_offset(reference, reference, same) == 0
    assert find_label_offset(table(("/v/z.mp4", 0, "train")), reference, stranger) is None
    rows = (("/v/a.mp4", 73, "train"), ("/v/b.mp4", 74, "train"), ("/v/t.mp4", 3, "test"))
    assert find_label_offset(table(*rows), reference, torn) is None
    assert (len(same), len(stranger)) == (0, 0)
    assert (
        str(torn.of_kind("label differs from the data set's")[0]) == "t: expected label 75, got 3; see which is right"
    )
