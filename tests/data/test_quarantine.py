from __future__ import annotations

import os
from pathlib import Path

import pytest

from sefar.data.quarantine import (
    COLUMNS,
    quarantine_file,
    quarantine_files,
    quarantined,
    read_quarantine,
    write_quarantine,
)
from sefar.errors import DataError


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "clips" / "a, b!.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345")
    return path


def test_an_entry_holds_for_the_file_as_checked(tmp_path: Path, clip: Path) -> None:
    file = quarantine_file(tmp_path / "data", "finegym/gym99")
    entries = [
        quarantined("a", str(clip), 0, -1, "frame 3:\n broken"),
        quarantined("gone", str(tmp_path / "gone.mp4"), 2, 5, "no file"),
    ]
    write_quarantine(file, entries)
    assert file.read_text().splitlines()[0] == "clip_id,path,start_frame,end_frame,size_bytes,modified_ns,cause"
    assert ",0,-1,5," in file.read_text()
    found = read_quarantine(quarantine_files(tmp_path / "data"))
    assert found.cause(str(clip), 0, -1) == "frame 3: broken"
    assert found.cause(str(clip.parent / ".." / "clips" / clip.name), 0, -1) == "frame 3: broken"
    assert found.cause(str(clip), 0, 5) is None
    assert found.cause(str(tmp_path / "gone.mp4"), 2, 5) == "no file"
    state = clip.stat()
    os.utime(clip, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert found.cause(str(clip), 0, -1) is None
    os.utime(clip, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert found.cause(str(clip), 0, -1) == "frame 3: broken"
    clip.write_bytes(b"123456")
    assert found.cause(str(clip), 0, -1) is None


def test_a_moved_data_folder_keeps_its_list(tmp_path: Path, clip: Path) -> None:
    write_quarantine(quarantine_file(tmp_path / "data", "x/y"), [quarantined("a", str(clip), 0, -1, "broken")])
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "clips" / clip.name
    assert read_quarantine(quarantine_files(tmp_path / "elsewhere")).cause(str(moved), 0, -1) == "broken"


def test_names_of_scopes_do_not_meet(tmp_path: Path) -> None:
    names = [
        quarantine_file(tmp_path, s).name for s in ("finegym/set:UB-S1", "finegym/set-UB-S1", "lists:" + "/x" * 200)
    ]
    assert len(set(names)) == 3
    assert names[0].startswith("finegym-set-UB-S1-")
    assert max(map(len, names)) < 100
    assert quarantine_files(tmp_path) == []
    assert read_quarantine([]).cause("a", 0, -1) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a quarantine list with the columns clip_id"),
        (b"clip_id,path\n", "got 'clip_id,path'; remove it"),
        (b"\xff\xfe", "cannot be read"),
        (
            ",".join(COLUMNS).encode() + b"\na,b,0,-1,1,1,c\na,b,0\n",
            r"x\.csv:3: expected clip_id.*, got 'a,b,0'; remove",
        ),
    ],
)
def test_a_damaged_list_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_quarantine([file])


def test_a_list_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"x\.csv: the quarantine list cannot be written"):
        write_quarantine(tmp_path / "quarantine" / "x.csv", [])
