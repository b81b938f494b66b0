"""A sweep's time: when it is used up no trial starts, and those that run end with the epoch they are in."""

from __future__ import annotations

import math
import time
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher


class Budget(Stopper):
    """Wall-clock time from its making.

    Args:
        hours: how long; None: for ever.
    """

    def __init__(self, hours: float | None = None) -> None:
        self._ends = math.inf if hours is None else time.time() + 3600 * hours
        self.stopped: set[str] = (
            set()
        )  # Tune's ids of the trials that it has stopped; they are not pruned but under way

    @property
    def used_up(self) -> bool:
        """Whether the time is over."""
        return time.time() >= self._ends

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial that has just finished an epoch shall stop."""
        if not self.used_up or result.get("done"):
            return False
        self.stopped.add(trial_id)
        return True

    def stop_all(self) -> bool:
        """Never: it would throw away the epochs that trials are in."""
        return False


class WithinBudget(Searcher):
    """Deals another searcher's trials while there is time.

    Args:
        searcher: asked for trials, and told what became of those that were not cut short.
        budget: the time.
    """

    def __init__(self, searcher: Searcher, budget: Budget) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self._searcher, self._budget = searcher, budget

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration."""
        return Searcher.FINISHED if self._budget.used_up else self._searcher.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch has finished."""
        self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended; one that the budget stopped goes on another day, so the search counts it as running."""
        if trial_id not in self._budget.stopped:
            self._searcher.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """As the searcher does."""
        self._searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """As the searcher does."""
        self._searcher.restore(checkpoint_path)
