"""One invocation of a study: its stages one after the other, in one Ray session and within one budget of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ray.tune.schedulers import FIFOScheduler

from sefar.config import TrainConfig
from sefar.errors import StoreError
from studies.engine.budget import Budget
from studies.engine.feasibility import check_workers, forecast
from studies.engine.fixed_search import FixedSearch
from studies.engine.history import PastTrial, check_splits, plan_column, read_history, seconds_per_epoch
from studies.engine.pruning import ScopedASHA
from studies.engine.resources import Share
from studies.engine.runner import Stage, cluster_nodes, run_stage, share_of
from studies.engine.search import SweepSearch
from studies.engine.session import connected
from studies.engine.shared_folder import blind_host, worker_nodes
from studies.engine.software import software_columns
from studies.engine.spec import Study
from studies.engine.trial_run import RunSettings, trial_row
from studies.engine.workload import load_workload
from studies.results.schema import CONFIRM, DEFAULT, PRUNED, RUNNING, SEARCH
from studies.results.store import ResultStore

if TYPE_CHECKING:
    from studies.engine.sweep import ConfirmPlan, Plan, SweepOptions

PASSES = 5  # Tune runs of a stage at most: each after the first takes up what the one before has lost with a node


class Execution:
    """What the stages share; a context manager that leaves Ray at its end.

    Args:
        study: what is run.
        store: where the results go.
        options: how.
        say: is told a line at a time.
    """

    def __init__(self, study: Study, store: ResultStore, options: SweepOptions, say: Callable[[str], None]) -> None:
        self.study, self.store, self.options, self.say = study, store, options, say
        self.budget = Budget(options.budget_hours)
        self.workload = load_workload(options.workload)
        self._stack, self._connected = ExitStack(), False
        self._decodes = True  # trials may run on this machine, so its frame store is worth filling

    def __enter__(self) -> Execution:
        """Itself; Ray is started or joined when a stage needs it."""
        self._stack.__enter__()
        return self

    def __exit__(self, *error: object) -> bool | None:
        """Leave Ray."""
        return self._stack.__exit__(*error)  # type: ignore[arg-type]

    def search(self, plan: Plan) -> None:
        """Run what is left of the search.

        Raises:
            SefarError: bad data, an impossible request, a store or a cluster that failed.
            KeyboardInterrupt: stopped; finished epochs are in the store.
        """
        share = self._share(plan.left, plan.history)
        self._prepare({scope: self.study.config(scope, DEFAULT) for scope in self.study.scopes.values}, plan.history)
        costs = self._costs()
        settings = self._settings(tests_clips=not self.options.confirm)
        settings = replace(settings, study=settings.study | plan_column(plan.planned))

        def stage(history: list[PastTrial]) -> Stage:
            history = self._pruned(history, plan.planned, settings)
            searcher = SweepSearch(
                self.study,
                plan.planned,
                history,
                order=self.options.scope_order,
                transfer=self.options.transfer,
                journal=self.store,
                costs=costs,
            )
            return Stage(
                name=self.study.name,
                searcher=searcher,
                scheduler=ScopedASHA(self.study, history),
                trials=searcher.left,
                planned=plan.planned,
                epochs=self.study.epochs,
                history=history,
            )

        self._run(stage, SEARCH, plan.history, settings, share)

    def confirm(self, plan: ConfirmPlan) -> None:
        """Run what is left of the trials that confirm the search; none is stopped early.

        Raises:
            As `search`.
        """
        share = self._share(len(plan.left), plan.history)
        self._prepare({spec.scope: TrainConfig.from_dict(spec.config) for spec in plan.left}, plan.history)
        planned = dict(Counter(spec.scope for spec in plan.specs))

        def stage(history: list[PastTrial]) -> Stage:
            ended = {past.spec.trial_id for past in history if past.status != RUNNING}
            left = [spec for spec in plan.left if spec.trial_id not in ended]
            return Stage(
                name=f"{self.study.name}.confirm",
                searcher=FixedSearch(left, planned),
                scheduler=FIFOScheduler(),
                trials=len(left),
                planned=planned,
                epochs=self.study.epochs,
                history=history,
            )

        self._run(stage, CONFIRM, plan.history, self._settings(tests_clips=True), share)

    def _pruned(self, history: list[PastTrial], planned: dict[str, int], settings: RunSettings) -> list[PastTrial]:
        """The history, with those trials recorded as pruned that an earlier run left at a rung which stops them."""
        ended = set()
        for past in ScopedASHA(self.study, history).stopped:
            spec = past.spec
            fresh = trial_row(spec, settings, planned[spec.scope])
            writer = self.store.amend(spec.study, spec.scope, spec.trial_id, {"status": PRUNED}, fresh)
            if writer is not None:  # else the trial has failed and is to be tried again
                writer.flush(settings.patience_seconds)
                ended.add(spec.trial_id)
        if ended:
            one = len(ended) == 1
            self.say(f"{len(ended)} of them {'is' if one else 'are'} pruned at the rung where the last run ended")
        return [replace(past, status=PRUNED) if past.spec.trial_id in ended else past for past in history]

    def _run(
        self,
        stage: Callable[[list[PastTrial]], Stage],
        name: str,
        history: list[PastTrial],
        settings: RunSettings,
        share: Share,
    ) -> None:
        """Run a stage, and again while trials were lost with their nodes that Tune does not try again."""
        for number in range(1, PASSES + 1):
            trials = stage(history)
            last = number == PASSES
            lost = run_stage(trials, settings, share, self.budget, last_pass=last) if trials.trials else 0
            if not lost or self.budget.used_up:
                settings.checkpoints(self.study.name).remove_ended(self.store, self.study.name)
                return
            self.say(f"{lost} trial{'s' if lost > 1 else ''} went down with a node; taken up again")
            history = read_history(self.store, self.study, stage=name)

    def _share(self, trials_left: int, history: list[PastTrial]) -> Share:
        """Start or join Ray, and see whether it can give what is asked for."""
        check_workers(self.study.base, self.options.workers)
        if not self._connected:
            self._stack.enter_context(connected(self.options.cluster))
            self._connected = True
            self._check_shared()
        nodes = cluster_nodes()
        self._decodes = any(node.is_here and node.cpus for node in nodes)
        share = share_of(self.options.cluster, nodes, trials_left)
        self.say(forecast(nodes, share, trials_left, self.study.epochs, seconds_per_epoch(history)))
        return share

    def _prepare(self, configs: Mapping[str, TrainConfig], history: list[PastTrial]) -> None:
        """Bring the clips of each scope to disk, and make sure that old trials saw the same."""
        prepare = self.workload.prepare
        splits = {scope: prepare(config, decode=self._decodes) for scope, config in configs.items()}
        check_splits(history, splits)

    def _check_shared(self) -> None:
        """Refuse a store that only this machine would see."""
        nodes = worker_nodes()
        if self.options.address == "local" or not self.store.location.is_local or not nodes:
            return
        if (blind := blind_host(Path(self.store.uri), nodes)) is not None:
            raise StoreError(
                f"{self.store.uri}: node {blind} does not see this folder; give --store a folder that all nodes share, "
                "or s3://…"
            )

    def _costs(self) -> dict[str, float]:
        if self.options.scope_order != "cheap-first":
            return {}
        return {scope: self.workload.cost(self.study.config(scope, DEFAULT)) for scope in self.study.scopes.values}

    def _settings(self, *, tests_clips: bool) -> RunSettings:
        return RunSettings(
            store=self.store.uri,
            workload=self.options.workload,
            tests_clips=tests_clips,
            patience_seconds=self.options.patience_seconds,
            study=self.study.columns,
            versions=software_columns(),
        )
