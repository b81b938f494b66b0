"""What only the driver knows of a trial's end: that ASHA stopped it, that its worker died, that the store failed."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

from ray.tune import Callback

from sefar.errors import StoreError
from studies.engine.budget import Budget
from studies.engine.spec import TrialSpec
from studies.engine.trial_run import RunSettings, trial_row
from studies.results.amendments import Amendments
from studies.results.schema import FAILED, METRIC, PRUNED

log = logging.getLogger(__name__)

WORKER_DEATHS = 2  # times in a row, without an epoch between, that a trial is taken up after its worker died


class Bookkeeper(Callback):
    """Writes the end of trials that could not write it themselves; the actor is done with the trial by then.

    A store that fails stops the sweep from `on_step_end`: what the other hooks raise, Tune wraps in a TuneError.

    Args:
        settings: of the run.
        budget: that may have stopped a trial; such a trial is under way and not pruned.
        last_pass: no further Tune run takes up what this one has lost.

    Attributes:
        lost: trials that are not tried again though their workers have not died often enough to count as failed.
    """

    def __init__(self, settings: RunSettings, budget: Budget, *, last_pass: bool = True) -> None:
        self.settings, self.budget = settings, budget
        self.lost, self._last_pass = 0, last_pass
        self._amendments = Amendments(settings.store)
        self._fatal: str | None = None
        self._died_at: dict[str, int] = {}  # epoch after which a trial's worker died last

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note that a trial could not write its results; an epoch forgives the deaths of workers before it.

        Nodes come and go all night. Tune counts a death before it asks `on_trial_recover`, so it is too late there. An
        epoch that is trained again, for want of a fresh checkpoint, forgives nothing.
        """
        if result.get("fatal"):
            self._fatal = result["failed"]
        if not result.get("failed") and result.get("epoch", 0) > self._died_at.get(trial.trial_id, math.inf):
            trial.run_metadata.num_failures = 0
            del self._died_at[trial.trial_id]

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop the sweep when the store has failed."""
        if self._fatal is not None:
            raise StoreError(self._fatal)
        self._amendments.retry()
        self._remove_checkpoints()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Wait for a storage that does not answer to take what the driver has to record, unless it failed already."""
        try:
            self._amendments.settle(0.0 if self._fatal is not None else self.settings.patience_seconds)
        except StoreError as error:
            if self._fatal is None:
                raise
            log.warning("%s", error)
        finally:
            self._remove_checkpoints()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note after which epoch the trial's worker died."""
        epoch = int((trial.last_result or {}).get("epoch", 0))
        self._died_at[trial.trial_id] = max(epoch, self._died_at.get(trial.trial_id, 0))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Mark a trial that ended before its last epoch as pruned, unless the time was up."""
        if trial.trial_id in self.budget.stopped:
            return
        result = trial.last_result
        spec = TrialSpec.from_json(trial.config["spec"])
        if not result.get("failed") and METRIC in result and result["epoch"] < spec.config["optim"]["epochs"]:
            self._amend(trial, spec, {"status": PRUNED})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Mark a trial whose worker died, after all retries, as failed.

        Where its node died while Tune was handing it to an actor there, Tune makes no retries: it is left for the next
        pass.
        """
        if not self._last_pass and trial.run_metadata.num_failures <= WORKER_DEATHS:
            self.lost += 1
            return
        lines = (trial.error_file and _last_line(trial.error_file)) or "the worker died"
        self._amend(trial, TrialSpec.from_json(trial.config["spec"]), {"status": FAILED, "error": lines})

    def _amend(self, trial: Any, spec: TrialSpec, changes: dict[str, Any]) -> None:
        try:
            fresh = trial_row(spec, self.settings, trial.config["planned"])
            self._amendments.add(spec.study, spec.scope, spec.trial_id, changes, fresh)
        except StoreError as error:
            self._fatal = str(error)
        self._remove_checkpoints()

    def _remove_checkpoints(self) -> None:
        """Of trials that the store says are pruned; what an outage leaves there goes at the end of a stage."""
        for one in self._amendments.written():
            if one.changes["status"] == PRUNED:
                try:
                    replace(self.settings, patience_seconds=0.0).checkpoints(one.study).remove(one.trial_id)
                except StoreError as error:
                    log.warning("%s; the checkpoint of trial %s stays there", error, one.trial_id)


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return " ".join(([line.strip() for line in lines if line.strip()] or [""])[-1].split())[:500]
    except OSError:
        return ""
