"""A sweep from the command line's point of view: what is there, what is left, run it. Ray is imported only to run."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import sefar
from sefar.errors import ConfigError
from studies.engine.history import PastTrial, check_known, check_splits, free_numbers, planned_trials, read_history
from studies.engine.lock import study_lock
from studies.engine.spec import Study
from studies.engine.trial_run import WORK, RunSettings
from studies.engine.workload import DEFAULT_WORKLOAD, load_workload
from studies.results.schema import DEFAULT, FAILED, RUNNING
from studies.results.store import ResultStore

if TYPE_CHECKING:
    from studies.engine.runner import Cluster

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How to run a study.

    Attributes:
        store: URI of the result store.
        resume: insist that there is something to resume.
        extend: further trials for each scope.
        retry_failed: take failed trials up again.
        workers: workers a trial.
        address: ``local`` or ``auto``.
        concurrency: trials at once; None: as many as fit.
        gpus_per_worker: GPUs a trial; None: one where there are any.
        workload: ``module:Class`` of what is trained.
    """

    store: str
    resume: bool = False
    extend: int = 0
    retry_failed: bool = False
    workers: int = 1
    address: str = "local"
    concurrency: int | None = None
    gpus_per_worker: float | None = None
    workload: str = DEFAULT_WORKLOAD

    def __post_init__(self) -> None:
        if self.workers != 1:
            raise ConfigError(
                f"--workers {self.workers}: a trial with several workers is not there yet; leave the flag out, and run "
                "more trials at once with --concurrency"
            )
        for flag, value, least in (("--extend", self.extend, 0), ("--concurrency", self.concurrency or 1, 1)):
            if value < least:
                raise ConfigError(f"{flag}: expected at least {least}, got {value}")

    @property
    def cluster(self) -> Cluster:
        """For the runner."""
        from studies.engine.runner import Cluster

        return Cluster(address=self.address, concurrency=self.concurrency, gpus_per_worker=self.gpus_per_worker)


@dataclass(frozen=True)
class Plan:
    """What is there and what is left.

    Attributes:
        planned: trials of each scope in the end.
        history: trials in the store.
        left: trials to run or to take up again.
    """

    planned: dict[str, int]
    history: list[PastTrial]
    left: int

    def summary(self, study: Study) -> str:
        """One line that says how this run stands to earlier ones."""
        total = sum(self.planned.values())
        half = sum(p.status == RUNNING for p in self.history if p.spec.scope in self.planned)
        done = sum(p.status != RUNNING for p in self.history if p.spec.scope in self.planned)
        if not self.history:
            return f"study '{study.name}': {total} trials over {len(self.planned)} scope{'s'[: len(self.planned) - 1]}"
        if not self.left:
            failed = sum(p.status == FAILED for p in self.history if p.spec.scope in self.planned)
            again = f"; {failed} of them failed: --retry-failed takes them up again" if failed else ""
            return f"study '{study.name}' is already complete: {done} trials; use --extend N for N more a scope{again}"
        taken_up = f", {half} of them taken up where they stopped" if half else ""
        return f"study '{study.name}' goes on: {done} of {total} trials are done, {self.left} to run{taken_up}"


def plan_sweep(study: Study, store: ResultStore, options: SweepOptions) -> Plan:
    """Compare the study with the store.

    Raises:
        ConfigError: nothing to resume or extend, or the study's settings have changed.
    """
    history = read_history(store, study)
    if options.retry_failed:
        history = [replace(p, status=RUNNING) if p.status == FAILED else p for p in history]
    for flag, given in (("--resume", options.resume), ("--extend", options.extend > 0)):
        if given:
            check_known(store, study, history, flag)
    planned = planned_trials(study, history, options.extend)
    left = 0
    for scope, wanted in planned.items():
        past = [p for p in history if p.spec.scope == scope]
        left += sum(p.status == RUNNING for p in past) + len(free_numbers(wanted, past))
    return Plan(planned, history, left)


def run_sweep(study: Study, options: SweepOptions, say: Callable[[str], None]) -> ResultStore:
    """Run what is left of the study and return its store.

    Raises:
        SefarError: bad settings or data, a store that cannot be written, or a study that another process is running.
    """
    store = ResultStore(options.store, create=True)
    with study_lock(store.location.sibling(WORK), study.name):
        _run_planned(study, store, options, say)
    return store


def _run_planned(study: Study, store: ResultStore, options: SweepOptions, say: Callable[[str], None]) -> None:
    plan = plan_sweep(study, store, options)
    say(plan.summary(study))
    if not plan.left:
        return
    workload = load_workload(options.workload)
    splits = {scope: workload.prepare(study.config(scope, DEFAULT)) for scope in study.scopes.values}
    check_splits(plan.history, splits)
    settings = RunSettings(
        store=store.uri,
        workload=options.workload,
        study={"recipe": study.recipe, "study_hash": study.hash, "space_hash": study.space.hash},
        versions={
            "python_version": platform.python_version(),
            "torch_version": torch.__version__,
            "sefar_version": sefar.__version__,
            "commit": git_commit(),
        },
    )
    from studies.engine.runner import run_trials  # seconds of imports that a complete study does without

    run_trials(study, plan.planned, plan.history, settings, options.cluster)


def git_commit() -> str:
    """The checkout's commit, with ``+`` when it has changes; empty outside a checkout."""

    def git(*arguments: str) -> str:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, env=environment
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return commit + "+" if commit and git("status", "--porcelain") else commit
    except (OSError, subprocess.TimeoutExpired):
        return ""
