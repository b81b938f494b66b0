"""The last good checkpoint survives whatever befalls the next one, and a file is never trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sefar.errors import CheckpointError
from sefar.training.checkpoint import FORMAT, load_checkpoint, remove_leftovers, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
KILLED_WHILE_WRITING = """
import os, signal, sys, torch
from sefar.training.checkpoint import save_checkpoint

def half(state, out, write=torch.save):
    write(state, out)
    out.truncate(out.tell() // 2)
    out.flush()
    os.kill(os.getpid(), signal.SIGKILL)

save_checkpoint(sys.argv[1], {"x": torch.ones(1000)})
torch.save = half
save_checkpoint(sys.argv[1], {"x": torch.zeros(1000)})
"""


def test_a_process_killed_while_writing_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_checkpoint(path)["x"].sum() == 1000
    half = [p for p in tmp_path.iterdir() if p != path]
    assert len(half) == 1 and half[0].suffix == ".part" and half[0].stat().st_size > 0
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(half[0])
    remove_leftovers(path)
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_other_checkpoints_stay(tmp_path: Path) -> None:
    names = ["a[1].pt", "a[1].pt.x.part", "a1.pt.x.part", "b.pt.x.part", "a[1].pt.part.txt"]
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "a[1].pt")
    assert sorted(os.listdir(tmp_path)) == sorted(n for n in names if n != "a[1].pt.x.part")


@pytest.mark.parametrize("stage", ["torch.save", "os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_write_that_fails_midway_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, error: Exception
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"x": torch.ones(3)})

    def fail(*args: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(stage, fail)
        with pytest.raises(
            CheckpointError, match=r"checkpoint\.pt: cannot be written \(.*\); make room or choose"
        ) as e:
            save_checkpoint(path, {"x": torch.zeros(3)})
    assert "\n" not in str(e.value)
    assert load_checkpoint(path)["x"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]
    save_checkpoint(path, {"x": torch.zeros(3)})
    assert load_checkpoint(path)["x"].tolist() == [0, 0, 0]


def test_others_may_read_a_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"x": 1})
    assert (tmp_path / "c.pt").stat().st_mode & 0o777 == 0o644


class RunsCode:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"format": FORMAT, "version": 1, "x": RunsCode(tmp_path / "trace")}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"c\.pt: truncated or not a checkpoint \(UnpicklingError\)"):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"truncated or not a checkpoint \(EOFError\); restore it from a copy, or delete it and train anew"),
        (b"not a checkpoint", "truncated or not a checkpoint"),
        ({"format": "other"}, "not a checkpoint of this software; weights load through model.pretrained"),
        ([1, 2], "not a checkpoint of this software"),
        ({"format": FORMAT}, "expected a whole number as version, got None"),
        ({"format": FORMAT, "version": "2"}, "expected a whole number as version, got '2'"),
        ({"format": FORMAT, "version": 99}, r"written by a newer version \(99 > 1\); update sefar"),
    ],
)
def test_foreign_files_are_named_in_one_line(tmp_path: Path, content: object, text: str) -> None:
    path = tmp_path / "c.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=text) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_checkpoint_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "c.pt", {"x": 1})

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")  # root may read anything

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(CheckpointError, match=r"c\.pt: cannot be read \(Permission denied\); ask its owner"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint; train at least one epoch first"):
        load_checkpoint(tmp_path)
