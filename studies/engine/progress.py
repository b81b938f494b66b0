"""One quiet line: trials done and running, the best so far of each scope, the time left."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import Any

from ray.tune import Callback

from studies.engine.budget import Budget
from studies.engine.history import PastTrial
from studies.engine.spec import TrialSpec
from studies.results.leaderboard import clock, short_scope
from studies.results.schema import FINISHED, METRIC, RUNNING

QUIET_SECONDS = 30.0  # between lines where the output is not a terminal


class ProgressLine(Callback):
    """Redraws itself on a terminal; elsewhere prints a line when something has changed, but seldom.

    Args:
        planned: trials of each scope in the end.
        epochs: of a whole trial.
        history: what the store holds.
        budget: that may stop trials; these are under way and not done.
    """

    def __init__(self, planned: dict[str, int], epochs: int, history: list[PastTrial], budget: Budget) -> None:
        self._budget = budget
        self._total, self._epochs = sum(planned.values()), epochs
        ended = [p for p in history if p.spec.scope in planned and p.status != RUNNING]
        self._done, self._failed = len(ended), 0
        self._best = dict.fromkeys(planned, math.nan)
        for past in ended:
            if past.status == FINISHED:
                self._offer(past.spec.scope, past.value)
        self._running: dict[str, int | None] = {}  # epochs finished of each running trial; None: not heard of yet
        self._worked = 0  # epochs this run has finished or saved by pruning
        self._to_work = (self._total - self._done) * epochs
        self._started = time.time()
        self._shown_at, self._shown = 0.0, ""

    def _offer(self, scope: str, value: float) -> None:
        if not value <= self._best.get(scope, math.nan):
            self._best[scope] = value

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has an actor."""
        self._running.setdefault(trial.trial_id, None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has finished an epoch."""
        if result.get("failed"):
            return
        before, now = self._running.get(trial.trial_id), result["epoch"]
        if before is None:  # what an earlier run trained is no work of this one
            before = now - 1
            self._to_work -= before
        self._worked += max(now - before, 0)  # 0: an epoch trained again after a dead worker
        self._running[trial.trial_id] = max(before, now)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended, or the time is up."""
        if trial.trial_id in self._budget.stopped:
            self._running.pop(trial.trial_id, None)
            return
        result = trial.last_result
        self._worked += self._epochs - (self._running.pop(trial.trial_id, None) or 0)
        self._done += 1
        if result.get("failed"):
            self._failed += 1
        elif result.get("epoch", 0) >= self._epochs:
            self._offer(TrialSpec.from_json(trial.config["spec"]).scope, result[METRIC])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's worker has died for good."""
        self._worked += self._epochs - (self._running.pop(trial.trial_id, None) or 0)
        self._done += 1
        self._failed += 1

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune's event loop has turned."""
        self.show()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """The last line."""
        self.show(last=True)

    def text(self) -> str:
        """The line."""
        parts = [f"{self._done}/{self._total} trials", f"{len(self._running)} running"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        best = [f"{short_scope(s)} {v:.1f} %" for s, v in self._best.items() if v == v]
        if best:
            parts.append("best dev " + ", ".join(best))
        left = self._to_work - self._worked
        if self._worked and left > 0:
            elapsed = time.time() - self._started
            parts.append(f"{clock(elapsed)} gone, about {clock(left * elapsed / self._worked)} left")
        return " · ".join(parts)

    def show(self, *, last: bool = False) -> None:
        """Draw the line if it is due."""
        now, terminal = time.time(), sys.stderr.isatty()
        if not last and now - self._shown_at < (0.5 if terminal else QUIET_SECONDS):
            return
        text = self.text()
        if text == self._shown and not last:
            return
        self._shown_at, self._shown = now, text
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r" + text[:width].ljust(width) + ("\n" if last else ""))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
