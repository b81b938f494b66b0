"""FineGym's reader on made-up files with one fault each, and on the real ones."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sefar.data.annotations.checks import find_crossed_splits
from sefar.data.annotations.finegym import SET_IDS, read_classes, read_finegym, read_set_names
from sefar.data.annotations.finegym_elements import Element, parse_element, read_timestamps
from sefar.data.findings import Findings
from sefar.errors import DataError

CLASSES = (
    "Clabel:   0; set:  1; Glabel:   1; (VT) round-off, salto forward\n"
    "Clabel:   1; set: 33; Glabel: 290; (BB) salto backward tucked\n"
    "Clabel:   2; set: 35; Glabel: 359; (BB) salto  backward tucked   \n"
)
SETS = "set: 1; vault\nset: 33; BB_flight_salto\nset: 35; BB_dismounts\n"
A, B, C, D = (
    f"{video}_E_002407_002435_A_000{n}_0009" for n, video in enumerate(("-_aaaaaaaa_", "b" * 11, "c" * 11, "d" * 11))
)
TRAIN = f"{A} 0\n{B} 1\n{C} 2\n"


def folder_with(folder: Path, **changed: str) -> Path:
    files = {"categories": CLASSES, "train_element_v1.1": TRAIN, "val_element": f"{D} 0\n", **changed}
    for name, text in files.items():
        (folder / f"gym99_{name}.txt").write_text(text)
    (folder / "set_categories.txt").write_text(SETS)
    return folder


def read(folder: Path, **changed: str) -> tuple[pd.DataFrame, Findings]:
    return read_finegym(folder_with(folder, **changed), subset="gym99", clips=Path("/clips"))


@functools.cache
def real(annotations: Path, subset: str, version: str = "1.1") -> tuple[pd.DataFrame, Findings]:
    return read_finegym(annotations / "finegym", subset=subset, version=version, clips=Path("/clips"))


def kinds(findings: Findings) -> list[tuple[str, str]]:
    ordinary = ("count differs", "class without test clip", "trailing blank", "repeated class text")
    return [(f.kind, f.where) for f in findings if f.kind not in ordinary]


def test_rows_of_the_clip_table(tmp_path: Path) -> None:
    table, findings = read(tmp_path)
    assert kinds(findings) == []
    assert table.iloc[0].to_dict() == {
        "clip_id": A,
        "path": f"/clips/{A}.mp4",
        "label": 0,
        "label_name": "(VT) round-off, salto forward",
        "event": "VT",
        "set": "vault",
        "group": "-_aaaaaaaa_",
        "start_frame": 0,
        "end_frame": -1,
        "split": "train",
    }
    assert table.label_name.tolist()[1:3] == [
        "(BB) salto backward tucked [BB_flight_salto]",
        "(BB) salto backward tucked [BB_dismounts]",
    ]
    assert table.split.tolist() == ["train"] * 3 + ["test"]


@pytest.mark.parametrize(
    ("row", "kind", "fatal"),
    [
        ("no_element 1", "malformed row", True),
        (f"../{A[3:]} 1", "malformed row", True),
        (f"{D[:-1]}x 1", "malformed row", True),
        (f"{A}", "malformed row", True),
        (f"{A} one", "malformed row", True),
        (f"{A} 1 2", "malformed row", True),
        (f"{A} -1", "malformed row", True),
        (f"{A} 0", "duplicate", False),
        (f"{A} 1", "conflicting label", True),
        (f"{A[:-1]}8 3", "label out of range", True),
        (f"{D} 0", "in train and test", True),
        (f"{D[:-1]}8 0", "source in train and test", False),
    ],
)
def test_faulty_train_rows_are_found_and_the_others_read(tmp_path: Path, row: str, kind: str, fatal: bool) -> None:
    table, findings = read(tmp_path, **{"train_element_v1.1": TRAIN + row + "\n"})
    assert table.clip_id.tolist()[:3] == [A, B, C]
    where = "d" * 11 if kind == "source in train and test" else "gym99_train_element_v1.1.txt:4"
    found = [f for f in findings if f.kind == kind]
    assert [(f.where, f.fatal) for f in found] == [(where, fatal)]


def test_faulty_categories_are_found(tmp_path: Path) -> None:
    rows = ("Clabel: x; set: 1; Glabel: 2; (VT) a", "Clabel: 0; set: 1; Glabel: 2; (VT) b")
    mixed = "Clabel: 3; set: 21; Glabel: 2; (UB) c"
    _, findings = read(tmp_path, categories=CLASSES + "\n".join((*rows, mixed)))
    assert kinds(findings) == [
        ("missing final newline", "gym99_categories.txt"),
        ("malformed row", "gym99_categories.txt:4"),
        ("repeated class", "gym99_categories.txt:5"),
        ("event differs from set", "gym99_categories.txt:6"),
        ("class without labelled clip", "(UB) c"),
    ]


def test_missing_files_are_named_together_with_their_source(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (folder / "set_categories.txt").unlink()
    (folder / "gym99_val_element.txt").unlink()
    with pytest.raises(DataError, match=r"no gym99_val_element\.txt, set_categories\.txt; expected .* FineGym project"):
        read_finegym(folder, subset="gym99", clips=tmp_path)
    with pytest.raises(DataError, match=r"no gym98 v1\.1 — did you mean 'gym9"):
        read_finegym(folder, subset="gym98", clips=tmp_path)


ascii_id = st.text("abcXYZ019_-", min_size=11, max_size=11)
seconds = st.integers(0, 9999)


@given(ascii_id, seconds, seconds, seconds, seconds)
def test_element_ids_are_taken_apart(video: str, a: int, b: int, c: int, d: int) -> None:
    assert parse_element(f"{video}_E_{a:06}_{b:06}_A_{c:04}_{d:04}") == Element(video, (a, b), (c, d))


@given(st.text())
def test_any_text_is_an_element_or_none(text: str) -> None:
    assert parse_element(text) is None


@given(rows=st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=5))
def test_any_rows_are_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    folder = tmp_path_factory.mktemp("gym")
    table, findings = read(folder, **{"train_element_v1.1": TRAIN + "\n".join(rows)})
    assert table.clip_id.tolist() == [A, B, C, D]
    assert len(findings.of_kind("malformed row")) == sum(bool(row.strip()) for row in rows)


def test_timestamps_are_absolute_seconds_and_vault_spans_its_stages(tmp_path: Path) -> None:
    events = {
        "E_002407_002435": {
            "event": 4,
            "timestamps": [[2407.32, 2435.28]],
            "segments": {"A_0003_0005": {"stages": 1, "timestamps": [[3.45, 5.64]]}},
        },
        "E_000010_000020": {
            "event": 1,
            "timestamps": [[10.5, 19.5]],
            "segments": {"A_0000_0006": {"stages": 3, "timestamps": [[0.25, 1.0], [1.0, 2.5], [2.5, 6.0]]}},
        },
        "E_000030_000040": {"event": 2, "timestamps": [[30.0, 40.0]], "segments": None},
    }
    path = tmp_path / "times.json"
    path.write_text(json.dumps({"0LtLS9wROrk": events}))
    times, findings = read_timestamps(path)
    assert times["0LtLS9wROrk_E_002407_002435_A_0003_0005"] == pytest.approx((2410.77, 2412.96))
    assert times["0LtLS9wROrk_E_000010_000020_A_0000_0006"] == (10.75, 16.5)
    assert len(times) == 2
    assert len(findings) == 0


@pytest.mark.parametrize(
    ("event", "where"),
    [
        ({"timestamps": [], "segments": {}}, "times.json: 0LtLS9wROrk_E_000001_000002"),
        ({"timestamps": [[1, 2]], "segments": [1]}, "times.json: 0LtLS9wROrk_E_000001_000002"),
        (
            {"timestamps": [[1, 2]], "segments": {"A_0000_0001": 7}},
            "times.json: 0LtLS9wROrk_E_000001_000002_A_0000_0001",
        ),
        (
            {"timestamps": [[1, 2]], "segments": {"A_0000_0001": {"timestamps": [[3, 2]]}}},
            "times.json: 0LtLS9wROrk_E_000001_000002_A_0000_0001",
        ),
        (
            {"timestamps": [[1, 2]], "segments": {"../../x": {"timestamps": [[0, 2]]}}},
            "times.json: 0LtLS9wROrk_E_000001_000002_../../x",
        ),
        ({"timestamps": [[10**400, 2]], "segments": {}}, "times.json: 0LtLS9wROrk_E_000001_000002"),
        (7, "times.json: 0LtLS9wROrk"),
    ],
)
def test_senseless_timestamps_are_found(tmp_path: Path, event: object, where: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(json.dumps({"0LtLS9wROrk": {"E_000001_000002": event}, "bad": 3}))
    times, findings = read_timestamps(path)
    assert times == {}
    assert [f.where for f in findings] == [where, "times.json: bad"]


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_timestamps_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "times.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"times\.json: expected"):
        read_timestamps(path)
    with pytest.raises(DataError, match="no such file; expected the timestamps JSON of the FineGym project page"):
        read_timestamps(tmp_path / "none.json")


def test_set_codes_count_within_the_event() -> None:
    assert (SET_IDS["VT-S1"], SET_IDS["FX-S1"], SET_IDS["BB-S5"], SET_IDS["UB-S1"]) == (1, 21, 35, 41)
    assert len(SET_IDS) == 15


@pytest.mark.parametrize(
    ("subset", "version", "train", "test", "classes", "shared_sources"),
    [
        ("gym99", "1.1", 26_320, 8_521, 99, 40),
        ("gym99", "1.0", 20_484, 8_521, 99, 39),
        ("gym288", "1.1", 29_334, 9_646, 288, 113),
        ("gym288", "1.0", 22_671, 9_646, 288, 98),
    ],
)
def test_official_counts_and_known_faults(
    real_annotations: Path, subset: str, version: str, train: int, test: int, classes: int, shared_sources: int
) -> None:
    table, findings = real(real_annotations, subset, version)
    assert table.split.value_counts().to_dict() == {"train": train, "test": test}
    assert table.label_name.nunique() == classes
    assert sorted(table.event.unique()) == ["BB", "FX", "UB", "VT"]
    found = {kind: findings.of_kind(kind) for kind in {f.kind for f in findings}}
    lacking = found.pop("class without labelled clip", [])
    assert [f.message[:9] for f in lacking] == (["class 138"] if (subset, version) == ("gym288", "1.0") else [])
    assert set(found) == {"trailing blank", "repeated class text", "source in train and test"}
    blanks = "3 lines (17, 44, 69)" if subset == "gym99" else "5 lines (58, 66, 137, 143, 206)"
    assert [f.message for f in found["trailing blank"]] == [f"{blanks}; read all the same"]
    assert len(found["repeated class text"]) == {"gym99": 1, "gym288": 3}[subset]
    assert len(found["source in train and test"]) == shared_sources
    assert not findings.fatal


def test_video_ids_are_the_first_11_characters_whatever_they_hold(real_annotations: Path) -> None:
    table, _ = real(real_annotations, "gym99")
    assert (table.group == table.clip_id.str[:11]).all()
    assert {"rrrgsW--AE8", "vY-jPM995Gk"} <= set(table.group)


def test_categories_of_the_whole_hierarchy(real_annotations: Path) -> None:
    findings = Findings()
    names = read_set_names(real_annotations / "finegym", findings)
    assert len(findings) == 0
    assert {code: names[SET_IDS[code]] for code in ("VT-S1", "FX-S1", "BB-S5", "UB-S1", "UB-S2")} == {
        "VT-S1": "vault",
        "FX-S1": "FX_leap_jump_hop",
        "BB-S5": "BB_dismounts",
        "UB-S1": "UB_circles",
        "UB-S2": "UB_fligh_same_bar",
    }
    classes = read_classes(real_annotations / "finegym" / "gym530_categories.txt", names, findings)
    assert len({c.name for c in classes.values()}) == 530
    assert len(findings.of_kind("repeated class text")) == 4
    assert findings.of_kind("trailing blank")[0].message.startswith("6 lines ")


def test_gym99_and_gym288_cross_by_99_clips_each_way(real_annotations: Path) -> None:
    gym99, gym288 = (real(real_annotations, subset)[0] for subset in ("gym99", "gym288"))
    findings = Findings()
    find_crossed_splits(gym99, gym288, findings)
    assert len(findings.of_kind("in train of the first and test of the second")) == 99
    assert len(findings.of_kind("in test of the first and train of the second")) == 99
