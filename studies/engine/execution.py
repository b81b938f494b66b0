"""One invocation of a study: its stages one after the other, in one Ray session and within one budget of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ray.tune.schedulers import FIFOScheduler

from sefar.config import TrainConfig
from studies.engine.budget import Budget
from studies.engine.feasibility import check_workers, forecast
from studies.engine.fixed_search import FixedSearch
from studies.engine.history import PastTrial, check_splits
from studies.engine.pruning import ScopedASHA
from studies.engine.resources import Share
from studies.engine.runner import Stage, cluster_nodes, run_stage, share_of
from studies.engine.search import SweepSearch
from studies.engine.session import connected
from studies.engine.software import software_columns
from studies.engine.spec import Study
from studies.engine.trial_run import RunSettings
from studies.engine.workload import load_workload
from studies.results.schema import DEFAULT
from studies.results.store import ResultStore

if TYPE_CHECKING:
    from studies.engine.sweep import ConfirmPlan, Plan, SweepOptions


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
        searcher = SweepSearch(
            self.study,
            plan.planned,
            plan.history,
            order=self.options.scope_order,
            transfer=self.options.transfer,
            journal=self.store,
            costs=self._costs(),
        )
        stage = Stage(
            name=self.study.name,
            searcher=searcher,
            scheduler=ScopedASHA(self.study, plan.history),
            trials=searcher.left,
            planned=plan.planned,
            epochs=self.study.epochs,
            history=plan.history,
        )
        run_stage(stage, self._settings(tests_clips=not self.options.confirm), share, self.budget)

    def confirm(self, plan: ConfirmPlan) -> None:
        """Run what is left of the trials that confirm the search; none is stopped early.

        Raises:
            As `search`.
        """
        left = plan.left
        share = self._share(len(left), plan.history)
        self._prepare({spec.scope: TrainConfig.from_dict(spec.config) for spec in left}, plan.history)
        planned = dict(Counter(spec.scope for spec in plan.specs))
        stage = Stage(
            name=f"{self.study.name}.confirm",
            searcher=FixedSearch(left, planned),
            scheduler=FIFOScheduler(),
            trials=len(left),
            planned=planned,
            epochs=self.study.epochs,
            history=plan.history,
        )
        run_stage(stage, self._settings(tests_clips=True), share, self.budget)

    def _share(self, trials_left: int, history: list[PastTrial]) -> Share:
        """Start or join Ray, and see whether it can give what is asked for."""
        check_workers(self.study.base, self.options.workers)
        if not self._connected:
            self._stack.enter_context(connected(self.options.cluster))
            self._connected = True
        nodes = cluster_nodes()
        share = share_of(self.options.cluster, nodes, trials_left)
        self.say(forecast(nodes, share, trials_left, self.study.epochs, _seconds_per_epoch(history)))
        return share

    def _prepare(self, configs: Mapping[str, TrainConfig], history: list[PastTrial]) -> None:
        """Bring the clips of each scope to disk, and make sure that old trials saw the same."""
        check_splits(history, {scope: self.workload.prepare(config) for scope, config in configs.items()})

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


def _seconds_per_epoch(history: list[PastTrial]) -> float | None:
    """What an epoch took in earlier trials."""
    took = [past.seconds / len(past.values) for past in history if past.values and past.seconds > 0]
    return sum(took) / len(took) if took else None
