"""The searcher of a sweep: one Optuna study a label scope, in one Tune run.

Ray's OptunaSearch is not used: it records trials that ASHA stopped as complete, leaves a trial with a NaN metric
running for ever, merges the sweeps of one process under its default study name and keeps no link from an Optuna trial
to its Tune trial. Here the result store is the truth: the Optuna studies live in memory and are rebuilt from its rows.
"""

from __future__ import annotations

import math
import pickle
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from studies.engine.history import PastTrial, free_numbers
from studies.engine.space import Space
from studies.engine.spec import Study, TrialSpec
from studies.results.schema import DEFAULT, FAILED, METRIC, PRUNED, RUNNING, SEARCH, SUPERVISED

STARTUP_TRIALS = 4  # random points before TPE; a scope of a small sweep has only a handful of trials


class ScopeSearch:
    """The search of one label scope.

    Args:
        study: the sweep.
        scope: the label scope.
        planned: trials the scope shall have in the end.
        past: its trials in the store.
    """

    def __init__(self, study: Study, scope: str, planned: int, past: list[PastTrial]) -> None:
        self.study, self.scope, self.planned = study, scope, planned
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna = optuna.create_study(study_name=f"{study.name}/{scope}/{study.space.hash}", direction="maximize")
        self.waiting: list[TrialSpec] = []
        for trial in sorted(past, key=lambda p: p.spec.number):
            if trial.status == RUNNING:
                self.waiting.append(trial.spec)
            elif trial.spec.parameters:
                self.optuna.add_trial(_frozen(trial, study.space))
        self.free = free_numbers(planned, past)
        done_roles = {p.spec.role for p in past}
        self.named = [role for role in (DEFAULT, SUPERVISED) if role not in done_roles]

    @property
    def left(self) -> int:
        """Trials still to start."""
        return len(self.waiting) + len(self.free)

    def next(self, tune_id: str) -> tuple[TrialSpec, optuna.Trial | None]:
        """The next trial: an interrupted one, then the named configurations, then what TPE suggests."""
        if self.waiting:
            spec = self.waiting.pop(0)
            return spec, self._ask(spec, tune_id) if spec.parameters else None
        number = self.free.pop(0)
        if self.named:
            role = self.named.pop(0)
            # the default is a point of the space like any other, so the search learns from it
            known = self.study.space.locate(self.study.config(self.scope, role)) if role == DEFAULT else None
            spec = self.study.spec(self.scope, number, role, known)
            return spec, self._ask(spec, tune_id) if known else None
        # a sampler seeded by the trial's number: a resumed sweep goes on instead of repeating its first random points
        seed = zlib.crc32(f"{self.study.seed}/{self.scope}/{number}".encode())
        self.optuna.sampler = _sampler(seed)
        trial = self.optuna.ask()
        spec = self.study.spec(self.scope, number, SEARCH, self.study.space.suggest(trial))
        self._link(trial, spec, tune_id)
        return spec, trial

    def _ask(self, spec: TrialSpec, tune_id: str) -> optuna.Trial:
        self.optuna.enqueue_trial(spec.parameters)
        trial = self.optuna.ask()
        self.study.space.suggest(trial)
        self._link(trial, spec, tune_id)
        return trial

    @staticmethod
    def _link(trial: optuna.Trial, spec: TrialSpec, tune_id: str) -> None:
        for name, value in (("trial_id", spec.trial_id), ("tune_trial_id", tune_id), ("role", spec.role)):
            trial.set_user_attr(name, value)


@dataclass
class _Live:
    spec: TrialSpec
    scope: ScopeSearch
    trial: optuna.Trial | None
    epochs: int


class SweepSearch(Searcher):
    """Deals trials to the scopes in turn and tells each scope's Optuna study what became of them.

    Args:
        study: the sweep.
        planned: trials of each scope in the end.
        history: what the store holds.
    """

    def __init__(self, study: Study, planned: dict[str, int], history: list[PastTrial]) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.scopes = [
            ScopeSearch(study, scope, planned[scope], [p for p in history if p.spec.scope == scope])
            for scope in study.scopes.values
        ]
        self._epochs = study.epochs
        self._live: dict[str, _Live] = {}
        self._dealt = 0

    @property
    def left(self) -> int:
        """Trials still to start, over all scopes."""
        return sum(scope.left for scope in self.scopes)

    def suggest(self, trial_id: str) -> Any:
        """The configuration of Tune's next trial."""
        for turn in range(len(self.scopes)):
            scope = self.scopes[(self._dealt + turn) % len(self.scopes)]
            if scope.left:
                self._dealt += turn + 1
                spec, trial = scope.next(trial_id)
                self._live[trial_id] = _Live(spec, scope, trial, spec.config["optim"]["epochs"])
                # as text: Tune would take a nested dict apart in search of distributions
                return {"spec": spec.to_json(), "planned": scope.planned}
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record an epoch."""
        live = self._live.get(trial_id)
        if live is not None and live.trial is not None:
            _report(live.trial, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record how the trial ended: complete only with all its epochs and a finite metric."""
        live = self._live.pop(trial_id, None)
        if live is None or live.trial is None:
            return
        result = result or {}
        value = result.get(METRIC, math.nan)
        study = live.scope.optuna
        if error or result.get("failed") or not math.isfinite(value):
            study.tell(live.trial, state=TrialState.FAIL)
            return
        _report(live.trial, result)
        if result["epoch"] < live.epochs:
            study.tell(live.trial, state=TrialState.PRUNED)
        else:
            study.tell(live.trial, value)

    def save(self, checkpoint_path: str) -> None:
        """Satisfy Tune; nothing is ever read back, the store is the truth."""
        Path(checkpoint_path).write_bytes(pickle.dumps({"dealt": self._dealt}))

    def restore(self, checkpoint_path: str) -> None:
        """Not supported: resuming goes through the store."""
        raise NotImplementedError("resume a sweep from its result store")


def _report(trial: optuna.Trial, result: dict[str, Any]) -> None:
    epoch, value = int(result["epoch"]), result.get(METRIC, math.nan)
    known = trial.study._storage.get_trial(trial._trial_id).intermediate_values
    if math.isfinite(value) and epoch not in known:
        trial.report(value, epoch)


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # group: conditional parameters are modelled together with those they occur with; constant_liar: trials that
        # run at the same time do not all crowd into one spot
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
        )


class _Collect:
    """Stands in for a trial to learn the distributions behind given parameters."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters, self.distributions = parameters, dict[str, BaseDistribution]()

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.distributions[name] = optuna.distributions.CategoricalDistribution(choices)
        return self.parameters[name]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.distributions[name] = optuna.distributions.FloatDistribution(low, high, step=step, log=log)
        return self.parameters[name]


def _frozen(past: PastTrial, space: Space) -> FrozenTrial:
    """A trial of the store as Optuna would have kept it."""
    collect = _Collect(past.spec.parameters)
    space.suggest(collect)
    finite = {e: v for e, v in past.values.items() if math.isfinite(v)}
    state = {PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}.get(past.status, TrialState.COMPLETE)
    if state == TrialState.COMPLETE and not math.isfinite(past.value):
        state = TrialState.FAIL
    return optuna.trial.create_trial(
        state=state,
        value={TrialState.COMPLETE: past.value, TrialState.PRUNED: finite[max(finite)] if finite else None}.get(state),
        params=past.spec.parameters,
        distributions=collect.distributions,
        intermediate_values=finite,
        user_attrs={"trial_id": past.spec.trial_id, "role": past.spec.role},
    )
