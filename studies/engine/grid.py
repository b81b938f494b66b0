"""A grid of runs without a search: each configuration once, in processes of its own, straight into the store.

Runs are named by scope and content of their configuration, so a configuration that several questions share is run once.
Knows nothing of Ray: where runs are few and whole, starting a cluster would only cost time.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

import torch

from sefar.config import TrainConfig
from sefar.errors import ConfigError, SefarError, StoreError
from studies.engine.history import PastTrial, check_splits
from studies.engine.lock import study_lock
from studies.engine.software import software_columns
from studies.engine.spec import TrialSpec, scope_slug
from studies.engine.trial_run import WORK, RunSettings, TrialRun
from studies.engine.workload import DEFAULT_WORKLOAD, load_workload
from studies.results.leaderboard import clock, short_scope
from studies.results.schema import FAILED, FINISHED, RUNNING
from studies.results.store import NoStoreError, ResultStore

log = logging.getLogger(__name__)


class GridFailure(SefarError, RuntimeError):
    """Runs of a grid failed, or their processes died."""


@dataclass(frozen=True, kw_only=True)
class GridRun:
    """One run of a grid.

    Attributes:
        study: name of the study in the store.
        role: what the run is called.
        seed: of training; the trial's number in the store.
        config: complete configuration.
        parameters: what distinguishes it, by dotted key.
    """

    study: str
    role: str
    seed: int
    config: TrainConfig
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        """Scope and content: the same configuration has the same name whatever question asked for it."""
        return f"{scope_slug(self.config.scope.name)}.{self.config.content_hash()}"

    @property
    def spec(self) -> TrialSpec:
        """As a trial of the store."""
        return TrialSpec(
            trial_id=self.trial_id,
            study=self.study,
            scope=self.config.scope.name,
            number=self.seed,
            role=self.role,
            config=self.config.to_dict(),
            parameters=self.parameters,
        )


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """How to run a grid.

    Attributes:
        store: URI of the result store.
        recipe: name of the recipe that the runs depart from, for the record.
        resume: insist that the store holds some of the runs.
        retry_failed: take failed runs up again.
        concurrency: runs at once; None: as many as the cores allow, or one where there is a GPU. All share
            the first GPU.
        processes: that train a run together, on CPUs.
        workload: ``module:Class`` of what is trained.
    """

    store: str
    recipe: str = ""
    resume: bool = False
    retry_failed: bool = False
    concurrency: int | None = None
    processes: int = 1
    workload: str = DEFAULT_WORKLOAD

    def __post_init__(self) -> None:
        for name in ("concurrency", "processes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"--{name}: expected an integer ≥ 1, got {value}")
        if self.processes > 1 and torch.cuda.is_available():
            raise ConfigError(f"--processes: {self.processes} share the work of CPUs, but there is a GPU; leave it out")


@dataclass(frozen=True)
class GridPlan:
    """What the store holds of a grid.

    Attributes:
        status: of each run by its trial id; runs without one have not been started.
        left: runs to run or to take up again, each configuration once, in the order given.
        history: the grid's trials in the store.
    """

    status: dict[str, str]
    left: list[GridRun]
    history: list[PastTrial]


def plan_grid(runs: Sequence[GridRun], options: GridOptions) -> GridPlan:
    """Compare a grid with the store, which need not exist yet.

    Raises:
        ConfigError: nothing to resume.
        StoreError: the store cannot be read.
    """
    unique = {run.trial_id: run for run in runs}
    status: dict[str, str] = {}
    history: list[PastTrial] = []
    try:
        store = ResultStore(options.store)
    except NoStoreError:
        if options.resume:
            raise
    else:
        for study in {run.study for run in runs}:
            rows = store.trials(study=study)
            for row in rows[rows.trial_id.isin(list(unique))].to_dict("records"):
                split_hash = row["split_hash"] if isinstance(row["split_hash"], str) else ""
                status[row["trial_id"]] = row["status"]
                history.append(PastTrial(unique[row["trial_id"]].spec, row["status"], split_hash=split_hash))
        if options.resume and not status:
            raise ConfigError(f"--resume: {store.uri} holds none of these runs; leave the flag out to start them")
    ended = {FINISHED} if options.retry_failed else {FINISHED, FAILED}
    return GridPlan(status, [run for trial_id, run in unique.items() if status.get(trial_id) not in ended], history)


def run_grid(runs: Sequence[GridRun], options: GridOptions, say: Callable[[str], None]) -> ResultStore:
    """Run what is missing of a grid and return its store.

    Args:
        runs: all of one study, in the order in which to run them.
        options: how.
        say: is told a line a finished run.

    Raises:
        ConfigError: nothing to resume.
        StoreError: the store cannot be written, another process runs the study, or the data have changed.
        GridFailure: a process died. Runs that fail by themselves are recorded; see `grid_failures`.
    """
    if options.resume:
        plan_grid(runs, options)  # where there is nothing to resume, no store is made either
    store = ResultStore(options.store, create=True)
    with study_lock(store.location.sibling(WORK), runs[0].study):
        plan = plan_grid(runs, options)
        taken_up = sum(plan.status.get(run.trial_id) == RUNNING for run in plan.left)
        again = f", {taken_up} of them taken up where they stopped" if taken_up else ""
        say(f"{_counted(len({run.trial_id for run in runs}))}, {len(plan.left)} to run{again}")
        if plan.left:
            _prepare(plan, options)
            _run_all(plan.left, options, store.uri, say)
    return store


def grid_failures(runs: Sequence[GridRun], store: ResultStore) -> str | None:
    """Which runs have failed, in one line; None where none has."""
    trials = store.trials(study=runs[0].study).set_index("trial_id")
    status = trials.status.to_dict()
    failed = [run for run in runs if status.get(run.trial_id) == FAILED]
    if not failed:
        return None
    first, reason = failed[0], trials.error[failed[0].trial_id]
    return (
        f"{_counted(len(failed))} failed, the first ({first.role}, {short_scope(first.config.scope.name)}) with: "
        f"{reason}; --retry-failed takes them up again"
    )


def _counted(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _prepare(plan: GridPlan, options: GridOptions) -> None:
    """Bring the clips to disk, once for each scope and frame size."""
    workload, splits, prepared = load_workload(options.workload), dict[str, str](), set[str]()
    for run in plan.left:
        needed = f"{run.config.to_dict()['scope']} {run.config.views.short_side}"
        if needed not in prepared:
            splits[run.config.scope.name] = workload.prepare(run.config)
            prepared.add(needed)
    check_splits(plan.history, splits)


def _run_all(left: list[GridRun], options: GridOptions, uri: str, say: Callable[[str], None]) -> None:
    cores = len(os.sched_getaffinity(0))
    gpus = torch.cuda.device_count()
    concurrency = min(options.concurrency or (1 if gpus else max(1, cores // options.processes)), len(left))
    settings = RunSettings(
        store=uri,
        threads=max(1, cores // concurrency),
        processes=options.processes,
        gpus=min(gpus, 1) / concurrency,
        workload=options.workload,
        study={"recipe": options.recipe},
        versions=software_columns(),
    )
    started, others = time.perf_counter(), set(multiprocessing.active_children())
    # fresh interpreters: torch must not be forked
    pool = ProcessPoolExecutor(concurrency, multiprocessing.get_context("spawn"), initializer=_in_child)
    try:
        futures: list[Future[str]] = [pool.submit(_execute, run.spec, settings) for run in left]
        for number, future in enumerate(as_completed(futures), 1):
            line = future.result()
            ahead = (time.perf_counter() - started) / number * (len(left) - number)
            say(f"[{number}/{len(left)}] {line}" + (f"; about {clock(ahead)} to go" if number < len(left) else ""))
    except BrokenProcessPool as error:
        mend = f"--concurrency below {concurrency}" if concurrency > 1 else "more memory"
        raise GridFailure(
            "a run's process died, perhaps for want of memory; finished epochs are kept: run the same command again, "
            f"with {mend}"
        ) from error
    except BaseException:  # Ctrl-C in particular: finished epochs are in the store, nobody waits for the rest
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _in_child() -> None:
    """Ctrl-C ends a run's process without a traceback, and so does the end of the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _execute(spec: TrialSpec, settings: RunSettings) -> str:
    """Run one trial to its end in this process; a line on how it ended."""
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(settings.threads)
    trial = TrialRun(spec, settings, 1)
    name = f"{short_scope(spec.scope)}, {spec.role}, seed {spec.number}"
    try:
        while not trial.step()["done"]:
            pass
    except StoreError:
        raise
    except Exception as error:  # one run's end is not the grid's
        return f"{name}: failed: {trial.fail(error)}"
    finally:
        trial.close()
    row = trial.row
    scores = [f"{who} {row[key]:.1f} %" for who in ("student", "teacher") if (key := f"test_{who}_top1") in row]
    return f"{name}: test {', '.join(scores)}, {row['seconds']:.0f} s"
