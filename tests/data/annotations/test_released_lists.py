"""Every fault that is known of the lists released with the paper is found by reading them."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest

from sefar.data.annotations import read_finegym, read_hmdb51, read_lists, read_ucf101
from sefar.data.annotations.checks import find_label_offset
from sefar.data.findings import Findings

CLIPS = {  # train, unlabelled, test
    "finegym-new/list_finegym_new_10": (651, 5857, 1998),
    "finegym/FX_S1_10": (189, 1703, 777),
    "finegym/UB_10": (959, 8635, 2814),
    "finegym/VT_10": (108, 972, 446),
    "finegym/all288_10": (2933, 26401, 9646),
    "finegym/all99_10": (2632, 23688, 8521),
    "finegym/all99_5": (1316, 25004, 8521),
    "list_hmdb_40": (2094, 3142, 1530),
    "list_ucf_10": (1010, 8527, 3783),
    "list_ucf_5": (477, 9060, 3783),
}
KINDS = {
    "finegym-new/list_finegym_new_10": {"missing final newline": 1, "class without labelled clip": 9},
    "finegym/all288_10": {"line ends": 3, "class without labelled clip": 74},
    "list_hmdb_40": {"line ends": 3, "label differs from its folder": 132},
    "list_ucf_5": {"line ends": 3, "separator": 2, "list name": 1, "class without labelled clip": 1},
}


@functools.cache
def read(released_lists: Path, name: str) -> tuple[pd.DataFrame, Findings]:
    return read_lists(released_lists / name, Path("/data"))


@functools.cache
def read_gym(annotations: Path, subset: str) -> pd.DataFrame:
    return read_finegym(annotations / "finegym", subset=subset, clips=Path("/clips"))[0]


def stems(paths: pd.Series) -> set[str]:
    return {Path(path).stem for path in paths}


@pytest.mark.parametrize("name", CLIPS)
def test_counts_and_kinds_of_faults(released_lists: Path, name: str) -> None:
    table, findings = read(released_lists, name)
    assert tuple((table.split == split).sum() for split in ("train", "unlabelled", "test")) == CLIPS[name]
    expected = KINDS.get(name, {"line ends": 3})
    assert {kind: len(findings.of_kind(kind)) for kind in {f.kind for f in findings}} == expected
    assert not findings.fatal


def test_commas_a_cut_name_and_a_missing_class_of_ucf_5(released_lists: Path) -> None:
    _, findings = read(released_lists, "list_ucf_5")
    assert [f.where for f in findings.of_kind("separator")] == ["train.csv", "unlabe.csv"]
    (name,) = findings.of_kind("list name")
    assert str(name) == "unlabe.csv: expected unlabel.csv; read as the unlabelled list all the same"
    (lacking,) = findings.of_kind("class without labelled clip")
    assert str(lacking) == "49: class 49 has no clip in train (123 elsewhere): it cannot be learnt"


def test_some_lists_end_lines_with_crlf_and_some_with_lf(released_lists: Path) -> None:
    ends = {
        name: read(released_lists, name)[1].of_kind("line ends")
        for name in ("list_ucf_10", "finegym-new/list_finegym_new_10")
    }
    assert {f.message.split(",")[0] for f in ends["list_ucf_10"]} == {"lines end in CRLF"}
    assert ends["finegym-new/list_finegym_new_10"] == []


def test_labelled_classes_of_all288_and_of_finegym_new(released_lists: Path) -> None:
    for name, labelled, classes in (("finegym/all288_10", 214, 288), ("finegym-new/list_finegym_new_10", 31, 40)):
        table, _ = read(released_lists, name)
        assert table[table.split == "train"].label.nunique() == labelled
        assert table.label.nunique() == classes


def test_54_training_rows_of_hmdb_40_carry_swapped_labels(released_lists: Path) -> None:
    _, findings = read(released_lists, "list_hmdb_40")
    swapped = findings.of_kind("label differs from its folder")
    assert sum(f.where.startswith("train.csv:") for f in swapped) == 54
    assert sum(f.where.startswith("unlabel.csv:") for f in swapped) == 78
    folders = {f.message.split("folder ")[1].split(",")[0] for f in swapped}
    assert folders == {"climb", "climb_stairs", "kick", "kick_ball", "sword", "sword_exercise"}


@pytest.mark.parametrize(
    ("name", "event", "set_name", "offset"),
    [
        ("VT_10", "VT", "vault", 0),
        ("FX_S1_10", "FX", "FX_leap_jump_hop", 6),
        ("UB_10", "UB", "", 74),
        ("all99_5", "", "", 0),
        ("all99_10", "", "", 0),
    ],
)
def test_labels_are_those_of_gym99_minus_an_offset(
    released_lists: Path, real_annotations: Path, name: str, event: str, set_name: str, offset: int
) -> None:
    gym99 = read_gym(real_annotations, "gym99")
    table, _ = read(released_lists, f"finegym/{name}")
    findings = Findings()
    assert find_label_offset(table, gym99, findings) == offset
    expected = [f"{len(table)} clips: labels are the data set's own minus {offset}"] if offset else []
    assert [str(f) for f in findings] == expected
    wanted = gym99[(gym99.event == event) | (event == "")]
    wanted = wanted[(wanted["set"] == set_name) | (set_name == "")]
    assert stems(table.path) == set(wanted.clip_id)
    assert stems(table[table.split == "test"].path) == set(wanted[wanted.split == "test"].clip_id)  # val equals test
    assert {label + offset for label in table.label} == set(wanted.label)


def test_all288_is_gym288_with_its_val_list_as_test(released_lists: Path, real_annotations: Path) -> None:
    gym288 = read_gym(real_annotations, "gym288")
    table, _ = read(released_lists, "finegym/all288_10")
    assert find_label_offset(table, gym288, Findings()) == 0
    assert stems(table[table.split == "test"].path) == set(gym288[gym288.split == "test"].clip_id)


def test_hmdb_40_uses_every_clip_outside_the_test_set(released_lists: Path, real_annotations: Path) -> None:
    official, findings = read_hmdb51(real_annotations / "hmdb51", split=1, clips=Path("/hmdb"))
    table, _ = read(released_lists, "list_hmdb_40")
    tested = table.split == "test"
    assert stems(table[tested].path) == set(official[official.split == "test"].clip_id)
    assert stems(table[~tested].path) > set(official[official.split == "train"].clip_id)
    assert (~tested).sum() == 3_570 + 1_666
    assert findings.of_kind("unused clip")[0].message.startswith("1,666 clips have flag 0")
    assert find_label_offset(table, official, Findings()) == 0  # the swapped labels are all of clips with flag 0


@pytest.mark.parametrize("name", ["list_ucf_5", "list_ucf_10"])
def test_ucf_lists_are_split_1_with_labels_from_0(released_lists: Path, real_annotations: Path, name: str) -> None:
    official, _ = read_ucf101(real_annotations / "ucf101", split=1, clips=Path("/ucf"))
    table, _ = read(released_lists, name)
    assert find_label_offset(table, official, Findings()) == 1
    assert stems(table[table.split == "test"].path) == set(official[official.split == "test"].clip_id)
    assert stems(table[table.split != "test"].path) == set(official[official.split == "train"].clip_id)


def test_a_prefix_leads_to_the_clips_and_ids_stay(released_lists: Path) -> None:
    table, findings = read_lists(
        released_lists / "list_ucf_5", Path("/nowhere"), path_prefix=("/data/UCF-101", "/ssd/ucf")
    )
    assert table.path.str.startswith("/ssd/ucf/").all()
    assert table.clip_id.str.startswith("/data/UCF-101/").all()
    assert findings.of_kind("path prefix") == []
