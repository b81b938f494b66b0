"""`sefar prepare` of real data sets, and the way from sources to a scope that loads."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sefar import cli
from sefar.data.scopes import ScopeConfig, load_scope
from tests.data import test_prepare_finegym as finegym
from tests.data.annotations import test_finediving
from tests.data.prepare_sources import write_source


def prepare(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sefar", "prepare", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_from_finegym_videos_to_a_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = finegym.write_annotations(tmp_path / "finegym" / "annotations")
    videos = finegym.write_videos(tmp_path / "videos")
    assert prepare(monkeypatch, "finegym", "--videos", videos, "--root", tmp_path, "--workers", 1) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["split", "clips", "available", "missing", "failed"]
    assert said[-1] == f"next: sefar prepare check --scope finegym/gym99 --root {tmp_path}"
    check = ["check", "--root", tmp_path, "--workers", 2, "--limit-seconds", 30]
    # of Gym99, a clip has no video, one no timestamps, one a broken video
    assert prepare(monkeypatch, *check, "--scope", "finegym/gym99") == 1
    assert "6 clips of 2 classes: 3 available, 3 missing, 0 broken" in capsys.readouterr().out
    assert (
        prepare(monkeypatch, *check, "--scope", "finegym/gym288", "--dev-fraction", 0, "--annotations", annotations)
        == 0
    )
    scope = load_scope(ScopeConfig(name="finegym/gym288", root=str(tmp_path), dev_fraction=0))
    assert sorted(scope.labelled.clip_id) == sorted([finegym.C, finegym.EVENT])


def test_annotations_elsewhere_and_one_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = finegym.write_annotations(tmp_path / "my lists")
    videos = finegym.write_videos(tmp_path / "videos")
    where = ["--videos", videos, "--annotations", annotations, "--root", tmp_path / "root"]
    assert prepare(monkeypatch, "finegym", *where, "--splits", "gym288", "--workers", 1) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[1:3]] == ["gym288/test", "gym288/train"]
    assert said[-1].endswith(f"--scope finegym/gym288 --root {tmp_path / 'root'} --annotations '{annotations}'")


def test_a_schedulers_stop_is_as_good_as_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sefar.cli", "prepare", "synthgym", "--root", str(tmp_path), "--workers", "1"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("*.mp4")) and running.poll() is None:
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told.splitlines()[-1]) == (130, "stopped; what was finished is kept")
    assert "Traceback" not in told
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(("flags", "linked"), [([], True), (["--link"], True), (["--copy"], False)])
def test_ucf101(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    linked: bool,
) -> None:
    annotations, clip = tmp_path / "annotations", tmp_path / "videos" / "Bowling" / "v_Bowling_g02_c01.avi"
    annotations.mkdir()
    clip.parent.mkdir(parents=True)
    write_source(clip, 10, codec="mpeg4")
    (annotations / "classInd.txt").write_text("1 Bowling\n")
    (annotations / "trainlist01.txt").write_text("Bowling/v_Bowling_g02_c01.avi 1\n")
    (annotations / "testlist01.txt").write_text("Bowling/v_Bowling_g01_c01.avi\n")
    where = ["--videos", clip.parents[1], "--annotations", annotations, "--root", tmp_path, "--splits", 1]
    assert prepare(monkeypatch, "ucf101", *where, *flags) == 0
    assert "1 × no source clip, class Bowling" in capsys.readouterr().out
    target = tmp_path / "ucf101" / "clips" / "Bowling" / clip.name
    assert target.samefile(clip) == linked


def test_finediving_from_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = tmp_path / "finediving" / "annotations"
    annotations.mkdir(parents=True)
    test_finediving.write(annotations)
    (tmp_path / "videos").mkdir()
    write_source(tmp_path / "videos" / f"{test_finediving.LOW}.mp4", 130)
    arguments = ["finediving", "--videos", tmp_path / "videos", "--root", tmp_path, "--workers", 1]
    assert prepare(monkeypatch, *arguments) == 0
    assert f"2 × no frames or video of {test_finediving.HIGH}" in capsys.readouterr().out
    assert prepare(monkeypatch, "finediving", "--root", tmp_path) == 2  # neither frames nor videos


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finegym", "--videos", "x", "--workers", "-1"], "--workers: expected an integer ≥ 0, got -1"),
        (["finegym", "--videos", "x", "--splits"], "--splits: expected at least one"),
        (["finegym", "--videos", "x", "--root", "none"], "none/finegym/annotations: no gym99_train"),
        (["check", "--scope", "ucf101/split1", "--limit-seconds", "0"], "--limit-seconds: expected seconds above 0"),
        (["check", "--scope", "ucf101/split1", "--limit-seconds", "1e300"], "seconds above 0, at most 1e6, got 1e+300"),
        (["check", "--scope", "ucf101/split9"], "ucf101 has no 'split9'"),
        (["synthgym", "--scope", "ucf101/split1"], "--scope: expected synthgym/…"),
    ],
)
def test_wrong_use_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and message in said.err


GUIDE = Path(__file__).resolve().parents[1] / "docs" / "datasets.md"
COMMANDS = re.findall(r"^sefar .*$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_guides_commands_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    monkeypatch.setattr(cli, "run_reporting_errors", lambda run, **_: parsed.append(run) or 0)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and len(parsed) == 1
    for scope in re.findall(r"(?:scope\.name=|--scope )(\S+)", command):
        ScopeConfig(name=scope, dev_fraction=0.2)


def test_the_guide_has_commands_of_every_data_set() -> None:
    prepared = {command.split()[2] for command in COMMANDS if command.startswith("sefar prepare ")}
    assert prepared == {"finegym", "finediving", "ucf101", "hmdb51", "check"}
