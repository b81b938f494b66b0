"""Evaluating a run folder: the files, what may be changed, and what is said of a folder that is not as it should be."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sefar.config import TrainConfig
from sefar.data.quarantine import quarantined, write_quarantine
from sefar.data.scopes import Scope
from sefar.errors import SefarError
from sefar.training import evaluate_run as module
from sefar.training.evaluate_run import evaluate_run
from sefar.training.evaluation_files import summary
from sefar.training.run import train_in_folder

FILES = ["confusion", "evaluation", "per_class", "predictions", "pseudo_labels", "reliability"]


@pytest.fixture(scope="module")
def trained(tiny_config: TrainConfig, tiny_scope: Scope, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_in_folder(tiny_config.override({"optim.epochs": 2}), folder, resume=False, device="cpu")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy to spoil, with what resuming and evaluating need."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "checkpoint.pt"):
        shutil.copy(trained / name, folder)
    return folder


def test_it_finds_what_training_found(trained: Path, run: Path) -> None:
    evaluation, about = evaluate_run(run, "test", device="cpu")
    assert about["epoch"] == 2 and about["step"] == 4
    for name in FILES:
        (ours,) = run.glob(f"{name}-test.*")
        assert ours.read_bytes() == (trained / ours.name).read_bytes()
    content = json.loads((run / "evaluation-test.json").read_text())
    assert content == {"part": "test", **about, "metrics": evaluation.metrics}
    assert [content[f"missing_{part}"] for part in ("labelled", "unlabelled", "dev", "test")] == [0] * 4


def test_missing_test_clips_are_counted_and_the_rest_evaluated(run: Path, tiny_scope: Scope, tmp_path: Path) -> None:
    quarantine = tmp_path / "q" / "list.csv"
    clip = tiny_scope.test.iloc[0]
    write_quarantine(quarantine, [quarantined(clip.clip_id, clip.path, clip.start_frame, clip.end_frame, "broken")])
    without = {"scope.quarantine": str(quarantine), "scope.allow_missing": "true"}
    _, about = evaluate_run(run, "test", device="cpu", overrides=without)
    assert (about["missing_test"], about["clips"]) == (1, len(tiny_scope.test) - 1)
    with pytest.raises(SefarError, match="0 clips are absent and 1 quarantined \\(1 of 12 test\\)"):
        evaluate_run(run, "test", device="cpu", overrides={"scope.quarantine": str(quarantine)})


def test_there_may_be_no_dev_clips_to_evaluate(tiny_config: TrainConfig, tmp_path: Path) -> None:
    config = tiny_config.override({"scope.dev_fraction": 0, "optim.epochs": 2, "optim.steps_per_epoch": 1})
    train_in_folder(config, tmp_path, resume=False, device="cpu")
    with pytest.raises(SefarError, match=r"--part dev: the run of .* has no dev clips \(scope.dev_fraction=0\)"):
        evaluate_run(tmp_path, "dev", device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev_student_top1"] for line in lines] == [None, None]


def test_files_hold_every_clip_and_class(run: Path, tiny_scope: Scope) -> None:
    evaluation, about = evaluate_run(run, "dev", device="cpu")
    assert sorted(p.name.partition("-")[0] for p in run.glob("*-dev.*")) == FILES
    assert not list(run.glob("*.part")) and not list(run.glob("*-test.*"))
    assert (about["clips"], about["classes"]) == (len(tiny_scope.dev), 12)

    clips = pd.read_parquet(run / "predictions-dev.parquet")
    assert clips.clip_id.tolist() == tiny_scope.dev.clip_id.tolist()
    assert clips.class_name.tolist() == [tiny_scope.classes[k] for k in clips.label]
    assert clips.teacher_confidence.tolist() == clips.confidence.tolist()
    assert clips.teacher_spread.tolist() == clips.spread.tolist()
    assert clips.student_top1_prob.between(1 / 12, 1).all()

    classes = pd.read_csv(run / "per_class-dev.csv")
    assert classes.class_name.tolist() == tiny_scope.classes
    assert classes.clips.sum() == len(clips)
    assert classes.student_top1.mean() == pytest.approx(evaluation.metrics["student_mean_class"])

    confusion = pd.read_csv(run / "confusion-dev.csv", index_col=["network", "true"])
    assert confusion.columns.tolist() == tiny_scope.classes
    for network in ("student", "teacher"):
        counts_KK = confusion.loc[network].to_numpy()
        assert counts_KK.sum(1).tolist() == classes.clips.tolist()
        assert 100 * np.trace(counts_KK) / len(clips) == pytest.approx(evaluation.metrics[f"{network}_top1"])

    reliability = pd.read_csv(run / "reliability-dev.csv")
    assert reliability.student_clips.sum() == reliability.teacher_clips.sum() == len(clips)
    labels = pd.read_csv(run / "pseudo_labels-dev.csv")
    assert labels.groupby("by").student_clips.sum().tolist() == [len(clips)] * 2
    right = (clips.teacher_pseudo_label == clips.label).mean()
    assert labels.teacher_kept_right_share.iloc[[0, -1]].tolist() == pytest.approx([right] * 2, abs=1e-6)


def test_views_may_be_changed_but_nothing_that_was_trained(run: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    evaluate_run(run, "test", device="cpu", overrides={"evaluation.views": "1"}, out=one)
    evaluate_run(run, "test", device="cpu", overrides={"evaluation.views": "3", "teacher.passes": 2}, out=two)
    contents = [json.loads((folder / "evaluation-test.json").read_text()) for folder in (one, two)]
    assert [content["views"] for content in contents] == [1, 3]
    assert contents[1]["passes"] == 2 and contents[1]["precision"] == "float32"
    assert contents[0]["config_hash"] == contents[1]["config_hash"]
    assert contents[0]["metrics"]["student_ece"] != contents[1]["metrics"]["student_ece"]
    assert sorted(os.listdir(run)) == ["checkpoint.pt", "config.json"]
    for key in ("model.name", "scope.name", "sampling.frames_per_granularity", "evaluations.views", "scope"):
        refused(rf"--set {key}: is fixed once a run is trained; what can be changed: evaluation\.…, ", run, key)


def refused(text: str, folder: Path, override: str = "") -> None:
    with pytest.raises(SefarError, match=text) as caught:
        evaluate_run(folder, "test", device="cpu", overrides={override: 1} if override else {})
    assert "\n" not in str(caught.value)


def spoil_config(**changes: object) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        values = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps(values | changes))

    return spoil


def spoil_state(**changes: object) -> Callable[[Path], None]:
    """Change entries of the checkpoint; None deletes."""

    def spoil(run: Path) -> None:
        state = torch.load(run / "checkpoint.pt", weights_only=True) | changes
        torch.save({k: v for k, v in state.items() if changes.get(k, v) is not None}, run / "checkpoint.pt")

    return spoil


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        (run / name).write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (shutil.rmtree, "run: no such run folder; `sefar train --out .*run` makes one"),
        (lambda run: (run / "config.json").unlink(), r"not a run folder \(no config.json\); give a folder that"),
        (write("config.json", b'{"seed": 1,\n "op'), r"config\.json:2: not JSON \(.*\); restore it from a copy"),
        (write("config.json", b"\xff\xfe"), r"config\.json: not text \(.*\); restore it"),
        (write("config.json", b"[1]"), r"config\.json: expected a table of settings, got list; restore it"),
        (spoil_config(sed=1), r"config\.json: sed: unknown configuration key — did you mean 'seed'"),
        (spoil_config(seed=-1), r"config\.json: seed: expected an integer in"),
        (lambda run: (run / "checkpoint.pt").unlink(), r"checkpoint\.pt: no such checkpoint; train at least one epoch"),
        (write("checkpoint.pt", b"no zip"), r"checkpoint\.pt: truncated or not a checkpoint \(.*\); restore it"),
        (spoil_state(format="x"), r"checkpoint\.pt: not a checkpoint of this software"),
        (spoil_config(seed=7), r"is not of the run of config\.json beside it \(seed 0 there, 7 here\); put the two of"),
        (spoil_state(config=None), r"checkpoint\.pt: holds no configuration, so it is not of `sefar train`; restore"),
        (
            spoil_state(config={"sed": 1}),
            r"checkpoint\.pt: its configuration cannot be read here \(sed: .*update sefar",
        ),
        (spoil_state(split_hash="0"), r"trained on split 0 of 'synthgym/event:FX@1pc#0', but the clips .*restore them"),
        (
            spoil_state(student=None),
            r"checkpoint\.pt: does not fit the network of config\.json \(KeyError: 'student'\)",
        ),
        (spoil_state(student={}), r"checkpoint\.pt: does not fit the network .*RuntimeError: Error.*; restore it"),
        (spoil_state(step="x"), r"checkpoint\.pt: does not fit the network of config\.json \(ValueError"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be(run: Path, spoil: Callable[[Path], None], text: str) -> None:
    spoil(run)
    refused(text, run)
    assert not list(run.glob("*-test.*"))


def test_other_labels_are_another_split(run: Path, tiny_scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(tiny_scope, split_hash="abc")
    monkeypatch.setattr(module, "load_scope", lambda config: other)
    refused(rf"trained on split {tiny_scope.split_hash} of .* now make split abc; restore them or name", run)
    assert not list(run.glob("*-test.*"))


def test_a_folder_that_cannot_be_written_is_said_before_clips_are_looked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(config: object) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr(module, "load_scope", late)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
        refused(r"run: cannot be written \(no permission in .*\); choose another --out", run)
    (tmp_path / "file").touch()
    with pytest.raises(SefarError, match=r"file is not a folder\); choose another --out"):
        evaluate_run(run, "test", device="cpu", out=tmp_path / "file" / "out")
    with pytest.raises(SefarError, match="device: 'cud' cannot be used here"):
        evaluate_run(run, "test", device="cud")


def test_a_full_disk_leaves_no_half_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refused(r"run: cannot be written \(No space left on device\); make room or choose another --out", run)
    assert sorted(os.listdir(run)) == ["checkpoint.pt", "config.json"]


def test_summary_has_a_column_a_network() -> None:
    metrics = {"student_top1": 50.0, "student_top5": 100.0, "student_mean_class": 49.96, "student_ece": 3.14}
    assert summary(metrics).splitlines() == [
        "                     student",
        "top-1                 50.0 %",
        "top-5                100.0 %",
        "mean class            50.0 %",
        "calibration error      3.1 %",
    ]
    teacher = {name.replace("student", "teacher"): value + 1 for name, value in metrics.items()}
    assert summary(metrics | teacher).splitlines()[1] == "top-1                 50.0 %    51.0 %"
