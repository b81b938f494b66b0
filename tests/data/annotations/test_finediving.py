from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sefar.data.annotations import read_finediving
from sefar.data.annotations.finediving_dives import Dive, read_dives
from sefar.data.findings import Findings
from sefar.errors import DataError

HIGH, LOW = "FINADivingWorldCup2021_Women10m_final_r1", "FINADivingWorldCup2021_Men3m_final_r1"
SYNCHRONISED = "FullMenSynchronised10mPlatform_Tokyo2020Replays_2"
STEPS = {
    (HIGH, 0): ("5253b", [1, 1, 9, 9, 14, 36]),
    (HIGH, 1): ("5253b", [1, 14, 14, 9, 36]),
    (LOW, 0): ("5253B", [1, 9, 14, 36]),
    (SYNCHRONISED, 3): ("407c", [4, 4, 25, 25, 36]),
    (LOW, 2): ("407c", [4, 25, 36]),
}
TRAIN, TEST = [(HIGH, 0), (HIGH, 1), (SYNCHRONISED, 3)], [(LOW, 0), (LOW, 2)]


def write(folder: Path, steps: dict[Any, Any] = STEPS, train: object = TRAIN, test: object = TEST) -> Path:
    coarse = {
        key: {"action_type": code, "start_frame": 100, "end_frame": 100 + len(frames), "dive_score": 80.0}
        for key, (code, frames) in steps.items()
    }
    fine = {
        key: [code, 80.0, 3.2, np.flatnonzero(np.diff(frames)), np.array(frames)]
        for key, (code, frames) in steps.items()
    }
    for name, content in (
        ("FineDiving_coarse_annotation", coarse),
        ("FineDiving_fine-grained_annotation", fine),
        ("train_split", train),
        ("test_split", test),
    ):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content))
    return folder


def read(folder: Path, subset: str = "all", **content: Any) -> tuple[pd.DataFrame, Findings]:
    return read_finediving(write(folder, **content), subset=subset, clips=Path("/clips"))


def test_rows_of_all_dives(tmp_path: Path) -> None:
    table, findings = read(tmp_path)
    assert table[["clip_id", "label", "label_name", "event", "set", "group", "split"]].values.tolist() == [
        [f"{HIGH}_0", 1, "5253B", "10m", "5253B", HIGH, "train"],
        [f"{HIGH}_1", 1, "5253B", "10m", "5253B", HIGH, "train"],
        [f"{SYNCHRONISED}_3", 0, "407C", "10m", "407C", SYNCHRONISED, "train"],
        [f"{LOW}_0", 1, "5253B", "3m", "5253B", LOW, "test"],
        [f"{LOW}_2", 0, "407C", "3m", "407C", LOW, "test"],
    ]
    assert table.path[0] == f"/clips/{HIGH}_0.mp4"
    assert [(f.kind, f.message[:29]) for f in findings] == [
        ("count differs", "expected 2,251 clips, got 3: "),
        ("count differs", "expected 749 clips, got 2: is"),
    ]


def test_classes_of_one_dive_code_are_its_sequences_of_steps(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "5253b")
    assert table.label_name.tolist() == ["1 > 9 > 14 > 36", "1 > 14 > 9 > 36", "1 > 9 > 14 > 36"]
    assert table.label.tolist() == [1, 0, 1]
    names = {1: "Back", 9: "1.5 Twists", 14: "2.5 Soms.Pike", 36: "Entry"}
    (tmp_path / "Sub_action_Types_Table.pkl").write_bytes(pickle.dumps(names))
    table, _ = read(tmp_path, "5253B")
    assert table.label_name[0] == "Back > 1.5 Twists > 2.5 Soms.Pike > Entry"
    (tmp_path / "Sub_action_Types_Table.pkl").write_bytes(pickle.dumps({"Back": 1}))
    table, findings = read(tmp_path, "5253B")
    assert table.label_name[0] == "1 > 9 > 14 > 36"
    assert [str(f) for f in findings.of_kind("malformed row")] == [
        "Sub_action_Types_Table.pkl: expected {number: name}; steps go by their numbers"
    ]
    with pytest.raises(DataError, match="finediving has no '5254B' — did you mean '5253B'"):
        read(tmp_path, "5254B")


def test_ten_metre_dives_by_the_video_names(tmp_path: Path) -> None:
    table, findings = read(tmp_path, "10m")
    assert table.clip_id.tolist() == [f"{HIGH}_0", f"{HIGH}_1", f"{SYNCHRONISED}_3"]
    assert {f.kind for f in findings} == {"class without test clip"}


def test_ten_metre_dives_of_numbered_videos_need_a_list(tmp_path: Path) -> None:
    more = {**STEPS, ("01", 1): ("407c", [4, 36]), ("02", 1): ("407c", [4, 36]), ("02", 2): ("407c", [4, 36])}
    content = {"steps": more, "test": [*TEST, ("01", 1), ("02", 1), ("02", 2)]}
    with pytest.raises(DataError, match=r"names of 2 videos do not tell the height \(01, 02, …\); expected 10m\.txt"):
        read(tmp_path, "10m", **content)
    (tmp_path / "10m.txt").write_text(f"01\n02 2\n{LOW} 0\n03\n")
    table, findings = read(tmp_path, "10m", **content)
    assert table.clip_id.tolist()[3:] == ["01_1", "02_2"]
    assert [(f.kind, f.where) for f in findings.fatal] == [
        ("conflicting height", "10m.txt:3"),
        ("malformed row", "10m.txt:4"),
    ]


@pytest.mark.parametrize(
    ("content", "kind", "where"),
    [
        ({"steps": {**STEPS, ("../x", 1): ("407c", [4])}}, "malformed row", "('../x', 1)"),
        ({"steps": {**STEPS, ("01", 1): ("", [4])}}, "malformed row", "('01', 1)"),
        ({"steps": {**STEPS, ("01", 1): ("407c", [])}}, "malformed row", "('01', 1)"),
        ({"train": [*TRAIN, ("01", 1)]}, "clip without annotation", "entry 3"),
        ({"train": [*TRAIN, "01"]}, "malformed row", "entry 3"),
        ({"train": [*TRAIN, (LOW, 2)]}, "in train and test", "entry 3"),
        ({"train": [*TRAIN, (HIGH, 0)]}, "duplicate", "entry 3"),
        ({"test": [(LOW, 0)]}, "clip in no split", f"{LOW}_2"),
    ],
)
def test_faulty_entries_are_found(tmp_path: Path, content: dict[str, Any], kind: str, where: str) -> None:
    table, findings = read(tmp_path, **content)
    assert table.clip_id.tolist()[:3] == [f"{HIGH}_0", f"{HIGH}_1", f"{SYNCHRONISED}_3"]
    (found,) = findings.of_kind(kind)
    assert found.where.endswith(where)
    assert found.fatal == (kind not in ("duplicate", "clip in no split"))


@pytest.mark.parametrize(
    "content",
    [
        {"train": [*TRAIN, (10**5000, 1)]},
        {"train": [*TRAIN, ("01", 10**5000)]},
        {"steps": {**STEPS, ("01", 10**5000): ("407c", [4])}},
        {"steps": {**STEPS, ("01", 1): (10**5000, [4])}},
    ],
)
def test_numbers_too_long_to_write_are_findings(tmp_path: Path, content: dict[str, Any]) -> None:
    table, findings = read(tmp_path, **content)
    assert len(table) == 5
    assert [f.kind for f in findings.fatal] == ["malformed row"]


def test_lists_nested_too_deep_to_write_are_findings(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train_split.pkl").write_bytes(b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b".")
    _, findings = read_finediving(tmp_path, subset="all", clips=Path("/clips"))
    assert [str(f) for f in findings.fatal] == [
        "train_split.pkl: entry 0: expected (video id, clip number), got <list>"
    ]


def test_dives_keep_their_window_in_the_source_video(tmp_path: Path) -> None:
    dives = read_dives(write(tmp_path), Findings())
    assert dives[SYNCHRONISED, 3] == Dive(SYNCHRONISED, 3, "407C", 100, 105, (4, 25, 36))


def test_two_action_types_of_one_dive_are_a_finding(tmp_path: Path) -> None:
    path = write(tmp_path) / "FineDiving_coarse_annotation.pkl"
    coarse = pickle.loads(path.read_bytes())
    coarse[LOW, 2]["action_type"] = "107b"
    path.write_bytes(pickle.dumps(coarse))
    findings = Findings()
    assert read_dives(tmp_path, findings)[LOW, 2].action_type == "407C"
    assert [f.message for f in findings] == [
        "expected 407C as in FineDiving_fine-grained_annotation.pkl, got 107b; the former counts"
    ]


def test_missing_and_foreign_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no FineDiving_coarse_annotation\.pkl, .*test_split\.pkl; expected .* from Fine"
    ):
        read_finediving(tmp_path, subset="all", clips=tmp_path)
    with pytest.raises(DataError, match=r"train_split\.pkl: expected a list of \(video id, clip number\), got a dict"):
        read(tmp_path, train={})
    (tmp_path / "FineDiving_coarse_annotation.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="expected a dict from FineDiving's Annotations folder, got a list"):
        read_dives(tmp_path, Findings())
