from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sefar import cli
from sefar.config import TrainConfig
from sefar.data.decode import decode_clip
from sefar.data.quarantine import quarantined, write_quarantine
from sefar.data.scopes import ScopeConfig, load_scope
from sefar.data.synthgym import SynthGymConfig, dataset_dir
from sefar.errors import DataError

ROOT = Path(__file__).resolve().parents[1]
SCOPE = "synthgym/set:FX_saltos"
FEW = ["--size", "64", "--train-clips-per-element", "3", "--test-clips-per-element", "1"]
# one labelled clip of each of 4 elements, one for dev, one unlabelled; two epochs of one step after one of warm-up
TINY = {
    "scope.name": f"{SCOPE}@1pc#0",
    "scope.synthgym.size": 64,
    "scope.synthgym.train_clips_per_element": 3,
    "scope.synthgym.test_clips_per_element": 1,
    "optim.epochs": 2,
    "optim.steps_per_epoch": 1,
    "objective.warmup_epochs": 1,
    "loader.labelled": 2,
    "evaluation.views": 1,
    "model.pretrained": "none",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEFAR_TRACEBACK", raising=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def sefar(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["sefar", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def settings(root: Path, **changes: object) -> list[str]:
    """TINY as ``--set`` arguments."""
    values = TINY | {"scope.root": root} | {key.replace("__", "."): value for key, value in changes.items()}
    return ["--device", "cpu", "--set", *(f"{key}={value}" for key, value in values.items())]


# prepare


def test_prepare_renders_the_clips_of_a_scope(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    command = ["prepare", "synthgym", "--root", root, *FEW, "--scope", SCOPE, "--workers", 1]
    assert sefar(monkeypatch, *command) == 0
    config = SynthGymConfig(size=64, train_clips_per_element=3, test_clips_per_element=1)
    folder = dataset_dir(root, config)
    assert capsys.readouterr().out == f"16 clips of 4 elements in {folder}\n"
    assert caplog.text == ""  # such as that every clip is labelled
    clips = sorted(folder.rglob("*.mp4"))
    assert len(clips) == 16
    assert decode_clip(clips[0], 0, 1).shape == (1, 64, 64, 3)
    before = [clip.stat().st_mtime_ns for clip in clips]
    assert sefar(monkeypatch, *command) == 0
    assert [clip.stat().st_mtime_ns for clip in clips] == before
    # and they are the clips that a label scope of the subset uses
    scope = load_scope(ScopeConfig(name=f"{SCOPE}@1pc#0", root=str(root), synthgym=config), progress=False)
    used = {path for part in (scope.labelled, scope.unlabelled, scope.dev, scope.test) for path in part.path}
    assert used == set(map(str, clips))


def test_prepare_needs_no_clip_to_choose_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set that is too small to train on can be rendered and looked at all the same."""
    few = ["--size", 64, "--train-clips-per-element", 1, "--test-clips-per-element", 1]
    assert sefar(monkeypatch, "prepare", "synthgym", "--root", tmp_path, *few, "--scope", SCOPE) == 0
    assert capsys.readouterr().out.startswith("8 clips of 4 elements in ")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--size", "65"], "size must be even and at least 64 pixels (yuv420 video), got 65"),
        (["--difficulty", "heavy"], "unknown difficulty 'heavy'"),
        (["--scope", "synthgym/event:FZ"], "scope 'synthgym/event:FZ': synthgym has no 'event:FZ' — did you mean"),
        (["--scope", "synthgim/all"], "unknown data set 'synthgim' — did you mean 'synthgym'?"),
        (["--scope", "lists:/data/x"], "--scope: expected synthgym/…, got 'lists:/data/x'"),
        (["--test-clips-per-element", "0"], "test_clips_per_element must be at least 1, got 0"),
        (["--root", __file__], "cannot write"),
    ],
)
def test_prepare_errors_are_one_line(
    flags: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sefar(monkeypatch, "prepare", "synthgym", "--root", tmp_path / "data", *flags) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and text in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "data").exists()


# train


def test_train_writes_a_run_refuses_to_overwrite_it_and_resumes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "--out", run, *settings(root)]
    assert sefar(monkeypatch, *command) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["student", "teacher"] and lines[1].startswith("top-1 ")
    assert lines[-1] == f"run folder: {run}"
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in epochs] == [(1, 1), (2, 2)]
    config = TrainConfig.from_dict(json.loads((run / "config.json").read_text()))
    assert {key: config.flatten()[key] for key in TINY} == TINY
    test = json.loads((run / "evaluation-test.json").read_text())
    assert {"student_top1", "teacher_top1"} <= set(test["metrics"])

    before = {path: path.read_bytes() for path in run.iterdir()}
    assert sefar(monkeypatch, *command) == 2
    text = capsys.readouterr().err
    assert text == f"error: {run}: holds a run already; go on with --resume, or give another --out\n"
    assert {path: path.read_bytes() for path in run.iterdir()} == before

    # a finished run resumes to the same result; metrics of an epoch after the checkpoint are trained again
    with (run / "metrics.jsonl").open("a") as out:
        out.write(json.dumps({"epoch": 3}) + '\n{"epoch": 4, "st')
    assert sefar(monkeypatch, *command, "--resume") == 0
    assert [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] == epochs
    assert json.loads((run / "evaluation-test.json").read_text()) == test


def test_an_interrupted_run_resumes_to_the_same_result(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert sefar(monkeypatch, "train", "--out", whole, *settings(root)) == 0
    from sefar.training.trainer import Trainer

    train_epoch = Trainer.train_epoch

    def stopped(self: Trainer) -> object:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return train_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", stopped)
        capsys.readouterr()
        assert sefar(patch, "train", "--out", cut, *settings(root)) == 130
    assert "stopped; what was finished is kept\n" in capsys.readouterr().err
    assert len((cut / "metrics.jsonl").read_text().splitlines()) == 1
    assert not (cut / "evaluation-test.json").exists()
    assert sefar(monkeypatch, "train", "--out", cut, *settings(root), "--resume") == 0

    def losses(run: Path) -> list[tuple[float, ...]]:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [(line["epoch"], line["total_loss"], line["dev_student_top1"]) for line in lines]

    assert losses(cut) == losses(whole)
    assert (cut / "evaluation-test.json").read_text() == (whole / "evaluation-test.json").read_text()


def test_supervised_only(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"objective__warmup_epochs": 0, "optim__epochs": 1}
    run = tmp_path / "run"
    assert sefar(monkeypatch, "train", "--method", "supervised", "--out", run, *settings(root, **changes)) == 0
    assert set(json.loads((run / "evaluation-test.json").read_text())["metrics"]) == {
        "student_top1",
        "student_top5",
        "student_mean_class",
        "student_ece",
    }
    capsys.readouterr()
    assert sefar(monkeypatch, "evaluate", run, "--device", "cpu") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["student"]  # and no column for the teacher


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--set", "optim.epochs"], "--set: expected key=value such as optim.epochs=20, got 'optim.epochs'"),
        (["--set", "optim.epoch=3"], "optim.epoch: unknown configuration key — did you mean 'optim.epochs'?"),
        (["--set", "optim.epochs=three"], "optim.epochs: cannot read a number, boolean or sequence from 'three'"),
        (["--set", "seed=1", "optim.epochs=0"], "optim.epochs: expected an integer ≥ 1, got 0"),
        (["--recipe", "synthgym_tny"], "recipe 'synthgym_tny' is unknown — did you mean 'synthgym_tiny'?"),
        (["-r", "synthgym_tny"], "did you mean 'synthgym_tiny'?"),
        (["--method", "supervized"], "method 'supervized' is unknown — did you mean 'supervised'?"),
        (
            ["--method", "fixmatch_single", "--set", "sampling.frames_per_granularity=(4,8)"],
            "--method fixmatch_single: has one granularity; set sampling.frames_per_granularity to one number",
        ),
        (["--set", "scope.name=synthgym/all@0"], "the label fraction must lie in (0, 1], got 0"),
        (["--set", "scope.name=lists:/nowhere"], "lists:/nowhere: no such folder"),
    ],
)
def test_train_errors_are_one_line(
    flags: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sefar(monkeypatch, "train", "--out", tmp_path / "run", *flags) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and text in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_clip_that_does_not_decode_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.mp4").write_text("not a video")
    (tmp_path / "train.csv").write_text("bad.mp4#0-8 0\nbad.mp4#8-16 0\nbad.mp4#16-24 1\nbad.mp4#24-32 1\n")
    (tmp_path / "test.csv").write_text("bad.mp4#32-40 0\n")
    assert sefar(monkeypatch, "train", "--out", tmp_path / "run", *settings(root, scope__name=f"lists:{tmp_path}")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'bad.mp4'}: does not decode, frames ")


def test_a_run_without_missing_clips_is_allowed_and_counts_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SynthGymConfig(size=64, train_clips_per_element=3, test_clips_per_element=1)
    clip = load_scope(ScopeConfig(name=f"{SCOPE}@1pc#0", root=str(root), synthgym=config), progress=False).test.iloc[0]
    lists = tmp_path / "q" / "list.csv"
    write_quarantine(lists, [quarantined(clip.clip_id, clip.path, clip.start_frame, clip.end_frame, "broken")])
    train = ["train", "--out", tmp_path / "run", "--frame-store-gb", 1]
    assert sefar(monkeypatch, *train, *settings(root, scope__quarantine=lists)) == 2
    said = capsys.readouterr().err
    assert "(1 of 4 test)" in said and "--allow-missing" in said and said.count("\n") == 1
    assert sefar(monkeypatch, *train, "--allow-missing", *settings(root, scope__quarantine=lists)) == 0
    about = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert (about["missing_test"], about["missing_dev"], about["clips"]) == (1, 0, 3)
    config_json = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config_json["scope"]["allow_missing"] is True and config_json["loader"]["frame_store_gb"] == 1.0


# evaluate


def test_evaluate_shows_student_and_teacher_and_writes_tables(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert sefar(monkeypatch, "train", "--out", run, *settings(root)) == 0
    before = (run / "evaluation-test.json").read_text()
    (run / "evaluation-test.json").unlink()
    capsys.readouterr()
    assert sefar(monkeypatch, "evaluate", run, "--device", "cpu") == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == f"{SCOPE}@1pc#0, test: 4 clips of 4 classes, views × crops 1 × 1, epoch 2"
    assert lines[1].split() == ["student", "teacher"]
    assert [line[:18].strip() for line in lines[2:6]] == ["top-1", "top-5", "mean class", "calibration error"]
    assert lines[-1] == f"tables: {run}/*-test.*"
    assert (run / "evaluation-test.json").read_text() == before

    out = tmp_path / "out"
    more = ["--part", "dev", "--out", out, "--set", "evaluation.views=2", "evaluation.crops=3"]
    assert sefar(monkeypatch, "evaluate", run, "--device", "cpu", *more) == 0
    assert "views × crops 2 × 3" in capsys.readouterr().out.splitlines()[0]
    assert json.loads((out / "evaluation-dev.json").read_text())["views"] == 2
    assert not list(run.glob("*-dev.*"))


def test_evaluate_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TrainConfig().to_dict()))
    for arguments, text in (
        ([tmp_path / "none"], "none: no such run folder; `sefar train --out "),
        ([tmp_path], "checkpoint.pt: no such checkpoint; train at least one epoch first"),
        ([tmp_path, "--set", "seed=1"], "--set seed: is fixed once a run is trained; what can be changed: evaluation."),
        ([tmp_path, "--set", "seed"], "--set: expected key=value such as optim.epochs=20, got 'seed'"),
        ([tmp_path, "--set", "evaluation.view=1"], "evaluation.view: unknown configuration key — did you mean"),
        ([tmp_path, "--set", "evaluation.views=0"], "evaluation.views: expected an integer ≥ 1, got 0"),
    ):
        assert sefar(monkeypatch, "evaluate", *arguments) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ") and text in said.err and said.err.count("\n") == 1
        assert said.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


# The frame around the commands


def test_parse_overrides() -> None:
    assert cli.parse_overrides(("a.b=1", "c=x=y", "d=")) == {"a.b": "1", "c": "x=y", "d": ""}
    assert cli.parse_overrides(()) == {}


def test_only_errors_meant_for_users_lose_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: BaseException) -> None:
        raise error

    assert cli.run_reporting_errors(lambda: None) == 0
    assert cli.run_reporting_errors(lambda: fail(DataError("x.csv:3: expected y"))) == 2
    assert capsys.readouterr().err == "error: x.csv:3: expected y\n"
    assert cli.run_reporting_errors(lambda: fail(KeyboardInterrupt())) == 130
    capsys.readouterr()
    assert cli.run_reporting_errors(lambda: fail(PermissionError(13, "Permission denied", "/x"))) == 2
    assert capsys.readouterr().err == "error: /x: Permission denied\n"
    with pytest.raises(OSError, match="of no file"):
        cli.run_reporting_errors(lambda: fail(OSError("of no file")))
    with pytest.raises(ZeroDivisionError):
        cli.run_reporting_errors(lambda: fail(ZeroDivisionError()))
    with pytest.raises(DataError):
        cli.run_reporting_errors(lambda: fail(DataError("x")), traceback=True)
    for value, raises in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("SEFAR_TRACEBACK", value)
        if raises:
            with pytest.raises(DataError):
                cli.run_reporting_errors(lambda: fail(DataError("x")))
        else:
            assert cli.run_reporting_errors(lambda: fail(DataError("x"))) == 2


@pytest.mark.parametrize("flags", [[], ["--traceback"]])
def test_a_process_shows_a_traceback_only_when_asked(flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sefar.cli", "train", "--recipe", "nothing", "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout == ""
    if flags:
        assert done.returncode == 1
        assert "Traceback (most recent call last)" in done.stderr and "in recipe" in done.stderr
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("error: recipe 'nothing' is unknown") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["prepar"], ["prepare", "synthgm"], ["train", "--epochs", "3"], ["evaluate"], []]
)
def test_unknown_commands_and_flags_exit_with_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sefar(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.out + said.err
