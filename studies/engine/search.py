"""The searcher of a sweep: one Optuna study a label scope, in one Tune run.

Ray's OptunaSearch is not used: it records trials that ASHA stopped as complete, leaves a trial with a NaN metric
running for ever, merges the sweeps of one process under its default study name and keeps no link from an Optuna trial
to its Tune trial. Here the result store is the truth: the Optuna studies are rebuilt from its rows at each start.
"""

from __future__ import annotations

import logging
import math
import pickle
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from studies.engine.history import PastTrial, free_numbers, searched
from studies.engine.journal import Journal
from studies.engine.space import Space
from studies.engine.spec import NAMED, Study, TrialSpec
from studies.results.schema import DEFAULT, FAILED, FINISHED, METRIC, PRUNED, RUNNING, SEARCH, TRANSFER
from studies.results.store import ResultStore

log = logging.getLogger(__name__)

ROUND_ROBIN, CHEAP_FIRST = "round-robin", "cheap-first"
STARTUP_TRIALS = 4  # random points before TPE; a scope of a small sweep has only a handful of trials


class _Backend(BaseJournalBackend):
    """Optuna's view of a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return self.journal.records(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.journal.append(logs)


class ScopeSearch:
    """The search of one label scope.

    Args:
        study: the sweep.
        scope: the label scope.
        planned: trials the scope shall have in the end.
        past: its search trials in the store.
        storage: of the Optuna study; None: in memory.
        attributes: what is known of past trials beyond the store, by trial id.
    """

    def __init__(
        self,
        study: Study,
        scope: str,
        planned: int,
        past: list[PastTrial],
        storage: JournalStorage | None = None,
        attributes: Mapping[str, dict[str, str]] | None = None,
    ) -> None:
        self.study, self.scope, self.planned = study, scope, planned
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        name = f"{study.name}/{scope}/{study.space.hash}"
        self.optuna = optuna.create_study(study_name=name, direction="maximize", storage=storage)
        self.waiting = [p for p in past if p.status == RUNNING]
        self.attributes = attributes or {}
        for trial in past:
            if trial.status != RUNNING and trial.spec.parameters:
                self.optuna.add_trial(_frozen(trial, study.space, self.attributes.get(trial.spec.trial_id, {})))
        self.free = free_numbers(planned, past)
        roles = [p.spec.role for p in past]
        self.named = [role for role in NAMED if role not in roles]
        self.transferred = roles.count(TRANSFER)
        self.tried = [p.spec.parameters for p in past]
        self.finished = [(p.value, p.spec) for p in past if p.status == FINISHED and math.isfinite(p.value)]

    @property
    def ranking(self) -> list[TrialSpec]:
        """Finished trials whose configuration the search has found, best first."""
        found = [(value, spec) for value, spec in self.finished if spec.role in (SEARCH, TRANSFER)]
        return [spec for _, spec in sorted(found, key=lambda pair: (-pair[0], pair[1].number))]

    @property
    def left(self) -> int:
        """Trials still to start."""
        return len(self.waiting) + len(self.free)

    def next(self, tune_id: str, offer: TrialSpec | None = None) -> tuple[TrialSpec, optuna.Trial | None]:
        """The next trial: an interrupted one, then the named ones, then the one on offer, then what TPE suggests.

        Args:
            tune_id: Tune's id of the trial.
            offer: a trial of another scope whose parameters shall be tried here.
        """
        spec, trial = self._next(tune_id, offer)
        self.tried.append(spec.parameters)
        return spec, trial

    def _next(self, tune_id: str, offer: TrialSpec | None) -> tuple[TrialSpec, optuna.Trial | None]:
        if self.waiting:
            return self._again(self.waiting.pop(0), tune_id)
        number = self.free.pop(0)
        if self.named:
            role = self.named.pop(0)
            # the default is a point of the space like any other, so the search learns from it
            known = self.study.space.locate(self.study.config(self.scope, role)) if role == DEFAULT else None
            spec = self.study.spec(self.scope, number, role, known)
            return spec, self._ask(spec, tune_id) if known else None
        if offer is not None:
            self.transferred += 1
            spec = self.study.spec(self.scope, number, TRANSFER, offer.parameters)
            return spec, self._ask(spec, tune_id, offer.trial_id)
        # a sampler seeded by the trial's number: a resumed sweep goes on instead of repeating its first random points
        seed = zlib.crc32(f"{self.study.seed}/{self.scope}/{number}".encode())
        self.optuna.sampler = _sampler(seed)
        trial = self.optuna.ask()
        spec = self.study.spec(self.scope, number, SEARCH, self.study.space.suggest(trial))
        self._link(trial, spec, tune_id)
        return spec, trial

    def _again(self, past: PastTrial, tune_id: str) -> tuple[TrialSpec, optuna.Trial | None]:
        """A trial that an earlier run has left unfinished."""
        if not past.spec.parameters:
            return past.spec, None
        source = self.attributes.get(past.spec.trial_id, {}).get("transferred_from", "")
        trial = self._ask(past.spec, tune_id, source)
        for epoch, value in sorted(past.values.items()):
            _report(trial, {"epoch": epoch, METRIC: value})
        return past.spec, trial

    def _ask(self, spec: TrialSpec, tune_id: str, source: str = "") -> optuna.Trial:
        self.optuna.enqueue_trial(spec.parameters)
        trial = self.optuna.ask()
        self.study.space.suggest(trial)
        self._link(trial, spec, tune_id)
        if source:
            trial.set_user_attr("transferred_from", source)
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
    """Deals trials to the scopes and tells each scope's Optuna study what became of them.

    Args:
        study: the sweep.
        planned: trials of each scope in the end.
        history: what the store holds.
        order: ``round-robin``: each scope in turn; ``cheap-first``: all trials of a scope before the next dearer one's.
        transfer: with ``cheap-first``, how many of the best configurations of cheaper scopes a scope tries first, after
            the named ones; it waits with them until the trials of the cheaper scopes have ended.
        journal: the result store, or a local file, in which the Optuna studies are written down for others to look at;
            None: nowhere.
        costs: of a trial of each scope, in whatever unit; without one, scopes are taken in the order given.
    """

    def __init__(
        self,
        study: Study,
        planned: dict[str, int],
        history: list[PastTrial],
        *,
        order: str = ROUND_ROBIN,
        transfer: int = 0,
        journal: ResultStore | Path | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        if isinstance(journal, ResultStore):
            self._journal: Journal | None = Journal.of_store(journal.location, study.name)
        else:
            self._journal = Journal.of_path(journal) if journal is not None else None
        storage = None if self._journal is None else JournalStorage(_Backend(self._journal))
        attributes = {} if self._journal is None else _attributes(self._journal)
        names = list(study.scopes.values)
        if order == CHEAP_FIRST:
            names.sort(key=lambda name: (costs or {}).get(name, 0.0))
        self.scopes = [
            ScopeSearch(study, name, planned[name], searched(history, name), storage, attributes) for name in names
        ]
        self._in_turn, self._transfer = order == ROUND_ROBIN, transfer if order == CHEAP_FIRST else 0
        self._live: dict[str, _Live] = {}
        self._dealt = 0
        if self._journal is not None:
            self._journal.publish()

    @property
    def left(self) -> int:
        """Trials still to start, over all scopes."""
        return sum(scope.left for scope in self.scopes)

    def suggest(self, trial_id: str) -> Any:
        """The configuration of Tune's next trial; None: not yet."""
        count = len(self.scopes)
        start = self._dealt if self._in_turn else 0
        for turn in range(start, start + count):
            at = turn % count
            if self.scopes[at].left:
                if self._must_wait(at):
                    return None
                self._dealt = turn + 1
                return self._deal(trial_id, at)
        return Searcher.FINISHED

    def _deal(self, trial_id: str, at: int) -> dict[str, Any]:
        scope = self.scopes[at]
        spec, trial = scope.next(trial_id, self._offer(at))
        self._live[trial_id] = _Live(spec, scope, trial, spec.config["optim"]["epochs"])
        # as text: Tune would take a nested dict apart in search of distributions
        return {"spec": spec.to_json(), "planned": scope.planned}

    def _transfers(self, at: int) -> bool:
        """Whether the scope's next trial shall come from a cheaper one."""
        scope = self.scopes[at]
        return at > 0 and not scope.waiting and not scope.named and scope.transferred < self._transfer

    def _must_wait(self, at: int) -> bool:
        """Whether trials of cheaper scopes, of which the next trial may be one of the best, are under way."""
        return self._transfers(at) and any(live.scope in self.scopes[:at] for live in self._live.values())

    def _offer(self, at: int) -> TrialSpec | None:
        """The best trial of cheaper scopes not tried here: their best ones before their second best, near ones first.

        Accuracies of different scopes are not compared.
        """
        if not self._transfers(at):
            return None
        rankings = [scope.ranking for scope in reversed(self.scopes[:at])]
        by_rank = (r[rank] for rank in range(max(map(len, rankings))) for r in rankings if rank < len(r))
        return next((spec for spec in by_rank if spec.parameters not in self.scopes[at].tried), None)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record an epoch."""
        live = self._live.get(trial_id)
        if live is not None and live.trial is not None:
            _report(live.trial, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record how the trial ended: complete only with all its epochs and a finite metric."""
        live = self._live.pop(trial_id, None)
        if live is None:
            return
        result = result or {}
        value = result.get(METRIC, math.nan)
        failed = error or bool(result.get("failed")) or not math.isfinite(value)
        whole = not failed and result["epoch"] >= live.epochs
        if whole:
            live.scope.finished.append((value, live.spec))
        if live.trial is None:
            return
        study = live.scope.optuna
        if failed:
            study.tell(live.trial, state=TrialState.FAIL)
        else:
            _report(live.trial, result)
            study.tell(live.trial, value if whole else None, state=None if whole else TrialState.PRUNED)
        if self._journal is not None:
            self._journal.trial_ended()

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


def _attributes(journal: Journal) -> dict[str, dict[str, str]]:
    """What an earlier run has noted of its trials in the journal, by our trial ids: what the result store has not."""
    try:
        storage = JournalStorage(_Backend(journal.earlier()))
        trials = [t for s in storage.get_all_studies() for t in storage.get_all_trials(s._study_id, deepcopy=False)]
        return {t.user_attrs["trial_id"]: t.user_attrs for t in trials if "trial_id" in t.user_attrs}
    except Exception as error:  # whatever replaying a damaged or foreign journal comes to
        log.info("%s: not read (%s: %s)", journal.path, type(error).__name__, error)
        return {}


def _frozen(past: PastTrial, space: Space, attributes: Mapping[str, str]) -> FrozenTrial:
    """A trial of the store as Optuna would have kept it."""
    fixed = optuna.trial.FixedTrial(past.spec.parameters)
    space.suggest(fixed)
    finite = {e: v for e, v in past.values.items() if math.isfinite(v)}
    state = {PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}.get(past.status, TrialState.COMPLETE)
    if state == TrialState.COMPLETE and not math.isfinite(past.value):
        state = TrialState.FAIL
    return optuna.trial.create_trial(
        state=state,
        value={TrialState.COMPLETE: past.value, TrialState.PRUNED: finite[max(finite)] if finite else None}.get(state),
        params=past.spec.parameters,
        distributions=fixed.distributions,
        intermediate_values=finite,
        user_attrs={"tune_trial_id": "", **attributes, "trial_id": past.spec.trial_id, "role": past.spec.role},
    )
