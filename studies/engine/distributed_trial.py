"""The distributed trial: a class Trainable that drives a TorchTrainer, one for each trial, an epoch at a time."""

from __future__ import annotations

import logging
import os
import platform
import re
import threading
import time
from typing import Any

import ray
import torch
from ray import train, tune
from ray.train.torch import TorchConfig, get_device
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.config import FailureConfig

from sefar.config import TrainConfig
from sefar.errors import SefarError, StoreError
from sefar.training.distributed import World
from studies.engine.gate import ALONE_SECONDS, Gate
from studies.engine.group_trainer import ENVIRONMENT, GroupTrainer, beside_driver
from studies.engine.memory import cap_gpu_memory
from studies.engine.resources import HEAD, Share
from studies.engine.spec import TrialSpec
from studies.engine.temporary import make_folder, remove_folder
from studies.engine.trial_run import RunSettings, TrialRun, one_line, trial_row
from studies.engine.worker_group import STEP_TIMEOUT, Leader, Line, follow, lead
from studies.engine.workload import Trains, load_workload
from studies.results.schema import FAILED
from studies.results.store import ResultStore

log = logging.getLogger(__name__)

GROUP_DEATHS = 2  # worker groups in a row, without an epoch between, that may die before the trial counts as failed
FAREWELL_SECONDS = 10.0  # after the run's end, for a worker that another one has left in the middle of a step
CLOSE_SECONDS = 30.0  # for the workers to leave in order
TRAIN = {
    **ENVIRONMENT,
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data roots keep their meaning
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def trial_bundles(share: Share) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial: the driver's place, which is no core and no GPU, and one for each worker."""
    return tune.PlacementGroupFactory([{HEAD: 0.001}, *[_worker_resources(share.cpus, share.gpus)] * share.workers])


def distributed_trainable(share: Share) -> Any:
    """What Tune makes actors of, for trials of that share."""
    return tune.with_resources(DistributedTrial, trial_bundles(share))


def _worker_resources(cpus: float, gpus: float) -> dict[str, float]:
    return {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})


class DistributedTrial(tune.Trainable):
    """Lets a group of workers train, one epoch a step.

    Rank 0 writes the rows and the checkpoint as an inline trial does. A group that dies is replaced by another, which
    goes on from the checkpoint. The actor is reused from trial to trial, its workers are not.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Make the gate; what can fail for a trial's own reasons belongs into `step`."""
        os.environ.update(TRAIN)
        self._gate = ray.remote(Gate).options(**beside_driver()).remote()
        self._drive: _Drive | None = None
        self._planned = config

    def step(self) -> dict[str, Any]:
        """Have the workers train an epoch."""
        if self._drive is None:
            self._drive = _Drive(self._gate, self._planned)
        try:
            return self._drive.step()
        except StoreError as error:
            return {"done": True, "failed": one_line(error), "fatal": True, "epoch": 0}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for the next trial."""
        self.cleanup()
        self._planned = new_config
        return True

    def cleanup(self) -> None:
        """Send the workers home."""
        if self._drive is not None:
            self._drive.close()
            self._drive = None


class _Drive:
    """One trial from the driver's side: its worker groups, one after another."""

    def __init__(self, gate: Any, planned: dict[str, Any]) -> None:
        self._gate, self._planned = gate, planned
        self._spec = TrialSpec.from_json(planned["spec"])
        self._settings = RunSettings.from_json(planned["settings"])
        self._run = f"{re.sub(r'[^A-Za-z0-9_.-]', '-', self._spec.trial_id)}-{os.urandom(4).hex()}"
        self._groups = self._deaths = 0
        self._group: _Group | None = None
        ray.get(gate.begin.remote(self._run))

    def step(self) -> dict[str, Any]:
        """Ask for an epoch and wait for it, over the deaths of groups."""
        asked = self._gate.ask.remote(self._run)
        while True:
            if self._group is None:
                self._groups += 1
                self._group = _Group(f"{self._run}-{self._groups}", self._gate, self._run, self._planned)
            at_work = self._group.thread.is_alive()  # before looking for the answer, which comes before the end
            ready, _ = ray.wait([asked], timeout=0.2)
            if ready:
                self._deaths = 0
                result = ray.get(asked)
                if result.pop("unrecorded", False):
                    self._record(result["failed"])
                return result
            if at_work:
                continue
            error, self._group = self._group.error, None
            self._deaths += 1
            line = _why(error)
            if self._deaths > GROUP_DEATHS:
                self._record(line)
                return {"done": True, "failed": line, "epoch": 0}
            log.warning("trial %s: its workers ended (%s); others take it up", self._spec.trial_id, line)

    def _record(self, line: str) -> None:
        spec, patience = self._spec, self._settings.patience_seconds
        store = ResultStore(self._settings.store, known=True, patience_seconds=patience)
        fresh = trial_row(spec, self._settings, self._planned["planned"])
        writer = store.amend(spec.study, spec.scope, spec.trial_id, {"status": FAILED, "error": line}, fresh)
        if writer is not None:
            writer.flush(patience)

    def close(self) -> None:
        """Send the workers home."""
        ray.get(self._gate.end.remote())
        if self._group is not None:
            self._group.close()


class _Group:
    """A TorchTrainer at work in a thread.

    Args:
        name: of the Train run; a name used before would resume that run.
        gate: where its workers get their steps.
        run: the run they belong to.
        planned: what Tune says of the trial.
    """

    def __init__(self, name: str, gate: Any, run: str, planned: dict[str, Any]) -> None:
        self.error: BaseException | None = None
        self._folder = make_folder("train")
        settings = RunSettings.from_json(planned["settings"])
        self._trainer = GroupTrainer(
            _work,
            train_loop_config={**planned, "gate": gate, "run": run},
            torch_config=TorchConfig(timeout_s=int(STEP_TIMEOUT.total_seconds())),
            scaling_config=train.ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.gpus > 0,
                resources_per_worker=_worker_resources(settings.threads, settings.gpus),
            ),
            run_config=train.RunConfig(
                name=name,
                storage_path=self._folder,  # of nothing but markers: checkpoints lie beside the store
                # groups are replaced by us, who know whether an epoch was finished between two deaths
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        )
        self.thread = threading.Thread(target=self._fit, name=name, daemon=True)
        self.thread.start()

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error
        finally:
            remove_folder(self._folder)

    def close(self) -> None:
        """Wait until the workers have left; those that do not are ended."""
        self.thread.join(CLOSE_SECONDS)
        if self.thread.is_alive():
            self._trainer.kill()
            self.thread.join(CLOSE_SECONDS)


def _why(error: BaseException | None) -> str:
    """What ended a group, in one line: the cause before what followed from it."""
    failures = getattr(error, "worker_failures", None)
    if not failures:
        return one_line(error) if error is not None else "its workers left before the end"
    dead = [rank for rank, failure in failures.items() if isinstance(failure, WorkerHealthCheckFailedError)]
    if dead:
        return f"worker {min(dead)} of the trial died, perhaps for want of memory or with its node"
    errors = {rank: getattr(failure, "_base_exc", failure) for rank, failure in failures.items()}
    rank = min(errors, key=lambda rank: ("onnection" in str(errors[rank]), rank))  # one that lost another comes last
    return f"worker {rank}: {one_line(errors[rank])}"


def _work(config: dict[str, Any]) -> None:
    """What each worker runs."""
    gate, run = config["gate"], config["run"]
    settings, spec = RunSettings.from_json(config["settings"]), TrialSpec.from_json(config["spec"])
    world, device = World.current(), get_device() if settings.gpus else torch.device("cpu")
    torch.set_num_threads(settings.threads)
    cap_gpu_memory(settings)
    done = threading.Event()
    threading.Thread(target=_leave_when_over, args=(gate, run, done), daemon=True).start()
    line = Line()

    def make(trial: TrainConfig) -> Trains:
        return load_workload(settings.workload).trainer(trial, world=world, device=device)

    try:
        if world.rank == 0:
            lead(
                lambda: TrialRun(spec, settings, config["planned"], lambda trial: Leader(make(trial), line)),
                lambda: ray.get(gate.next_step.remote(run)),
                lambda step, result: ray.get(gate.answer.remote(run, step, result)),
            )
            line.send(None)
        else:
            follow(lambda: make(TrainConfig.from_dict(spec.config)), line)
    except SefarError as error:
        where = f"worker {world.rank} on host {platform.node()}"
        ray.get(gate.complain.remote(run, f"{where}: {one_line(error)}", ALONE_SECONDS))
    finally:
        done.set()


def _leave_when_over(gate: Any, run: str, done: threading.Event) -> None:
    """End a worker that waits for one which is gone already."""
    try:
        ray.get(gate.over.remote(run))
    except ray.exceptions.RayError:
        time.sleep(1)  # the driver is gone, and with it the gate
    if not done.wait(FAREWELL_SECONDS):
        os._exit(1)
