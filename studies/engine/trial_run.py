"""One trial from its first epoch to its test result, with every step of it in the store. Knows nothing of Ray."""

from __future__ import annotations

import json
import logging
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from sefar.config import TrainConfig
from sefar.errors import CheckpointError, SefarError, StoreError
from studies.engine.checkpoints import CheckpointFolder
from studies.engine.spec import TrialSpec
from studies.engine.trial_logs import TrialLogs
from studies.engine.workload import DEFAULT_WORKLOAD, Trains, load_workload
from studies.results.schema import FAILED, FINISHED, METRIC, RUNNING, now
from studies.results.storage import Location
from studies.results.store import MARKER, ResultStore

log = logging.getLogger(__name__)

WORK = ".work"  # suffix of the folder beside the store for what is no result: checkpoints, locks


CLOSE_SECONDS = 60.0  # that a stopped trial waits for its store; Tune ends an actor that takes ten minutes to let go
CLOSE_TOGETHER_SECONDS = 4.0  # the same of a distributed trial, whose rank 0 has FAREWELL_SECONDS in all


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What all trials of a run share.

    Attributes:
        store: URI of the result store.
        threads: CPU threads of a trial, which its processes share.
        processes: that train a trial together, on the CPU.
        gpus: GPUs a worker, possibly a fraction.
        workers: of a trial, with `threads` and `gpus` each; one is the trial's own process.
        memory_fraction: of a GPU that a worker may fill; None: its share, where several trials share the GPU.
        tests_clips: whether a trial is evaluated on the test clips at its end.
        patience_seconds: how long an outage of the store is borne.
        workload: ``module:Class`` of what is trained.
        study: columns that say what the trial belongs to (recipe, hashes).
        versions: columns that say what software ran.
    """

    store: str
    threads: int = 1
    processes: int = 1
    gpus: float = 0.0
    workers: int = 1
    memory_fraction: float | None = None
    tests_clips: bool = True
    patience_seconds: float = 600.0
    workload: str = DEFAULT_WORKLOAD
    study: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RunSettings:
        """From `to_json`."""
        return cls(**json.loads(text))

    @property
    def work(self) -> Location:
        """The folder beside the store."""
        return Location(self.store, marker=MARKER).sibling(WORK)

    def checkpoints(self, study: str) -> CheckpointFolder:
        """Where the study's trials keep their checkpoints."""
        store = Location(self.store, patience_seconds=self.patience_seconds, marker=MARKER)
        return CheckpointFolder(store.sibling(f"{WORK}/checkpoints/{study}"))


def trial_row(spec: TrialSpec, settings: RunSettings, planned: int) -> dict[str, Any]:
    """The columns of ``trials`` that are known before the trial starts."""
    config = TrainConfig.from_dict(spec.config)
    return {
        "number": spec.number,
        "role": spec.role,
        "stage": spec.stage,
        "confirms": spec.confirms,
        "status": RUNNING,
        "planned": planned,
        "parameters": json.dumps(spec.parameters),
        "config_json": json.dumps(spec.config),
        "config_hash": config.content_hash(),
        "train_seed": config.seed,
        "epochs_planned": config.optim.epochs,
        "epochs_done": 0,
        "host": platform.node(),
        "processes": settings.processes,
        "workers": settings.workers,
        "started_at": now(),
        **settings.study,
        **settings.versions,
        **{f"config.{key}": value for key, value in config.flatten().items()},
    }


class TrialRun:
    """A trial under way.

    The order within an epoch is rows first, checkpoint second: a crash between the two trains the epoch again under the
    next attempt, and readers keep the later row; the other order would lose an epoch that had finished.

    Args:
        spec: the trial.
        settings: of the run.
        planned: trials planned for the scope.
        make: makes the trainer; None: the workload does, in this process.

    Raises (`open`, `step`): StoreError when the store fails; any other SefarError is recorded as the trial's end first.
    """

    def __init__(
        self,
        spec: TrialSpec,
        settings: RunSettings,
        planned: int,
        make: Callable[[TrainConfig], Trains] | None = None,
    ) -> None:
        self.spec, self.settings = spec, settings
        self._make = make or (lambda config: load_workload(settings.workload).trainer(config, settings.processes))
        self.checkpoints = settings.checkpoints(spec.study)
        store = ResultStore(settings.store, known=True, patience_seconds=settings.patience_seconds)
        self.writer = store.writer(spec.study, spec.scope, spec.trial_id)
        self.logs = TrialLogs(settings.work, spec.study, spec.trial_id)
        self.row = trial_row(spec, settings, planned) | {"log": self.logs.path}
        self.trainer: Trains | None = None
        self._seconds_before, self._started = 0.0, time.perf_counter()
        self._waited = False  # for the store in vain, or in full
        self._record()

    def open(self) -> None:
        """Make the trainer and go on from the trial's checkpoint, if it has one; a damaged one is noted in the row."""
        with self._recorded():
            self._open()

    def _open(self) -> None:
        self.logs.open()
        self.trainer = self._make(TrainConfig.from_dict(self.spec.config))
        scope = self.trainer.scope
        self.row |= {"split_hash": scope.split_hash, "device": str(self.trainer.device)}
        self.row |= scope.sizes
        self.row |= {f"missing_{part}": count for part, count in scope.missing.items()}
        try:
            state = self.checkpoints.load(self.spec.trial_id)
        except CheckpointError as error:
            log.warning("%s; trial %s starts anew", error, self.spec.trial_id)
            state = None
            self.row["notes"] = f"{one_line(error)}; the trial started anew"
        if state is not None:
            kept = state.pop("trial")
            self.trainer.load_state_dict(state)
            self._seconds_before = kept.pop("seconds")
            self.row |= kept
        self._record()

    def step(self) -> dict[str, Any]:
        """Train an epoch; after the last one, evaluate on the test set. Returns what the scheduler needs to know."""
        if self.trainer is None:
            self.open()
        with self._recorded():
            return self._step()

    def _step(self) -> dict[str, Any]:
        assert self.trainer is not None
        if self.trainer.epoch < self.trainer.epochs:
            report = self.trainer.train_epoch().to_dict()
            self.writer.epoch(report)
            self.logs.epoch(report)
            self._note(report)
            kept = ("epochs_done", "best_epoch", f"best_{METRIC}", METRIC, "dev_teacher_top1", "seconds")
            self._costs()
            trial_state = {name: self.row.get(name) for name in kept}
            self.checkpoints.save(self.spec.trial_id, {**self.trainer.state_dict(), "trial": trial_state})
        done = self.trainer.epoch >= self.trainer.epochs
        if done:
            self._finish()
        else:
            self._record()
        return self.result()

    def result(self) -> dict[str, Any]:
        """What the last finished epoch came to, for the scheduler."""
        return {
            "epoch": self.row["epochs_done"],
            METRIC: self.row.get(METRIC, math.nan),
            "dev_teacher_top1": self.row.get("dev_teacher_top1", math.nan),
            "done": self.row["status"] == FINISHED,
        }

    def _note(self, report: dict[str, Any]) -> None:
        value = report[METRIC]
        self.row |= {
            "epochs_done": report["epoch"],
            METRIC: value,
            "dev_teacher_top1": report.get("dev_teacher_top1", math.nan),
        }
        if not value <= self.row.get(f"best_{METRIC}", -math.inf):
            self.row |= {f"best_{METRIC}": value, "best_epoch": report["epoch"]}

    def _finish(self) -> None:
        assert self.trainer is not None
        if self.settings.tests_clips:
            test = self.trainer.evaluate("test")
            self.writer.write("predictions", test.predictions.assign(part="test"))
            self.row |= {f"test_{name}": value for name, value in test.metrics.items()}
        regulation = self.trainer.regulation()
        if len(regulation):
            self.writer.write("regulation", regulation)
        self.row["status"] = FINISHED
        self._record()
        self._flush()
        self.checkpoints.remove(self.spec.trial_id)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self._waited = True
            raise
        except SefarError as error:
            self.fail(error)
            raise

    def fail(self, error: BaseException) -> str:
        """Record that the trial ended in an error; returns the line that says so."""
        line = one_line(error)
        self.logs.failed(error)
        self.row |= {"status": FAILED, "error": line}
        self._record()
        self._flush()
        return line

    def _flush(self) -> None:
        self._waited = True
        self.writer.flush(self.settings.patience_seconds)

    def _record(self) -> None:
        self._costs()
        self.row["updated_at"] = now()
        self.writer.trial(self.row)

    def _costs(self) -> None:
        seconds = self._seconds_before + time.perf_counter() - self._started
        gpus = self.settings.gpus * self.settings.workers
        self.row |= {"seconds": seconds, "accelerator_seconds": seconds * gpus}

    def close(self) -> None:
        """Let go of the trainer; what a trial that was stopped could not write yet is waited for, but not for long."""
        if self.trainer is not None:
            self.trainer.close()
        self.trainer = None
        self._deliver()
        self.logs.close()

    def _deliver(self) -> None:
        if self._waited or not (self.writer.waits or self.checkpoints.waits(self.spec.trial_id)):
            return
        longest = CLOSE_SECONDS if self.settings.workers == 1 else CLOSE_TOGETHER_SECONDS
        end = time.monotonic() + min(longest, self.settings.patience_seconds)
        try:
            self.writer.flush(end - time.monotonic())
            self.checkpoints.flush(self.spec.trial_id, max(0.0, end - time.monotonic()))
        except StoreError as error:
            log.warning("%s", error)


def one_line(error: BaseException) -> str:
    """An error as one line: the message alone of those meant for users, with the type for others."""
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, SefarError) else f"{type(error).__name__}: {text}"[:500]
