from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sefar.data.annotations import read_ucf101
from sefar.data.findings import Findings
from sefar.errors import DataError

TRAIN = "Archery/v_Archery_g08_c01.avi 1\r\nYoYo/v_YoYo_g09_c02.avi 2\r\n"


def read(folder: Path, train: str = TRAIN, test: str = "YoYo/v_YoYo_g01_c01.avi\r\n") -> tuple[pd.DataFrame, Findings]:
    for name, text in (("classInd", "1 Archery\r\n2 YoYo\r\n"), ("trainlist01", train), ("testlist01", test)):
        (folder / f"{name}.txt").write_bytes(text.encode())
    return read_ucf101(folder, split=1, clips=Path("/ucf"))


def test_rows_of_the_clip_table(tmp_path: Path) -> None:
    table, findings = read(tmp_path)
    assert table[["clip_id", "path", "label", "label_name", "group", "split"]].values.tolist() == [
        ["v_Archery_g08_c01", "/ucf/Archery/v_Archery_g08_c01.avi", 1, "Archery", "Archery_g08", "train"],
        ["v_YoYo_g09_c02", "/ucf/YoYo/v_YoYo_g09_c02.avi", 2, "YoYo", "YoYo_g09", "train"],
        ["v_YoYo_g01_c01", "/ucf/YoYo/v_YoYo_g01_c01.avi", 2, "YoYo", "YoYo_g01", "test"],
    ]
    assert len(findings.of_kind("line ends")) == 3
    assert not findings.fatal


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("Archery/v_Archery_g08_c02.avi", "malformed row"),
        ("../v_Archery_g08_c02.avi 1", "malformed row"),
        ("Archery/../v_Archery_g08_c02.avi 1", "malformed row"),
        ("Archery/clip.avi 1", "malformed row"),
        ("Archery/v_Archery_g08_c02.avi 2", "conflicting label"),
        ("Rowing/v_Rowing_g08_c02.avi 3", "label out of range"),
        ("YoYo/v_YoYo_g01_c01.avi 2", "in train and test"),
    ],
)
def test_faulty_rows_are_fatal_and_named(tmp_path: Path, row: str, kind: str) -> None:
    table, findings = read(tmp_path, train=f"{TRAIN}{row}\n")
    assert table.clip_id.tolist()[:2] == ["v_Archery_g08_c01", "v_YoYo_g09_c02"]
    assert [f.where for f in findings.of_kind(kind)] == ["trainlist01.txt:3"]
    assert {f.where for f in findings.fatal} == {"trainlist01.txt:3"}


def test_missing_files_and_other_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no classInd\.txt, trainlist01\.txt, testlist01\.txt; .* from UCF101's"):
        read_ucf101(tmp_path, split=1, clips=tmp_path)
    with pytest.raises(DataError, match="splits 1, 2 and 3, not 4"):
        read_ucf101(tmp_path, split=4, clips=tmp_path)


@pytest.mark.parametrize(("split", "train", "test"), [(1, 9_537, 3_783), (2, 9_586, 3_734), (3, 9_624, 3_696)])
def test_official_counts_and_known_faults(real_annotations: Path, split: int, train: int, test: int) -> None:
    table, findings = read_ucf101(real_annotations / "ucf101", split=split, clips=Path("/ucf"))
    assert table.split.value_counts().to_dict() == {"train": train, "test": test}
    assert sorted(table.label.unique()) == list(range(1, 102))
    assert {f.kind for f in findings} == {"line ends", "files named otherwise"}  # groups are in one part alone
    (misnamed,) = findings.of_kind("files named otherwise")
    assert str(misnamed) == "HandstandPushups: 128 files of this class are named v_HandStandPushups_*.avi"
    row = table[table.clip_id == "v_HandStandPushups_g01_c01"].iloc[0]
    assert row.path == "/ucf/HandstandPushups/v_HandStandPushups_g01_c01.avi"
    assert (row.label_name, row.group) == ("HandstandPushups", "HandstandPushups_g01")
