"""The inline trial's actor: what it gives back between trials, and what becomes of one that cannot."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.engine.memory import CONTEXT_BYTES, MemoryWatch, cap_gpu_memory
from studies.engine.trial import InlineTrial
from studies.engine.trial_run import RunSettings
from studies.engine.workload import SefarWorkload
from studies.results.store import ResultStore
from tests.studies.test_trial_run import BROKEN, spec_of
from tests.studies.tiny import spec_with, tiny_config
from tests.studies.toy import ToyTrainer, ToyWorkload

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


class Hoarder(ToyTrainer):
    """A trainer that somebody keeps."""

    kept: list[Any] = []  # noqa: RUF012  the leak itself


class HoardingWorkload(ToyWorkload):
    """Leaks the trainers of trials whose seed is 7, and says in which process it ran."""

    def trainer(self, config, processes=1, *, world=None, device=None):
        made = Hoarder(config)
        if config.seed == 7:
            Hoarder.kept.append(made)
        made.device = f"pid {os.getpid()}"
        return made


class CountedSefar(SefarWorkload):
    """The real thing; remembers its trainers without keeping them."""

    made: list[weakref.ref[Any]] = []  # noqa: RUF012

    def trainer(self, config, processes=1, *, world=None, device=None):
        trainer = super().trainer(config, processes, world=world, device=torch.device("cpu"))
        self.made.append(weakref.ref(trainer))
        return trainer


def planned(settings: RunSettings, spec: Any) -> dict[str, Any]:
    return {"settings": settings.to_json(), "spec": spec.to_json(), "planned": 1}


def actor(config: dict[str, Any]) -> InlineTrial:
    trial = object.__new__(InlineTrial)  # without Tune's own set-up
    trial.setup(config)
    return trial


def settings_of(tmp_path: Path, workload: str) -> RunSettings:
    return RunSettings(store=ResultStore(str(tmp_path / "store"), create=True).uri, workload=workload)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_real_trials_in_one_process_give_their_memory_back(tmp_path, caplog):
    config = tiny_config(tmp_path / "data", {"optim.epochs": 2})
    SefarWorkload().prepare(config)
    settings = settings_of(tmp_path, "tests.studies.test_inline_trial:CountedSefar")
    CountedSefar.made.clear()
    trial, resident = actor(planned(settings, spec_with(config, "t0"))), []
    for number in range(6):
        if number:
            assert trial.reset_config(planned(settings, spec_with(config, f"t{number}")))
        assert not trial.step()["done"]
        if number % 3 < 2:  # every third is stopped after its first epoch
            assert trial.step()["done"]
        trial.cleanup()
        assert [ref() for ref in CountedSefar.made] == [None] * (number + 1)
        resident.append(resident_bytes())
    assert "given its memory back" not in caplog.text
    one_trainer = 4 * sum(p.numel() for p in SefarWorkload().trainer(config).student.parameters())
    # student, teacher, gradients, momentum: five trials that leaked would keep twenty times that
    assert resident[-1] - resident[0] < max(10 * one_trainer, 30 * 2**20)
    assert ResultStore(settings.store).trials().status.value_counts().to_dict() == {"finished": 4, "running": 2}


def test_a_failed_trial_gives_its_trainer_back(tmp_path):
    settings = settings_of(tmp_path, "tests.studies.toy:ToyWorkload")
    trial = actor(planned(settings, spec_of(BROKEN)))
    assert "clips/a.mp4" in trial.step()["failed"]
    trainer = weakref.ref(trial._run.trainer)
    trial.cleanup()
    assert trainer() is None
    assert trial.reset_config(planned(settings, spec_of()))
    assert trial.step()["epoch"] == 1


def test_a_trainer_that_somebody_keeps_makes_the_process_useless(tmp_path, caplog):
    settings = settings_of(tmp_path, "tests.studies.test_inline_trial:HoardingWorkload")
    spec = spec_of()
    leaky = replace(spec, config=spec.config | {"seed": 7})
    trial = actor(planned(settings, leaky))
    trial.step()
    assert trial.reset_config(planned(settings, replace(spec, trial_id="next")))
    assert f"trial {spec.trial_id} has ended, but its trainer is still referred to" in caplog.text
    with pytest.raises(RuntimeError, match="has not given its memory back: its trainer is still referred to"):
        trial.step()
    assert ResultStore(settings.store).trials().trial_id.tolist() == [spec.trial_id]  # the next one is untouched
    Hoarder.kept.clear()
    gc.collect()


# --- GPU memory, without a GPU -------------------------------------------------------------------------------------


class FakeCuda:
    """What the code asks of torch.cuda."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int = 80 * GIB) -> None:
        self.allocated, self.fraction = 0, None
        fakes = {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "current_device": lambda: 0,
            "empty_cache": lambda: None,
            "memory_allocated": lambda: self.allocated,
            "get_device_properties": lambda device: type("Properties", (), {"total_memory": total}),
            "set_per_process_memory_fraction": lambda fraction: setattr(self, "fraction", fraction),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)


@pytest.mark.parametrize(
    ("gpus", "asked", "fraction"),
    [
        (1.0, None, None),
        (0.5, None, 0.5 - CONTEXT_BYTES / (80 * GIB)),
        (0.25, 0.4, 0.4),
        (1.0, 0.9, 0.9),
        (0.0, 0.5, None),
    ],
)
def test_a_trial_fills_no_more_than_its_part_of_a_gpu(monkeypatch, gpus, asked, fraction):
    cuda = FakeCuda(monkeypatch)
    cap_gpu_memory(RunSettings(store="x", gpus=gpus, memory_fraction=asked))
    assert cuda.fraction == fraction


def test_the_part_of_a_small_gpu_is_not_eaten_up_by_contexts(monkeypatch):
    cuda = FakeCuda(monkeypatch, total=2 * GIB)
    cap_gpu_memory(RunSettings(store="x", gpus=0.25))
    assert cuda.fraction == 0.125


def test_gpu_memory_that_stays_allocated_is_noticed(monkeypatch):
    cuda, watch = FakeCuda(monkeypatch), MemoryWatch()
    cuda.allocated = 100 * 2**20
    watch.starts()
    cuda.allocated += 32 * 2**20  # as workspaces of libraries do
    watch.ends(None)
    assert watch.still_held() == ""
    cuda.allocated += 200 * 2**20
    assert watch.still_held() == "232 MiB of the GPU are still held"


def test_a_trial_without_enough_gpu_memory_fails_with_a_mend(tmp_path, monkeypatch):
    settings = settings_of(tmp_path, "tests.studies.toy:ToyWorkload")

    def full(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of …")

    monkeypatch.setattr(ToyTrainer, "train_epoch", full)
    result = actor(planned(settings, spec_of())).step()
    assert result["done"] and result["failed"].startswith("CUDA out of memory; give trials more of a GPU with --gpus")
    (row,) = ResultStore(settings.store).trials().to_dict("records")
    assert (row["status"], row["error"]) == ("failed", result["failed"])


# --- under Tune ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[None]:
    import studies.engine.session  # noqa: F401  it sets what Ray reads when it is imported

    import ray  # isort: skip

    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.slow
def test_tune_replaces_an_actor_that_keeps_memory_and_drops_no_trial(cluster, tmp_path):
    from ray import tune

    settings = settings_of(tmp_path, "tests.studies.test_inline_trial:HoardingWorkload")
    spec = spec_of()
    specs = [replace(spec, trial_id=f"t{n}", config=spec.config | {"seed": 7 if n == 1 else n}) for n in range(4)]
    results = tune.Tuner(
        tune.with_resources(InlineTrial, {"cpu": 1}),
        param_space={
            "settings": settings.to_json(),
            "planned": 4,
            "spec": tune.grid_search([s.to_json() for s in specs]),
        },
        tune_config=tune.TuneConfig(
            max_concurrent_trials=1, reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id
        ),
        run_config=tune.RunConfig(
            name="x",
            storage_path=str(tmp_path / "tune"),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert results.num_errors == 0
    trials = ResultStore(settings.store).trials().set_index("trial_id")
    assert (trials.status == "finished").all() and (trials.attempt == 1).all()
    assert json.loads(trials.config_json["t1"])["seed"] == 7 and trials.train_seed["t1"] == 7
    device = trials.device.to_dict()
    assert device["t0"] == device["t1"] != device["t2"] == device["t3"]
