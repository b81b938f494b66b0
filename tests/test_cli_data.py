"""`sefar scopes`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sefar import cli


def scopes(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sefar", "scopes", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """UCF101 of two classes of two groups of two clips, and a test clip each; split 3 has a malformed row."""
    folder = tmp_path / "ucf101" / "annotations"
    folder.mkdir(parents=True)
    names = ("Archery", "Bowling")
    (folder / "classInd.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(names, 1)))
    for n in (1, 2, 3):
        train = [f"{c}/v_{c}_g0{g}_c0{i}.avi {k}" for k, c in enumerate(names, 1) for g in (2, 3) for i in (1, 2)]
        (folder / f"trainlist0{n}.txt").write_text("\n".join([*train, "Archery"] if n == 3 else train) + "\n")
        (folder / f"testlist0{n}.txt").write_text("".join(f"{c}/v_{c}_g01_c01.avi\n" for c in names))
    return tmp_path


def test_a_data_set_is_a_table(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert scopes(monkeypatch, "--dataset", "ucf101", "--root", root, "--dev-fraction", 0.5) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("scope  ") and lines[0].endswith("missing classes  split hash")
    assert [line.split()[:8] for line in lines[1:4]] == [
        [f"ucf101/split{n}", "2", "4", "0", "4", "2", "2", "0"] for n in (1, 2, 3)
    ]
    assert {line[: len(lines[0]) - len("split hash")][-3:] for line in lines[1:4]} == {"0  "}  # aligned
    refused = lines.index("ucf101/split3: training refuses these files until mended")
    assert "trainlist03.txt:9" in lines[refused + 1]
    assert lines[-1] == "all findings: --json"


def test_faults_that_show_side_by_side(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    clips = [f"/v/v_{c}_g0{g}_c01.avi {k}" for k, c in enumerate(("Archery", "Bowling")) for g in (1, 2)]
    (folder / "train.csv").write_text("".join(f"{row}\n" for row in clips[1::2]))
    (folder / "test.csv").write_text("".join(f"{row}\n" for row in clips[::2]))
    names = [f"lists:{folder}", "ucf101/split1"]
    assert scopes(monkeypatch, *names, "--root", root, "--dev-fraction", 0) == 0
    said = capsys.readouterr().out.splitlines()
    pair = said.index(f"lists:{folder} beside ucf101/split1: findings")
    assert said[pair + 1] == "  label offset: 1; 4 clips: labels are the data set's own minus 1"


def test_released_lists_beside_their_data_set(
    released_lists: Path, real_annotations: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = released_lists / "finegym" / "UB_10"
    names = [f"lists:{lists}", "finegym/gym99", "finegym/gym288"]
    assert scopes(monkeypatch, *names, "--annotations", real_annotations / "finegym", "--json") == 0
    found = [f for f in json.loads(capsys.readouterr().out)["findings"] if " beside " in f["source"]]
    crossed = [f["kind"] for f in found if f["source"] == "finegym/gym99 beside finegym/gym288"]
    assert [crossed.count(kind) for kind in sorted(set(crossed))] == [99, 99]
    assert [f["message"] for f in found if f["source"] == f"lists:{lists} beside finegym/gym99"] == [
        "labels are the data set's own minus 74"
    ]


def test_names_that_are_no_text_are_printed_all_the_same(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        (tmp_path / part / "a" / f"{part}.mp4").touch()
    (tmp_path / "train" / "a" / os.fsdecode(b"\xe9.mp4")).mkdir()
    command = [sys.executable, "-m", "sefar.cli", "scopes", f"folders:{tmp_path}", "--dev-fraction", "0"]
    for more in ([], ["--json"]):
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run([*command, *more], capture_output=True, text=True, env=environment, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert r"train/a/\udce9.mp4" in done.stdout


def test_json_holds_everything(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["ucf101/split1@0.25#1", "ucf101/split3@1pc", "ucf101/split4"]
    assert scopes(monkeypatch, *names, "--root", root, "--json") == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == "error: 1 of 3 scopes cannot be resolved\n"
    first, second, third = found["scopes"]
    assert (first["scope"], first["labelled"], first["unlabelled"], first["test"]) == (names[0], 2, 4, 2)
    assert first["missing classes"] == [] and first["smallest class"] == 1 and len(first["split hash"]) == 12
    assert second["labelled"] == 2
    assert "ucf101 has no 'split4'" in third["error"]
    fatal = [f for f in found["findings"] if f["fatal"] and f["kind"] == "malformed row"]
    assert [(f["source"], f["where"]) for f in fatal] == [("ucf101/split3", "trainlist03.txt:9")]


def test_without_annotations_it_says_what_is_needed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scopes(monkeypatch, "--root", root) == 0
    said = capsys.readouterr().out
    for text in (
        "synthgym: all, core, pairs, event:VT,",
        "finegym: gym99, gym288, event:VT, event:FX, event:BB, event:UB, set:VT-S1,",
        f"needs gym99_*, gym288_* and set_categories.txt of the FineGym project page, to be put into {root}/finegym/",
        "finediving: all, 10m, 5253B",
        f"found in {root}/ucf101/annotations",
    ):
        assert text in said
    assert scopes(monkeypatch, "--dataset", "hmdb51", "--root", root) == 0
    assert capsys.readouterr().out.strip().startswith("hmdb51: split1, split2, split3\n  needs ")
    assert scopes(monkeypatch, "--dataset", "hmdb51", "--root", root, "--json") == 0
    (known,) = json.loads(capsys.readouterr().out)["known"]
    assert known["scopes"] == ["hmdb51/split1", "hmdb51/split2", "hmdb51/split3"] and known["found"] is False


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--annotations", "x"], "--annotations: say of which data set, with --dataset or with names of scopes"),
        (["ucf101/split4"], "scope 'ucf101/split4': ucf101 has no 'split4'"),
        (["hmdb51/split1"], "hmdb51"),
        (["synthgym/core", "--dev-fraction", "1"], "scope.dev_fraction: expected a share in [0, 1), got 1"),
        (["lists:x", "--path-prefix", "/a"], "scope.path_prefix: expected OLD=NEW such as /data=/mnt/clips, got '/a'"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], text: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scopes(monkeypatch, *arguments, "--root", root) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and text in said and said.count("\n") == 1
