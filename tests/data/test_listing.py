from __future__ import annotations

import os
from pathlib import Path

import pytest

from sefar.data.listing import Listing, real_paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "a.mp4").touch()
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "real" / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "real" / "dangling.mp4").symlink_to("gone.mp4")
    return tmp_path


NAMES = [
    "real/a.mp4",
    "linked/a.mp4",
    "linked/link.mp4",
    "real/sub/../a.mp4",
    "real/dangling.mp4",
    "real/sub",
    "no/b.mp4",
    "real/sub/",
]


def test_paths_resolve_as_the_system_resolves_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"{folder}/{name}" for name in NAMES]
    assert real_paths(paths) == {path: os.path.realpath(path) for path in paths}
    monkeypatch.chdir(folder / "real")
    assert real_paths(["a.mp4", "link.mp4"]) == dict.fromkeys(["a.mp4", "link.mp4"], str(folder / "real" / "a.mp4"))


def test_files_are_found_and_folders_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing()
    found = [name for name in NAMES if listing.is_file(f"{folder}/{name}")]
    assert found == ["real/a.mp4", "linked/a.mp4", "linked/link.mp4", "real/sub/../a.mp4"]
    monkeypatch.setattr(os, "scandir", None)
    assert not listing.is_file(f"{folder}/real/b.mp4")
    assert listing.is_file(f"{folder}/real/a.mp4")
