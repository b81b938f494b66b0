from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

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
    "line", ["only_a_path.mp4", "a.mp4 x", "a.mp4 1.5", "a.mp4#9-3 1", "a.mp4 -2", "a.mp4 ٣", "a.mp4 9999999999"]
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


def test_released_lists_are_read(shared_videos: Path) -> None:
    lists = shared_videos.parent / "sefar_lists"
    ucf, findings = read_lists(lists / "list_ucf_5", Path("/data"))
    assert set(ucf.split) == {"train", "unlabelled", "test"}
    assert (ucf.split == "test").sum() == 3783
    assert set(range(101)) - set(ucf[ucf.split == "train"].label) == {49}
    assert not findings.fatal
