"""No clip on both sides of a split, and none with two labels, however the lists write it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sefar.data.annotations import read_lists
from sefar.data.leaks import find_leaks
from sefar.data.scopes import ScopeConfig, load_scope, resolve_scope
from sefar.errors import DataError


def lists(folder: Path, **parts: str) -> ScopeConfig:
    for name, text in parts.items():
        (folder / f"{name}.csv").write_text(text)
    return ScopeConfig(name=f"lists:{folder}", root=str(folder))


def table(*rows: tuple[str, int, int]) -> pd.DataFrame:
    clips = [{"clip_id": f"{p}#{s}-{e}", "path": p, "start_frame": s, "end_frame": e} for p, s, e in rows]
    return pd.DataFrame(clips, columns=["clip_id", "path", "start_frame", "end_frame"])


@pytest.mark.parametrize(
    ("clip", "leaks"),
    [
        (("/v/a.mp4", 0, 10), False),  # ends where the test clip begins
        (("/v/a.mp4", 0, 11), True),
        (("/v/a.mp4", 12, 14), True),
        (("/v/a.mp4", 19, 40), True),
        (("/v/a.mp4", 20, 40), False),
        (("/v/a.mp4", 20, -1), False),
        (("/v/a.mp4", 0, -1), True),
        (("/v/x/../a.mp4", 10, 20), True),
        (("/v/b.mp4", 10, 20), False),
    ],
)
def test_windows_leak_where_they_share_a_frame(clip: tuple[str, int, int], leaks: bool) -> None:
    tested = table(("/v/z.mp4", 0, -1), ("/v/a.mp4", 10, 20))
    found = find_leaks(table(clip), tested)
    assert found == ([(f"{clip[0]}#{clip[1]}-{clip[2]}", "/v/a.mp4#10-20")] if leaks else [])


def test_a_whole_file_meets_each_of_its_windows() -> None:
    assert find_leaks(table(("a", 30, 40)), table(("a", 0, -1)))
    assert not find_leaks(table(), table(("a", 0, -1)))


@pytest.mark.parametrize("part", ["train", "unlabel"])
@pytest.mark.parametrize(
    ("line", "tested"),
    [("a.mp4#0-20 0", "a.mp4#10-30"), ("./a.mp4 0", "a.mp4"), ("link.mp4#5-9 0", "a.mp4"), ("{}/a.mp4 0", "a.mp4")],
)
def test_lists_that_leak_by_another_name(tmp_path: Path, part: str, line: str, tested: str) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    parts = {"train": "b.mp4 0\nc.mp4 0\n", "unlabel": "d.mp4 -1\n", "test": f"{tested} 0\n"}
    parts[part] += line.format(tmp_path) + "\n"
    with pytest.raises(DataError, match=rf"{part}\.csv:\d: '.*' is in test as '{tested}', wholly or in part"):
        load_scope(lists(tmp_path, **parts))


def test_a_labelled_clip_is_not_unlabelled_under_another_name(tmp_path: Path) -> None:
    config = lists(tmp_path, train="a.mp4 0\nb.mp4 0\n", unlabel="./b.mp4 -1\nc.mp4 -1\n", test="t.mp4 0\n")
    scope = resolve_scope(config)
    assert scope.unlabelled.clip_id.tolist() == ["c.mp4"]


@pytest.mark.parametrize("again", ["a.mp4 2", "./a.mp4 2", "sub/../a.mp4,2"])
def test_two_labels_of_one_clip_are_named_by_line(tmp_path: Path, again: str) -> None:
    (tmp_path / "sub").mkdir()
    lists(tmp_path, train=f"a.mp4 1\na.mp4#0-5 2\n{again}\na.mp4 1\n", test="t.mp4 1\n")
    _, findings = read_lists(tmp_path, tmp_path)
    with pytest.raises(
        DataError, match=r"train\.csv:3: expected label 1 of '.*a\.mp4' as in train\.csv:1, got 2; mend"
    ):
        findings.raise_fatal("lists")


def test_two_lists_of_one_split_are_refused(tmp_path: Path) -> None:
    config = lists(tmp_path, train="a.mp4 0\n", test="t.mp4 0\n")
    (tmp_path / "train.txt").write_text("b.mp4 0\n")
    with pytest.raises(DataError, match=r"2 train lists, train\.csv and train\.txt; keep one of them"):
        load_scope(config)


def test_a_byte_order_mark_is_no_part_of_the_first_path(tmp_path: Path) -> None:
    for name, text in (("train.csv", "a.mp4 0\n"), ("test.csv", "t.mp4 0\n"), ("classes.txt", "0 swing\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    clips, _ = read_lists(tmp_path, tmp_path)
    assert clips.clip_id.tolist() == ["a.mp4", "t.mp4"]
    assert clips.label_name.tolist() == ["swing", "swing"]
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"classes\.txt: cannot be read as a text list"):
        read_lists(tmp_path, tmp_path)
