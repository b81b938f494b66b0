from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sefar.data.annotations import read_lists
from sefar.data.findings import Findings
from sefar.errors import DataError


def read(folder: Path, **lists: str) -> tuple[pd.DataFrame, Findings]:
    for name, text in {"test": "/t/t.mp4 0\n", **lists}.items():
        (folder / f"{name}.csv").write_bytes(text.encode())
    return read_lists(folder, folder)


def trained(folder: Path, text: str) -> pd.DataFrame:
    table, _ = read(folder, train=text)
    return table[table.split == "train"].reset_index(drop=True)


def test_separators_line_ends_quotes_and_windows(tmp_path: Path) -> None:
    text = 'a.mp4 0\r\nb c.mp4,1\n"d e.mp4" 2 \n\n"f,g.mp4",3\r\r\nh.mp4#10-25 4\r!x#y.avi 5'
    table = trained(tmp_path, text)
    names = [Path(p).name for p in table.path]
    assert names == ["a.mp4", "b c.mp4", "d e.mp4", "f,g.mp4", "h.mp4", "!x#y.avi"]
    assert table.label.tolist() == [0, 1, 2, 3, 4, 5]
    assert table[["start_frame", "end_frame"]].values.tolist()[4] == [10, 25]
    assert table.clip_id[4] == "h.mp4#10-25"
    assert table.end_frame[0] == -1


@pytest.mark.parametrize(
    "line",
    ["only_a_path.mp4", "a.mp4 x", "a.mp4 1.5", "a.mp4#9-3 1", "a.mp4 -2", "a.mp4 ٣", "a.mp4 9999999999", '"" 3'],
)
def test_malformed_lines_are_named_with_file_and_line_together(tmp_path: Path, line: str) -> None:
    table, findings = read(tmp_path, train=f"ok.mp4 0\n{line}\nalso bad\n")
    assert table.clip_id.tolist() == ["ok.mp4", "/t/t.mp4"]
    assert [f.where for f in findings.of_kind("malformed row")] == ["train.csv:2", "train.csv:3"]
    with pytest.raises(DataError, match=r"(?s)2 faults.*train\.csv:2: expected '<path> <label>', got .*train\.csv:3: "):
        findings.raise_fatal("lists")


def test_unreadable_empty_or_missing_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_lists(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match=r"no train list; expected train\.csv"):
        read_lists(tmp_path, tmp_path)
    (tmp_path / "train.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(DataError, match="cannot be read as a text list"):
        read_lists(tmp_path, tmp_path)
    with pytest.raises(DataError, match="the list is empty"):
        read(tmp_path, train="\n")


def test_three_lists_names_and_relative_paths(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    (tmp_path / "classes.txt").write_text("3 giant swing\n7 dismount\n")
    lists = {"train": "sub/a.mp4 3\n", "unlabe": "sub/b.mp4,3\nsub/b.mp4,3\n", "test": "/abs/c.mp4 7\n"}
    read(tmp_path, **lists)
    table, findings = read_lists(tmp_path, root)
    assert table.split.tolist() == ["train", "unlabelled", "test"]
    assert [f.where for f in findings.of_kind("duplicate")] == ["unlabe.csv:2"]
    assert table.path.tolist() == [str(root / "sub/a.mp4"), str(root / "sub/b.mp4"), "/abs/c.mp4"]
    assert table.label_name.tolist() == ["giant swing", "giant swing", "dismount"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.mp4").touch()
    table, _ = read_lists(tmp_path, root)
    assert table.path[0] == str(tmp_path / "sub/a.mp4")  # beside the list comes first


@pytest.mark.parametrize(
    ("lists", "kind", "where", "fatal"),
    [
        ({"train": "a.mp4 0\nt.mp4 0\n", "test": "./t.mp4 0\n"}, "in train and test", "train.csv:2", True),
        ({"train": "a.mp4 0\n", "unlabel": "/t/t.mp4 -1\n"}, "in unlabelled and test", "unlabel.csv:1", True),
        ({"train": "a.mp4 0\na.mp4 1\n"}, "conflicting label", "train.csv:2", True),
        ({"train": "a.mp4 0\nb.mp4 -1\n"}, "label out of range", "train.csv:2", True),
        ({"train": "a.mp4 0\n./a.mp4 0\n"}, "duplicate", "train.csv:2", False),
        ({"train": "a.mp4 0\n", "unlabel": "b.mp4 0\na.mp4 1\n"}, "other label in train", "unlabel.csv:2", False),
        ({"train": "a.mp4 0\n", "test": "t.mp4 2\n"}, "label gap", "labels 0 … 2", False),
        ({"train": "a.mp4 0\n", "test": "t.mp4 1\n"}, "class without labelled clip", "1", False),
        ({"train": "a.mp4 0 \nb.mp4 0\t\n"}, "trailing blank", "train.csv:1", False),
        ({"train": "a.mp4 0"}, "missing final newline", "train.csv", False),
        ({"train": "a.mp4 0\n\n"}, "blank line", "train.csv:2", False),
        ({"train": "a.mp4 0\r\nb.mp4 0\n"}, "line ends", "train.csv", False),
        ({"train": "a.mp4,0\n"}, "separator", "train.csv", False),
        ({"train": "a.mp4 0\n", "unlabe": "b.mp4 0\n"}, "list name", "unlabe.csv", False),
        ({"train": "a.mp4 0\n", "val": "/t/t.mp4 0\n"}, "val equals test", "val.csv", False),
        ({"train": "a.mp4#0-9 0\n", "test": "a.mp4#9-12 0\n"}, "source in train and test", "a", False),
    ],
)
def test_faults_are_found(tmp_path: Path, lists: dict[str, str], kind: str, where: str, fatal: bool) -> None:
    _, findings = read(tmp_path, **lists)
    assert [(f.where, f.fatal) for f in findings.of_kind(kind)] == [(where, fatal)]


def test_gaps_up_to_a_stray_number_are_counted_not_written_out(tmp_path: Path) -> None:
    _, findings = read(tmp_path, train="a.mp4 1\nb.mp4 999999999\n")
    assert [f.message for f in findings.of_kind("label gap")] == [
        "999,999,997 do not occur in any list: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …"
    ]
    _, findings = read(tmp_path, train="a.mp4 0\nb.mp4 3\n")
    assert [f.message for f in findings.of_kind("label gap")] == ["2 do not occur in any list: 1, 2"]


def test_fine_lists_have_no_findings(tmp_path: Path) -> None:
    lists = {"train": "a.mp4 0\nb.mp4 1\n", "unlabel": "a.mp4 0\nb.mp4 1\nc.mp4 -1\n", "test": "t.mp4 0\nu.mp4 1\n"}
    table, findings = read(tmp_path, **lists)
    assert list(findings) == []
    assert table.split.tolist() == ["train"] * 2 + ["unlabelled"] * 3 + ["test"] * 2


def test_two_test_lists_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 test lists, test\.csv and val\.csv; keep one of them"):
        read(tmp_path, train="a.mp4 0\n", val="/t/other.mp4 0\n")


def test_val_alone_serves_as_test_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a.mp4 0\n")
    (tmp_path / "val.csv").write_text("t.mp4 0\n")
    table, findings = read_lists(tmp_path, tmp_path)
    assert table.split.tolist() == ["train", "test"]
    assert [str(f) for f in findings] == ["val.csv: expected test.csv; read as the test list all the same"]


def test_labels_that_depart_from_their_folders_majority(tmp_path: Path) -> None:
    rows = [f"{folder}/{n}.avi {label}" for folder, label in (("climb", 5), ("stairs", 6)) for n in range(4)]
    _, findings = read(tmp_path, train="\n".join([*rows, "stairs/x.avi 5", ""]), test="climb/t.avi 5\nstairs/t.avi 6\n")
    (found,) = findings.of_kind("label differs from its folder")
    assert str(found) == "train.csv:9: expected label 6 as most clips of folder stairs, got 5; see which is right"


def test_folders_that_are_no_classes_prove_nothing(tmp_path: Path) -> None:
    flat = "v/a.mp4 0\nv/b.mp4 0\nv/c.mp4 0\nv/d.mp4 1\n"
    _, findings = read(tmp_path, train=flat, test="v/t.mp4 0\n")
    assert findings.of_kind("label differs from its folder") == []
    _, findings = read(tmp_path, train=flat + "w/a.mp4 0\n", test="w/t.mp4 0\n")
    assert findings.of_kind("label differs from its folder") == []


def test_names_that_are_missing_or_malformed(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 swing\nkip\n")
    _, findings = read(tmp_path, train="a.mp4 0\nb.mp4 1\n", test="t.mp4 1\n")
    assert [f.where for f in findings.of_kind("malformed row")] == ["classes.txt:2"]
    assert findings.of_kind("label without name")[0].message == "expected a line '1 <name>', got none; add it"


def test_a_path_prefix_is_replaced_by_whole_folders(tmp_path: Path) -> None:
    rows = {"train.csv": "/data/a.mp4 0\n/database/b.mp4 0\nrel/c.mp4 0\n", "test.csv": "/data/x/t.mp4 0\n"}
    for name, text in rows.items():
        (tmp_path / name).write_text(text)
    table, findings = read_lists(tmp_path, tmp_path / "root", path_prefix=("/data", "/ssd"))
    assert table.path.tolist() == ["/ssd/a.mp4", "/database/b.mp4", str(tmp_path / "root/rel/c.mp4"), "/ssd/x/t.mp4"]
    assert table.clip_id.tolist() == ["/data/a.mp4", "/database/b.mp4", "rel/c.mp4", "/data/x/t.mp4"]
    _, findings = read_lists(tmp_path, tmp_path, path_prefix=("/dat", "/ssd"))
    assert [f.message for f in findings.of_kind("path prefix")] == [
        "no path begins with '/dat'; mend the prefix to replace"
    ]


def test_names_that_no_disk_can_hold_are_read_or_reported(tmp_path: Path) -> None:
    table, findings = read(tmp_path, train=f'{"x" * 300}.mp4 0\n"{"y" * 200_000}" 0\na\0/b.mp4 0\n')
    assert len(table) == 3
    assert [(f.kind, f.where) for f in findings] == [("malformed row", "train.csv:3")]


@given(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")))
def test_any_line_is_read_or_reported(tmp_path_factory: pytest.TempPathFactory, line: str) -> None:
    folder = tmp_path_factory.mktemp("lists")
    table, findings = read(folder, train=f"fine.mp4 0\n{line}\n")
    if not line.strip():
        assert table.clip_id.tolist() == ["fine.mp4", "/t/t.mp4"]
    else:
        reported = {f.where for f in findings if f.where == "train.csv:2"}
        assert reported or len(table) == 3


@given(
    st.lists(
        st.tuples(st.text("abc é#!,-_.", min_size=1, max_size=8), st.integers(0, 3)),
        min_size=1,
        unique_by=lambda row: row[0],
    ),
    st.sampled_from([" ", ",", "  "]),
    st.sampled_from(["\n", "\r\n", "\r\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_written_rows_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int]],
    separator: str,
    end: str,
    quoted: bool,
    mark: bool,
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    rows = [(f"/v/x{name}y.mp4", label) for name, label in rows]
    lines = [f'"{path}"{separator}{label}' if quoted else f"{path}{separator}{label}" for path, label in rows]
    table, findings = read(folder, train=("\ufeff" if mark else "") + end.join([*lines, ""]))
    trained = table[table.split == "train"]
    assert list(zip(trained.path, trained.label, strict=True)) == rows
    assert not findings.fatal
