from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sefar.data.prepare import check
from sefar.data.prepare.check import check_scope
from sefar.data.quarantine import quarantine_files, read_quarantine
from sefar.data.scopes import ScopeConfig, load_scope
from sefar.errors import ScopeError
from tests.data.prepare_sources import write_source

CLASSES = ("a" * 100, "b", "c", "d")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Four classes of three training clips and a test clip."""
    folder = tmp_path / "tree"
    whole = write_source(tmp_path / "whole.mp4", 10).read_bytes()
    for name in CLASSES:
        for split, count in (("train", 3), ("test", 1)):
            (folder / split / name).mkdir(parents=True)
            for k in range(count):
                (folder / split / name / f"{name[0]}{k}.mp4").write_bytes(whole)
    return folder


def config(tree: Path, **changes: object) -> ScopeConfig:
    values = {"name": f"folders:{tree}", "root": str(tree.parent), "dev_fraction": 0} | changes
    return ScopeConfig(**values)  # type: ignore[arg-type]


def break_some(tree: Path) -> None:
    for k in range(3):
        (tree / "train" / "c" / f"c{k}.mp4").write_bytes(b"no video")
    (tree / "test" / "b" / "b0.mp4").write_bytes(b"")


def test_a_scope_whose_clips_all_decode(tree: Path) -> None:
    report = check_scope(config(tree), workers=2, progress=False)
    assert report.complete
    assert report.text().splitlines() == [
        f"folders:{tree}: 16 clips of 4 classes: 16 available, 0 missing, 0 broken",
        "4 classes are complete",
        f"quarantine list: {report.file}",
    ]
    assert quarantine_files(tree.parent) == [report.file]


def test_broken_clips_are_listed_and_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    break_some(tree)
    report = check_scope(config(tree), workers=2, progress=False)
    assert not report.complete
    lines = report.text().splitlines()
    assert lines[0].endswith("16 clips of 4 classes: 12 available, 0 missing, 4 broken")
    assert lines[1] == "1 class is left without labelled clips"
    assert [line.split() for line in lines[2:5]] == [
        ["class", "labelled", "available", "missing", "broken"],
        ["c", "0", "1", "0", "3"],
        ["b", "3", "3", "0", "1"],
    ]
    assert lines[5] == "2 classes are complete"
    assert lines[6].startswith("broken: ") and "train/c/c0.mp4" in lines[6]
    listed = read_quarantine([report.file])
    assert listed.cause(str(tree / "test" / "b" / "b0.mp4"), 0, -1)
    assert listed.cause(str(tree / "test" / "a" / "a0.mp4"), 0, -1) is None
    with pytest.raises(ScopeError, match="4 quarantined"):
        load_scope(config(tree))


def test_absent_clips_are_missing_and_long_names_fit_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    folder = tmp_path / "lists"
    folder.mkdir()
    write_source(folder / "x.mp4", 10)
    write_source(folder / "y.mp4", 10)
    (folder / "train.csv").write_text("x.mp4 0\nz.mp4 1\n")
    (folder / "test.csv").write_text("y.mp4 0\nw.mp4 1\n")
    (folder / "classes.txt").write_text(f"0 {'long ' * 30}\n1 other\n")
    report = check_scope(config(folder, name=f"lists:{folder}"), workers=1, progress=False)
    assert not report.complete
    table = report.table()
    assert table["class"].tolist()[0] == "other"
    assert table[["labelled", "available", "missing", "broken"]].to_numpy().tolist() == [[0, 0, 2, 0], [1, 2, 0, 0]]
    assert max(map(len, check._lines(table))) == 60
    assert "…" in check._lines(table)[2]
    assert read_quarantine([report.file]).cause(str(folder / "z.mp4"), 0, -1) is None


def test_a_check_of_other_clips_keeps_what_the_first_found(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("/old/x.mp4 0\n")
    (tmp_path / "test.csv").write_text("/old/y.mp4 0\n")
    whole = write_source(tmp_path / "whole.mp4", 10).read_bytes()
    for name, content in (("bad", b"no video"), ("good", whole)):
        (tmp_path / name).mkdir()
        for clip in ("x.mp4", "y.mp4"):
            (tmp_path / name / clip).write_bytes(content)
    folders = [f"/old={tmp_path / name}" for name in ("bad", "good")]
    # as many processes as clips at most, whatever is asked for
    reports = [
        check_scope(
            config(tmp_path, name=f"lists:{tmp_path}", root=str(tmp_path), path_prefix=prefix),
            workers=10**9,
            progress=False,
        )
        for prefix in folders
    ]
    assert [report.complete for report in reports] == [False, True]
    listed = read_quarantine(quarantine_files(tmp_path))
    assert listed.cause(str(tmp_path / "bad" / "x.mp4"), 0, -1)


def test_unchanged_good_clips_are_not_decoded_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_some(tree)
    first = check_scope(config(tree), workers=2, progress=False)
    real, asked = check.check_clips, []

    def watched(windows: list, **options: object) -> Iterator:
        asked.append(sorted(Path(path).name for path, *_ in windows))
        return real(windows, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(check, "check_clips", watched)
    second = check_scope(config(tree), workers=2, progress=False)
    assert asked == [["b0.mp4", "c0.mp4", "c1.mp4", "c2.mp4"]]
    assert second.text() == first.text()
    mended = tree / "train" / "c" / "c1.mp4"
    mended.write_bytes((tree / "test" / "c" / "c0.mp4").read_bytes())
    os.utime(tree / "test" / "d" / "d0.mp4", ns=(1, 1))
    third = check_scope(config(tree), workers=2, progress=False)
    assert asked[1] == ["b0.mp4", "c0.mp4", "c1.mp4", "c2.mp4", "d0.mp4"]
    assert third.clips.status.value_counts().to_dict() == {"available": 13, "broken": 3}


def test_an_interrupted_check_keeps_what_it_knows(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_some(tree)
    report = check_scope(config(tree), workers=2, progress=False)
    before = report.file.read_text()
    real = check.check_clips

    def interrupted(windows: list, **options: object) -> Iterator:
        yield from list(real(windows[:1], **options))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "check_clips", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_scope(config(tree), workers=1, progress=False)
    assert sorted(report.file.read_text().splitlines()) == sorted(before.splitlines())
