from __future__ import annotations

import dataclasses
import gc
import math
import pickle
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

from sefar.config import TrainConfig
from sefar.data.scopes import Scope, load_scope
from sefar.errors import CheckpointError, DecodeError, TrainingError
from sefar.recipes import with_method
from sefar.training.checkpoint import load_checkpoint, save_checkpoint
from sefar.training.trainer import EpochReport, Trainer

TIMES = ("train_seconds", "data_wait_seconds", "eval_seconds", "clips_per_second")


def losses(report: EpochReport) -> dict[str, float]:
    return {k: v for k, v in report.to_dict().items() if k not in TIMES and not math.isnan(v)}


def run(config: TrainConfig, scope: Scope) -> tuple[list[dict[str, float]], Trainer]:
    trainer = Trainer(config, scope, device="cpu")
    return [losses(report) for report in trainer], trainer


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_same_seed_same_losses_whatever_the_workers(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    first, trainer = run(tiny_config, tiny_scope)
    second, _ = run(tiny_config.override({"loader.workers": 0}), tiny_scope)
    assert first == second
    assert [r["epoch"] for r in first] == [1, 2, 3]
    assert "unlabelled_loss" not in first[0]
    assert first[0]["ramp"] == 0
    assert first[2]["ramp"] == 1
    assert first[2]["mixed_loss"] > 0
    other, _ = run(tiny_config.override({"seed": 1}), tiny_scope)
    assert other[0]["total_loss"] != first[0]["total_loss"]
    assert trainer.teacher is not None
    assert not same_weights(trainer.student, trainer.teacher)


@pytest.mark.parametrize("stop_step", [1, 2, 3, 5])
def test_resume_at_any_step_equals_the_uninterrupted_run(
    tiny_config: TrainConfig, tiny_scope: Scope, tmp_path: Path, stop_step: int
) -> None:
    config = tiny_config.override({"weighting.kind": "softmatch", "seed": 5})
    whole_reports, whole = run(config, tiny_scope)

    class Stop(Exception):
        pass

    class Interrupted(Trainer):
        def train_step(self, micro_batches: list) -> float:  # type: ignore[type-arg]
            if self.step == stop_step:
                raise Stop
            return super().train_step(micro_batches)

    torn = Interrupted(config, tiny_scope, device="cpu")
    reports = []
    with pytest.raises(Stop):
        reports.extend(losses(r) for r in torn)
    save_checkpoint(tmp_path / "c.pt", torn.state_dict())
    resumed = Trainer(config, tiny_scope, device="cpu")
    resumed.load_state_dict(load_checkpoint(tmp_path / "c.pt"))
    done = stop_step // 2
    assert [losses(r) for r in resumed] == whole_reports[done:]
    assert same_weights(resumed.student, whole.student)
    assert resumed.teacher is not None
    assert whole.teacher is not None
    assert same_weights(resumed.teacher, whole.teacher)
    first, second = whole.evaluate("test"), resumed.evaluate("test")
    assert first.metrics == second.metrics
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    pd.testing.assert_frame_equal(whole.regulation(), resumed.regulation())


def test_supervised_loads_no_unlabelled_clip_and_has_no_teacher(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    reports, trainer = run(with_method(tiny_config, "supervised"), tiny_scope)
    assert trainer.teacher is None
    assert not trainer.source.unlabelled.store._open.keys() & {
        f"{p}#0-{e}" for p, e in zip(tiny_scope.unlabelled.path, tiny_scope.unlabelled.end_frame, strict=True)
    }
    assert "dev_teacher_top1" not in reports[-1]
    evaluation = trainer.evaluate("test")
    assert "teacher_top1" not in evaluation.metrics
    assert evaluation.predictions.teacher_top5.isna().all()


def test_fixmatch_teacher_is_the_student(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    _, trainer = run(with_method(tiny_config, "fixmatch"), tiny_scope)
    assert trainer.teacher is not None
    assert same_weights(trainer.student, trainer.teacher)


def test_accumulated_batches_make_one_step(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    config = with_method(tiny_config, "supervised").override({"optim.accumulate": 2})
    trainer = Trainer(config, tiny_scope, device="cpu")
    next(iter(trainer))
    assert trainer.step == trainer.steps_per_epoch == 2


def test_predictions_name_clips_and_windows(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    trainer = Trainer(tiny_config, tiny_scope, device="cpu")
    trainer.train_epoch()
    table = trainer.evaluate("test").predictions
    assert table.clip_id.tolist() == tiny_scope.test.clip_id.tolist()
    assert {"path", "start_frame", "end_frame", "label", "confidence", "spread"} <= set(table.columns)
    assert all(len(top) == 5 for top in table.student_top5)
    assert table.confidence.between(1 / 12, 1).all()


def test_a_state_of_the_warm_up_has_no_teacher(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    begun = Trainer(tiny_config, tiny_scope, device="cpu").state_dict()
    trainer = Trainer(tiny_config, tiny_scope, device="cpu")
    trainer.train_epoch()
    trainer.train_epoch()
    assert trainer.teacher is not None
    trainer.load_state_dict(begun)
    assert trainer.teacher is None and trainer.step == 0


def test_closing_after_an_error_ends_the_loaders_threads(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    gc.collect()  # trainers that nobody closed
    before = len(threading.enumerate())
    trainer = Trainer(tiny_config.override({"loader.workers": 2}), tiny_scope, device="cpu")
    with torch.no_grad():
        trainer.student.fc.weight.fill_(float("nan"))
    with pytest.raises(TrainingError):
        trainer.train_epoch()
    assert len(threading.enumerate()) > before
    trainer.close()
    assert len(threading.enumerate()) == before


def test_a_checkpoint_of_another_run_is_refused(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    state = Trainer(tiny_config, tiny_scope, device="cpu").state_dict()
    other = Trainer(tiny_config.override({"seed": 9}), tiny_scope, device="cpu")
    with pytest.raises(CheckpointError, match="of another config"):
        other.load_state_dict(state)


def test_a_checkpoint_with_other_clips_at_hand_is_refused(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    state = Trainer(tiny_config, tiny_scope, device="cpu").state_dict()
    fewer = dataclasses.replace(tiny_scope, available_hash="0123456789ab")
    with pytest.raises(CheckpointError, match=r"of another set of clips at hand \(.*, expected 0123456789ab\)"):
        Trainer(tiny_config, fewer, device="cpu").load_state_dict(state)


def test_without_dev_clips_the_report_says_nothing_of_them(tiny_config: TrainConfig) -> None:
    config = tiny_config.override({"scope.dev_fraction": 0})
    report = Trainer(config, load_scope(config.scope, progress=False), device="cpu").train_epoch()
    assert math.isnan(report.dev_student_top1) and math.isnan(report.dev_student_mean_class)
    assert report.total_loss > 0


@pytest.mark.parametrize("step", [0, 2])
def test_non_finite_loss_stops_with_all_the_clips(tiny_config: TrainConfig, tiny_scope: Scope, step: int) -> None:
    trainer = Trainer(tiny_config, tiny_scope, device="cpu")
    if step:
        trainer.train_epoch()  # the warm-up
    with torch.no_grad():
        trainer.student.fc.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=rf"not finite at step {step} .*fx-.*, …$") as caught:
        trainer.train_epoch()
    batch = trainer.source.batch(step, with_unlabelled=step > 0)
    assert len(batch.clip_ids) == (16 if step else 4)
    assert caught.value.clip_ids == batch.clip_ids
    assert sum(name in str(caught.value) for name in set(batch.clip_ids)) <= 8
    again = pickle.loads(pickle.dumps(caught.value))  # as between processes
    assert (str(again), again.clip_ids) == (str(caught.value), batch.clip_ids)
    assert trainer.step == step  # the step was not taken


def test_a_clip_that_does_not_decode_is_named(tiny_config: TrainConfig, tiny_scope: Scope, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    labelled = tiny_scope.labelled.assign(path=str(broken))
    scope = Scope(**{**vars(tiny_scope), "labelled": labelled})
    with pytest.raises(DecodeError, match=r"broken\.mp4: does not decode"):
        Trainer(tiny_config, scope, device="cpu").train_epoch()


def test_checkpoints_refuse_foreign_and_torn_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"a": 1}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this software"):
        load_checkpoint(tmp_path / "foreign.pt")
    save_checkpoint(tmp_path / "good.pt", {"x": torch.ones(1000)})
    (tmp_path / "torn.pt").write_bytes((tmp_path / "good.pt").read_bytes()[:1500])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(tmp_path / "torn.pt")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"x": 1})

    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(path, {"x": 2})
    assert load_checkpoint(path)["x"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
