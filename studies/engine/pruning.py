"""The scheduler of a sweep: one ASHA (arXiv 1810.05934) a label scope, so that no rung compares scopes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from studies.engine.history import PastTrial
from studies.engine.spec import Study, TrialSpec
from studies.results.schema import DEFAULT, METRIC, RUNNING, SEARCH, SUPERVISED


class ScopedASHA(FIFOScheduler):
    """Stops the weaker half of a scope's trials at each rung; named ones and confirm trials always run to their end.

    Args:
        study: the sweep.
        history: what the store holds; it fills the rungs as it did when it ran.
        grace_epochs: before which none is stopped; None: the study's.

    Attributes:
        stopped: trials under way that stop at the epoch they have finished last. Their run ended before the decision
            was made or recorded, and a rung decides but once, so it would let them go on.
    """

    def __init__(self, study: Study, history: list[PastTrial], grace_epochs: int | None = None) -> None:
        super().__init__()
        grace_epochs = study.grace_epochs if grace_epochs is None else grace_epochs
        self._ashas: dict[str, Any] = {scope: _asha(study.epochs, grace_epochs) for scope in study.scopes.values}
        self._specs: dict[str, TrialSpec] = {}
        compared = [past for past in history if past.spec.scope in self._ashas and _compared(past.spec)]
        under_way = sorted((p for p in compared if p.status == RUNNING), key=lambda p: -max(p.values, default=0))
        for past in compared:
            if past.status != RUNNING:
                self._replay(past)
        self.stopped = [p for p in under_way if self._replay(p) and max(p.values) < study.epochs]

    def _replay(self, past: PastTrial) -> bool:
        """Fill the rungs with a trial; whether its last epoch stops it."""
        asha, trial, decision = self._ashas[past.spec.scope], _alias(past.spec), TrialScheduler.CONTINUE
        asha.on_trial_add(None, trial)
        for epoch, value in sorted(past.values.items()):
            decision = TrialScheduler.CONTINUE
            if math.isfinite(value):
                decision = asha.on_trial_result(None, trial, {"epoch": epoch, METRIC: value})
        if past.status != RUNNING:
            asha.on_trial_remove(None, trial)
        return decision == TrialScheduler.STOP and past.spec.role != DEFAULT

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter the trial in its scope's bracket."""
        spec = TrialSpec.from_json(trial.config["spec"])
        self._specs[trial.trial_id] = spec
        if _compared(spec):
            self._ashas[spec.scope].on_trial_add(tune_controller, _alias(spec))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        spec = self._specs[trial.trial_id]
        if not _compared(spec) or not math.isfinite(result.get(METRIC, math.nan)):
            return TrialScheduler.CONTINUE
        decision = self._ashas[spec.scope].on_trial_result(tune_controller, _alias(spec), result)
        # the default sets the bar for others but is itself always finished
        return TrialScheduler.CONTINUE if spec.role == DEFAULT else decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing to record: Tune asks no scheduler about a trial's last epoch, and no rung needs its value."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to forget."""


def _compared(spec: TrialSpec) -> bool:
    """Whether the rungs count it: the supervised baseline is another method, a confirm trial no search."""
    return spec.role != SUPERVISED and spec.stage == SEARCH


def _alias(spec: TrialSpec) -> Any:
    """The trial under our own id, which a resumed trial keeps while Tune gives it another."""
    return SimpleNamespace(trial_id=spec.trial_id)


def _asha(epochs: int, grace_epochs: int) -> AsyncHyperBandScheduler:
    return AsyncHyperBandScheduler(
        time_attr="epoch",
        metric=METRIC,
        mode="max",
        max_t=epochs,
        grace_period=grace_epochs,
        reduction_factor=2,
        stop_last_trials=False,
    )
