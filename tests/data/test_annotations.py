from __future__ import annotations

from pathlib import Path

import pytest

from sefar.data.annotations import read_list, read_lists
from sefar.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_separators_line_ends_quotes_and_windows(tmp_path: Path) -> None:
    text = 'a.mp4 0\r\nb c.mp4,1\n"d e.mp4" 2 \n\n"f,g.mp4",3\nh.mp4#10-25 4\n!x#y.avi 5'
    table = read_list(write(tmp_path / "train.csv", text), split="train", data_root=tmp_path)
    names = [Path(p).name for p in table.path]
    assert names == ["a.mp4", "b c.mp4", "d e.mp4", "f,g.mp4", "h.mp4", "!x#y.avi"]
    assert table.label.tolist() == [0, 1, 2, 3, 4, 5]
    assert table[["start_frame", "end_frame"]].values.tolist()[4] == [10, 25]
    assert table.clip_id[4] == "h.mp4#10-25"
    assert table.end_frame[0] == -1


@pytest.mark.parametrize("line", ["only_a_path.mp4", "a.mp4 x", "a.mp4 1.5", "a.mp4#9-3 1", "a.mp4 -2"])
def test_malformed_lines_are_named_with_file_and_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "train.csv", f"ok.mp4 0\n{line}\nalso bad\n")
    with pytest.raises(DataError, match=r"train\.csv:2: expected '<path> <label>', got .*\(and 1 more"):
        read_list(path, split="train", data_root=tmp_path)


def test_unreadable_empty_or_missing_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_lists(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match=r"no train list; expected train\.csv"):
        read_lists(tmp_path, tmp_path)
    (tmp_path / "train.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(DataError, match="cannot be read as a text list"):
        read_lists(tmp_path, tmp_path)
    write(tmp_path / "train.csv", "\n")
    with pytest.raises(DataError, match="the list is empty"):
        read_lists(tmp_path, tmp_path)


def test_three_lists_names_and_relative_paths(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    write(tmp_path / "train.txt", "sub/a.mp4 3\n")
    write(tmp_path / "unlabe.csv", "sub/b.mp4,3\nsub/b.mp4,3\n")
    write(tmp_path / "test.csv", "/abs/c.mp4 7\n")
    write(tmp_path / "classes.txt", "3 giant swing\n7 dismount\n")
    table = read_lists(tmp_path, root)
    assert table.split.tolist() == ["train", "unlabelled", "test"]  # the doubled row counts once
    assert table.path.tolist() == [str(root / "sub/a.mp4"), str(root / "sub/b.mp4"), "/abs/c.mp4"]
    assert table.label_name.tolist() == ["giant swing", "giant swing", "dismount"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.mp4").touch()
    assert read_lists(tmp_path, root).path[0] == str(tmp_path / "sub/a.mp4")  # beside the list comes first


def test_released_lists_are_read(shared_videos: Path) -> None:
    lists = shared_videos.parent / "sefar_lists"
    ucf = read_lists(lists / "list_ucf_5", Path("/data"))
    assert set(ucf.split) == {"train", "unlabelled", "test"}
    assert (ucf.split == "test").sum() == 3783
    assert set(range(101)) - set(ucf[ucf.split == "train"].label) == {49}
