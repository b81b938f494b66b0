"""A sweep from the command line's point of view: what is there, what is left, run it. Ray is imported only to run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sefar.errors import ConfigError
from studies.engine.history import PastTrial, check_known, may_extend, planned_trials, read_history, search_trials_left
from studies.engine.lock import study_lock
from studies.engine.spec import Study, TrialSpec
from studies.engine.stages import confirm_specs
from studies.engine.trial_run import WORK
from studies.engine.workload import DEFAULT_WORKLOAD
from studies.results.schema import CONFIRM, FAILED, RUNNING
from studies.results.store import ResultStore

if TYPE_CHECKING:
    from studies.engine.execution import Execution
    from studies.engine.session import Cluster


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How to run a study.

    Attributes:
        store: URI of the result store.
        resume: insist that there is something to resume.
        extend: further trials for each scope.
        retry_failed: take failed trials up again.
        scope_order: ``round-robin`` or ``cheap-first``.
        transfer: best configurations of cheaper scopes that dearer ones try first.
        confirm: best configurations of each scope to run anew over seeds; 0: none.
        confirm_seeds: training seeds of each, those after the study's own.
        confirm_splits: label splits of each, those after the scope's own; 0: the scope's own.
        budget_hours: wall-clock time; None: no limit.
        patience_seconds: how long storage that does not answer is waited for.
        workers: processes that train a trial together.
        address: ``local`` or ``auto``.
        concurrency: trials at once; None: as many as fit.
        gpus_per_worker: GPUs a worker; None: one where there are any.
        workload: ``module:Class`` of what is trained.
    """

    store: str
    resume: bool = False
    extend: int = 0
    retry_failed: bool = False
    scope_order: str = "round-robin"
    transfer: int = 0
    confirm: int = 0
    confirm_seeds: int = 2
    confirm_splits: int = 2
    budget_hours: float | None = None
    patience_seconds: float = 600.0
    workers: int = 1
    address: str = "local"
    concurrency: int | None = None
    gpus_per_worker: float | None = None
    workload: str = DEFAULT_WORKLOAD

    def __post_init__(self) -> None:
        if self.transfer and self.scope_order != "cheap-first":
            raise ConfigError(
                f"--transfer {self.transfer}: scopes learn from cheaper ones; add --scope-order cheap-first"
            )
        for flag, value, least in (
            ("--extend", self.extend, 0),
            ("--concurrency", self.concurrency or 1, 1),
            ("--workers", self.workers, 1),
        ):
            if value < least:
                raise ConfigError(f"{flag}: expected at least {least}, got {value}")

    @property
    def cluster(self) -> Cluster:
        """For the runner."""
        from studies.engine.session import Cluster

        return Cluster(
            address=self.address,
            concurrency=self.concurrency,
            gpus_per_worker=self.gpus_per_worker,
            workers=self.workers,
        )


@dataclass(frozen=True)
class Plan:
    """What is there of the search and what is left.

    Attributes:
        planned: trials of each scope in the end.
        history: trials of the search in the store.
        left: trials to run or to take up again.
        waits: the flag that waits until what an earlier run has left is done; empty where none does.
    """

    planned: dict[str, int]
    history: list[PastTrial]
    left: int
    waits: str = ""

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
            if self.waits:
                return f"study '{study.name}': {done} trials are done; {self.waits} waits for those that confirm them"
            return f"study '{study.name}' is already complete: {done} trials; use --extend N for N more a scope{again}"
        taken_up = f", {half} of them taken up where they stopped" if half else ""
        waits = f"; {self.waits} waits until they are done" if self.waits else ""
        return f"study '{study.name}' goes on: {done} of {total} trials are done, {self.left} to run{taken_up}{waits}"


@dataclass(frozen=True)
class ConfirmPlan:
    """The trials that repeat the best configurations over seeds and label splits.

    Attributes:
        specs: all of them.
        left: those to run or to take up again.
        history: those in the store.
    """

    specs: list[TrialSpec]
    left: list[TrialSpec]
    history: list[PastTrial]

    def summary(self, top: int) -> str:
        """One line that says what is confirmed."""
        scopes = len({spec.scope for spec in self.specs})
        what = f"confirming the {top} best and the named configurations: {len(self.specs)} trials over {scopes} scopes"
        return what + (f", {len(self.left)} to run" if self.left else ", all done")


def plan_sweep(study: Study, store: ResultStore, options: SweepOptions) -> Plan:
    """Compare the study with the store.

    Raises:
        ConfigError: nothing to resume or extend, or the study's settings have changed.
    """
    known = read_history(store, study)
    history = _to_retry(known, options)
    for flag, given in (("--resume", options.resume), ("--extend", options.extend > 0)):
        if given:
            check_known(store, study, history, flag)
    extends = bool(options.extend) and may_extend(study, known) and not _is_confirming(study, store, options)
    planned = planned_trials(study, known, options.extend if extends else 0)
    waits = f"--extend {options.extend}" if options.extend and not extends else ""
    return Plan(planned, history, search_trials_left(history, planned), waits)


def _is_confirming(study: Study, store: ResultStore, options: SweepOptions) -> bool:
    """Whether the trials that confirm the search have begun and not ended."""
    if not options.confirm:
        return False
    plan = plan_confirm(study, store, replace(options, retry_failed=False))
    return bool(plan.history and plan.left)


def is_complete(study: Study, store: ResultStore, options: SweepOptions) -> bool:
    """Whether the same command, but for --extend and --retry-failed, would find nothing to run."""
    options = replace(options, extend=0, retry_failed=False, resume=False)
    return not plan_sweep(study, store, options).left and not (
        options.confirm and plan_confirm(study, store, options).left
    )


def plan_confirm(study: Study, store: ResultStore, options: SweepOptions) -> ConfirmPlan:
    """Which trials confirm the search as it stands in the store."""
    history = _to_retry(read_history(store, study, stage=CONFIRM), options)
    specs = confirm_specs(
        study,
        read_history(store, study) + history,
        top=options.confirm,
        seeds=options.confirm_seeds,
        splits=options.confirm_splits,
    )
    ended = {past.spec.trial_id for past in history if past.status != RUNNING}
    return ConfirmPlan(specs, [spec for spec in specs if spec.trial_id not in ended], history)


def _to_retry(history: list[PastTrial], options: SweepOptions) -> list[PastTrial]:
    """With --retry-failed, failed trials count as running."""
    if not options.retry_failed:
        return history
    return [replace(past, status=RUNNING) if past.status == FAILED else past for past in history]


def run_sweep(study: Study, options: SweepOptions, say: Callable[[str], None]) -> ResultStore:
    """Run what is left of the study and return its store.

    Raises:
        SefarError: bad settings or data, a store that cannot be written, or a study that another process is running.
    """
    store = ResultStore(options.store, create=True)
    with study_lock(store.location.sibling(WORK), study.name):
        plan = plan_sweep(study, store, options)
        say(plan.summary(study))
        with ExitStack() as stack:
            execution: Execution | None = None
            if plan.left:
                execution = stack.enter_context(_execution(study, store, options, say))
                execution.search(plan)
            if options.confirm and not (execution and execution.budget.used_up):
                confirm = plan_confirm(study, store, options)
                say(confirm.summary(options.confirm))
                if confirm.left:
                    execution = execution or stack.enter_context(_execution(study, store, options, say))
                    execution.confirm(confirm)
            if execution and execution.budget.used_up and not is_complete(study, store, options):
                extends = options.extend and not plan_sweep(study, store, options).waits
                same = "the same command" + (" without --extend" if extends else "")
                say(f"the budget of {options.budget_hours:g} hours is used up; {same} goes on from here")
    return store


def _execution(study: Study, store: ResultStore, options: SweepOptions, say: Callable[[str], None]) -> Execution:
    from studies.engine.execution import Execution  # seconds of imports that a complete study does without

    return Execution(study, store, options, say)
