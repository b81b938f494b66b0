"""Folders in /tmp, and those that killed runs have left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studies.engine import temporary


@pytest.fixture(autouse=True)
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(temporary, "TMP", str(tmp_path))
    return tmp_path


def test_only_what_the_dead_have_left_is_removed(tmp):
    ours = temporary.make_folder("ray")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    here = temporary._namespace()
    others = ["sefar-frames", f"other-tune-{process.pid}n{here}-abc", "sefar-tune-abc", f"sefar-tune-{process.pid}n9-a"]
    for name in (f"sefar-tune-{process.pid}n{here}-abc_1", *others):
        (tmp / name / "inside").mkdir(parents=True)
    temporary.remove_abandoned()
    left = {path.name for path in tmp.iterdir()}
    assert left == {Path(ours).name, *others}
    temporary.remove_folder(ours)
    assert not Path(ours).exists()
