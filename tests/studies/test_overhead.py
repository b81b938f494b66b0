"""What a trial costs beyond its training: the arithmetic, and that trials of each kind are measured."""

from __future__ import annotations

import json

import pytest

from sefar.config import TrainConfig
from studies.engine import overhead
from studies.engine.distributed_trial import _why
from studies.engine.overhead import FOLDER, TimedWorkload
from tests.studies.tiny import tiny_config


def test_time_that_the_trainer_is_not_at_work(tmp_path):
    calls = {
        "0": [["train_epoch", 103.0, 104.0], ["evaluate", 104.5, 105.0]],  # 3 s until it began, 0.5 s of writing
        "1": [["train_epoch", 105.75, 106.0], ["train_epoch", 106.0, 108.0], ["evaluate", 108.25, 109.0]],
    }
    for seed, lines in calls.items():
        (tmp_path / f"{seed}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert overhead._beyond_training(tmp_path, 100.0) == [3.5, 1.0]


@pytest.mark.slow
def test_trainers_note_when_they_are_at_work(tmp_path, monkeypatch):
    config = tiny_config(tmp_path / "data", {"optim.epochs": 1, "objective.warmup_epochs": 0})
    workload = TimedWorkload()
    workload.prepare(config)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    trainer = workload.trainer(TrainConfig.from_dict(config.to_dict()))
    report = trainer.train_epoch()
    trainer.evaluate("test")
    trainer.close()
    ((train, evaluate),) = overhead._calls(tmp_path)
    assert (train[0], evaluate[0]) == ("train_epoch", "evaluate") and train[1] < train[2] <= evaluate[1] < evaluate[2]
    assert report.epoch == 1 and trainer.epochs == 1  # all else is the trainer's own


@pytest.mark.slow
@pytest.mark.ray
def test_trials_as_functions_and_as_a_reused_actor(synthgym_root):
    for function in (False, True):
        beyond = overhead.measure(trials=2, epochs=1, workers=1, root=synthgym_root, function=function)
        assert len(beyond) == 2 and all(0 < seconds < 120 for seconds in beyond)


@pytest.mark.slow
def test_what_a_trial_writes_takes_time(synthgym_root):
    found = overhead.measure_writes(epochs=3, root=synthgym_root)
    assert 0 < found < 60


# --- why a group of workers ended ----------------------------------------------------------------------------------


class Lost(Exception):
    """As Ray Train's WorkerGroupError."""

    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("Training failed due to worker errors:\n" + "…" * 1000)
        self.worker_failures = failures


def test_the_cause_is_named_before_what_followed_from_it():
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

    missed = RuntimeError("[gloo] Connection closed by peer")
    dead = WorkerHealthCheckFailedError("A worker health check failed.\nWorker info: …", ValueError())
    assert _why(Lost({0: missed, 1: dead})) == (
        "worker 1 of the trial died, perhaps for want of memory or with its node"
    )
    cause = UserExceptionWithTraceback(ValueError("shapes\ndiffer"), "Traceback (most recent call last):\n…")
    assert _why(Lost({0: missed, 1: cause})) == "worker 1: ValueError: shapes differ"
    assert _why(Lost({0: missed})) == "worker 0: RuntimeError: [gloo] Connection closed by peer"
    assert _why(RuntimeError("no nodes")) == "RuntimeError: no nodes"
    assert _why(None) == "its workers left before the end"
