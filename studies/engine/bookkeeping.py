"""What only the driver knows of a trial's end: that ASHA stopped it, that its worker died, that the store failed."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from sefar.errors import StoreError
from studies.engine.budget import Budget
from studies.engine.spec import TrialSpec
from studies.engine.trial_run import RunSettings, trial_row
from studies.results.amendments import Amendments
from studies.results.schema import FAILED, METRIC, PRUNED


class Bookkeeper(Callback):
    """Writes the end of trials that could not write it themselves; the actor is done with the trial by then.

    A store that fails stops the sweep from `on_step_end`: what the other hooks raise, Tune wraps in a TuneError.

    Args:
        settings: of the run.
        budget: that may have stopped a trial; such a trial is under way and not pruned.
    """

    def __init__(self, settings: RunSettings, budget: Budget) -> None:
        self.settings, self.budget = settings, budget
        self._amendments = Amendments(settings.store)
        self._fatal: str | None = None
        self._died_at: dict[str, int] = {}  # epoch after which a trial's worker died last

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note that a trial could not write its results."""
        if result.get("fatal"):
            self._fatal = result["failed"]

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop the sweep when the store has failed."""
        if self._fatal is not None:
            raise StoreError(self._fatal)
        self._amendments.retry()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Wait for a storage that does not answer to take what the driver has to record."""
        self._amendments.settle(self.settings.patience_seconds)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forgive the deaths of workers that lie before an epoch finished since: nodes come and go all night."""
        epoch = int((trial.last_result or {}).get("epoch", 0))
        if epoch > self._died_at.get(trial.trial_id, 0):
            trial.run_metadata.num_failures = 1
        self._died_at[trial.trial_id] = epoch

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Mark a trial that ended before its last epoch as pruned, unless the time was up."""
        if trial.trial_id in self.budget.stopped:
            return
        result = trial.last_result
        spec = TrialSpec.from_json(trial.config["spec"])
        if not result.get("failed") and METRIC in result and result["epoch"] < spec.config["optim"]["epochs"]:
            self._amend(trial, spec, {"status": PRUNED})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Mark a trial whose worker died, after all retries, as failed."""
        lines = (trial.error_file and _last_line(trial.error_file)) or "the worker died"
        self._amend(trial, TrialSpec.from_json(trial.config["spec"]), {"status": FAILED, "error": lines})

    def _amend(self, trial: Any, spec: TrialSpec, changes: dict[str, Any]) -> None:
        try:
            fresh = trial_row(spec, self.settings, trial.config["planned"])
            self._amendments.add(spec.study, spec.scope, spec.trial_id, changes, fresh)
            if changes["status"] == PRUNED:
                self.settings.checkpoints(spec.study).remove(spec.trial_id)
        except StoreError as error:
            self._fatal = str(error)


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return " ".join(([line.strip() for line in lines if line.strip()] or [""])[-1].split())[:500]
    except OSError:
        return ""
