from __future__ import annotations

import os
from pathlib import Path

import pytest

from sefar.data.annotations import read_folders
from sefar.errors import DataError


def tree(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_classes_are_folders_in_sorted_order(tmp_path: Path) -> None:
    files = ("train/b/2.mp4", "train/b/1.AVI", "train/a/1.mp4", "train/.DS_Store", "test/a/9.mkv", "test/c/9.mkv")
    table, findings = read_folders(
        tree(tmp_path, *files, "unlabelled/x.mp4", "unlabelled/b/y.mp4", "unlabelled/z/w.mp4")
    )
    assert table[["clip_id", "label", "label_name", "split"]].values.tolist() == [
        ["train/a/1.mp4", 0, "a", "train"],
        ["train/b/1.AVI", 1, "b", "train"],
        ["train/b/2.mp4", 1, "b", "train"],
        ["unlabelled/b/y.mp4", 1, "b", "unlabelled"],
        ["unlabelled/x.mp4", -1, "", "unlabelled"],
        ["unlabelled/z/w.mp4", -1, "", "unlabelled"],
        ["test/a/9.mkv", 0, "a", "test"],
        ["test/c/9.mkv", 2, "c", "test"],
    ]
    assert table.path[0] == str(tmp_path / "train/a/1.mp4")
    assert [(f.kind, f.where) for f in findings] == [
        ("class without labelled clip", "c"),
        ("class without test clip", "b"),
    ]


def test_stray_files_are_findings(tmp_path: Path) -> None:
    files = ("train/a/1.mp4", "train/a/notes.txt", "train/loose.mp4", "train/a/deep/2.mp4", "test/a/9.mp4")
    table, findings = read_folders(tree(tmp_path, *files))
    assert table.clip_id.tolist() == ["train/a/1.mp4", "test/a/9.mp4"]
    assert sorted((f.kind, f.where) for f in findings) == [
        ("clip without class", "train/loose.mp4"),
        ("folder too deep", "train/a/deep"),
        ("not a video", "train"),
    ]


def test_names_that_are_no_utf_8_and_links_in_a_circle_are_findings(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1.mp4", "test/a/9.mp4")
    (tmp_path / "train" / os.fsdecode(b"\xe9t\xe9")).mkdir()
    for name in (b"a/\xe9.mp4", b"\xe9t\xe9/2.mp4"):
        (tmp_path / "train" / os.fsdecode(name)).touch()
    (tmp_path / "train" / "circle").symlink_to("circle")
    (tmp_path / "train" / "a" / "circle").symlink_to("circle")
    table, findings = read_folders(tmp_path)
    assert table.clip_id.tolist() == ["train/a/1.mp4", "test/a/9.mp4"]
    assert [str(f) for f in findings.fatal] == [
        rf"train/{name}: expected a name in UTF-8; rename it" for name in (r"a/\udce9.mp4", r"\udce9t\udce9/2.mp4")
    ]
    assert [f.message for f in findings.of_kind("not a video")] == ["2 files circle are no videos; left out"]


def test_a_link_to_a_test_clip_is_fatal(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1.mp4", "test/a/9.mp4")
    (tmp_path / "train/a/2.mp4").symlink_to(tmp_path / "test/a/9.mp4")
    _, findings = read_folders(tmp_path)
    assert [(f.kind, f.where) for f in findings.fatal] == [("in train and test", "train/a/2.mp4")]


def test_missing_or_doubled_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder train; expected train/<class>/<clip>"):
        read_folders(tmp_path)
    tree(tmp_path, "train/a/1.mp4", "test/a/9.mp4", "val/a/8.mp4")
    with pytest.raises(DataError, match="two test folders, test and val; keep one of them"):
        read_folders(tmp_path)
