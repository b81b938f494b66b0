"""Trials that several workers train: as one process trains them, stopped, failing and dying without a trace."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studies.engine.session import QUIET  # before Ray, which reads some of these when it is imported

# isort: split
import pandas as pd
import pytest
import ray
import torch.distributed as dist
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sefar.config import TrainConfig
from sefar.errors import DecodeError
from sefar.recipes import recipe
from studies.engine import distributed_trial
from studies.engine.distributed_trial import DistributedTrial, trial_bundles
from studies.engine.resources import Share
from studies.engine.spec import TrialSpec
from studies.engine.trial_run import RunSettings, TrialRun
from studies.engine.workload import SefarWorkload
from studies.results.store import ResultStore
from tests.studies.tiny import spec_with, tiny_config
from tests.studies.toy import ToyTrainer, ToyWorkload

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
STOPPED, BROKEN, ALONE, DRIVERLESS, DOOMED = range(5)  # seeds of toys


def once(name: str) -> bool:
    """Whether the drill of this name is on, for the first time."""
    folder = os.environ["SEFAR_DRILL"]
    try:
        os.rename(f"{folder}/{name}", f"{folder}/{name}-done")
    except OSError:
        return False
    return True


class Drilled:
    """A trainer that fails after its first epoch if it is told to."""

    def __init__(self, trainer: Any, rank: int) -> None:
        self._trainer, self._rank = trainer, rank

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def train_epoch(self) -> Any:
        if self._trainer.epoch == 1 and once(f"die-{self._rank}"):
            os._exit(9)
        return self._trainer.train_epoch()


class DrilledSefar(SefarWorkload):
    def trainer(self, config, processes=1, *, world=None, device=None):
        return Drilled(super().trainer(config, processes, world=world, device=device), world.rank if world else -1)


class DrilledToy(ToyWorkload):
    """Toys that wait for each other as real trainers do; the seed says what befalls them."""

    def trainer(self, config, processes=1, *, world=None, device=None):
        return DrilledToyTrainer(config, world.rank)


class DrilledToyTrainer(ToyTrainer):
    def __init__(self, config: TrainConfig, rank: int) -> None:
        super().__init__(config)
        self.rank = rank

    def train_epoch(self) -> Any:
        if self.epoch == 1:
            if self.config.seed == ALONE and self.rank == 1:
                distributed_trial.ALONE_SECONDS = 1.0
                raise DecodeError("clips/b.mp4: no such file")
            if self.config.seed == DOOMED and self.rank == 0:
                os._exit(9)
            time.sleep(2 if self.config.seed == DRIVERLESS else 0)
        dist.barrier()
        return super().train_epoch()


class Driver(DistributedTrial):
    """Gives up sooner than the real one."""

    def setup(self, config: dict[str, Any]) -> None:
        distributed_trial.GROUP_DEATHS = 1
        distributed_trial.FAREWELL_SECONDS = 2.0
        super().setup(config)


def toy_spec(trial_id: str, seed: int, scope: str = "synthgym/event:FX@1pc#0") -> TrialSpec:
    base = {"optim.epochs": 4, "objective.warmup_epochs": 0, "seed": seed, "scope.name": scope}
    return spec_with(recipe("synthgym_tiny", base), trial_id)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drill")


@pytest.fixture(scope="module")
def cluster(drill: Path) -> Iterator[None]:
    ray.init(
        address="local",  # else it joins whatever runs on this machine
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
        runtime_env={"env_vars": {**QUIET, "PYTHONPATH": str(ROOT), "SEFAR_DRILL": str(drill)}},
    )
    try:
        yield
    finally:
        ray.shutdown()


def run(
    store: Path, specs: list[TrialSpec], workload: str, tmp_path: Path, *, scheduler: Any = None, on_result: Any = None
) -> tuple[ResultStore, Any]:
    """The specs as trials of two workers."""

    class Told(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            if on_result is not None:
                on_result(trial, result)

    made = ResultStore(str(store), create=True)
    settings = RunSettings(store=made.uri, workload=workload, workers=2)
    results = tune.Tuner(
        tune.with_resources(Driver, trial_bundles(Share(cpus=1, gpus=0.0, concurrency=1, workers=2))),
        param_space={
            "settings": settings.to_json(),
            "planned": len(specs),
            "spec": tune.grid_search([spec.to_json() for spec in specs]),
        },
        tune_config=tune.TuneConfig(
            max_concurrent_trials=1,
            reuse_actors=True,
            scheduler=scheduler,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="x",
            storage_path=str(tmp_path / "tune"),
            verbose=0,
            callbacks=[Told()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    return made, results


def held() -> tuple[list[str], float]:
    """Placement groups that are there, and cores that are taken."""
    groups = [group["state"] for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"]
    return groups, ray.cluster_resources()["CPU"] - ray.available_resources().get("CPU", 0.0)


def nothing_held(seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while held() != ([], 0.0) and time.monotonic() < end:
        time.sleep(0.2)
    return held() == ([], 0.0)


def test_two_workers_train_as_one_process_even_when_one_is_killed(cluster, drill, tmp_path):
    config = tiny_config(tmp_path / "data")
    SefarWorkload().prepare(config)
    alone = ResultStore(str(tmp_path / "alone"), create=True)
    inline = TrialRun(spec_with(config, "t"), RunSettings(store=alone.uri), 1)
    while not inline.step()["done"]:
        pass
    inline.close()
    (drill / "die-1").touch()  # the second worker, amid the trial
    drilled = "tests.studies.test_distributed_trial:DrilledSefar"
    store, _ = run(tmp_path / "store", [spec_with(config, "killed"), spec_with(config, "t")], drilled, tmp_path)
    assert (drill / "die-1-done").exists()
    expected = alone.epochs()
    for trial_id in ("killed", "t"):
        (row,) = store.trials(trial_id=trial_id).to_dict("records")
        (wanted,) = alone.trials().to_dict("records")
        assert pd.isna(row["error"]), row["error"]
        assert (row["status"], row["workers"], row["device"], row["epochs_done"]) == ("finished", 2, "cpu", 3)
        assert (row["split_hash"], row["config_hash"]) == (wanted["split_hash"], wanted["config_hash"])
        assert row["test_student_top1"] == pytest.approx(wanted["test_student_top1"], abs=9)  # one clip of 12
        epochs = store.epochs(trial_id=trial_id)
        assert epochs.epoch.tolist() == [1, 2, 3]
        losses = ["total_loss", "supervised_loss", "unlabelled_loss", "mixed_loss", "confidence_mean"]
        pd.testing.assert_frame_equal(epochs[losses], expected[losses], rtol=1e-4, atol=1e-6, check_exact=False)
        assert len(store.predictions(trial_id=trial_id)) == len(alone.predictions())
    assert store.epochs(trial_id="killed").attempt.tolist() == [1, 2, 2]
    assert store.epochs(trial_id="t").attempt.tolist() == [1, 1, 1]
    assert nothing_held()
    assert not list((tmp_path / "store.work").rglob("*.pt"))


class StopsAfterTwo(FIFOScheduler):
    """Stops the trial of that name as ASHA would."""

    def on_trial_result(self, tune_controller, trial, result):
        stopped = TrialSpec.from_json(trial.config["spec"]).trial_id == "stopped"
        return TrialScheduler.STOP if stopped and result["epoch"] == 2 else TrialScheduler.CONTINUE


def test_trials_that_end_otherwise_leave_nothing_behind(cluster, tmp_path):
    """Each would keep the next from ever starting if it kept its cores."""
    killed: list[int] = []
    seen: dict[str, list[Any]] = {}

    def watch(trial: Any, result: dict[str, Any]) -> None:
        name = TrialSpec.from_json(trial.config["spec"]).trial_id
        seen.setdefault(name, []).append(result.get("failed") or result["epoch"])
        if name == "driverless" and not killed:
            os.kill(result["pid"], signal.SIGKILL)  # its workers are in the middle of the second epoch
            killed.append(result["pid"])

    specs = [
        toy_spec("stopped", STOPPED),
        toy_spec("broken", BROKEN, "synthgym/set:broken"),
        toy_spec("alone", ALONE),
        toy_spec("doomed", DOOMED),
        toy_spec("driverless", DRIVERLESS),
    ]
    drilled = "tests.studies.test_distributed_trial:DrilledToy"
    store, results = run(tmp_path / "store", specs, drilled, tmp_path, scheduler=StopsAfterTwo(), on_result=watch)
    assert nothing_held()
    assert results.num_errors == 0 and len(killed) == 1
    rows = store.trials().set_index("trial_id")
    epochs = store.epochs().groupby("trial_id").epoch.agg(list).to_dict()
    assert epochs["stopped"] == [1, 2] and rows.status["stopped"] == "running"  # Bookkeeper would say: pruned
    assert seen["broken"] == [rows.error["broken"]] and "clips/a.mp4: frame 3" in rows.error["broken"]
    assert rows.error["alone"].startswith("worker 1 on host ") and rows.error["alone"].endswith("b.mp4: no such file")
    assert seen["alone"] == [1, rows.error["alone"]]
    assert rows.status["driverless"] == "finished" and epochs["driverless"] == [1, 2, 3, 4] == seen["driverless"]
    assert rows.attempt["driverless"] == 2
    assert rows.error["doomed"].startswith("worker 0 of the trial died, perhaps") and seen["doomed"] == [
        1,
        rows.error["doomed"],
    ]
    assert rows.attempt["doomed"] == 2
    assert rows.status[["broken", "alone", "doomed"]].tolist() == ["failed"] * 3
