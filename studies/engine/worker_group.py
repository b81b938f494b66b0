"""What the workers of a distributed trial do: rank 0 runs it, the others make the calls that its trainer makes.

Calls travel by a gloo group of their own, so that workers waiting for the next one do not occupy their GPUs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from sefar.errors import SefarError, StoreError
from studies.engine.trial_run import TrialRun, one_line
from studies.engine.workload import Trains

log = logging.getLogger(__name__)

STEP_TIMEOUT = timedelta(days=1)
"""Far beyond what one process may be ahead of another; whoever dies is noticed by Ray."""

Call = tuple[str, tuple[Any, ...]]


class Line:
    """From rank 0 to the others, in the default process group's size."""

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo", timeout=STEP_TIMEOUT)

    def send(self, call: Call | None) -> None:
        """Rank 0: have the others make a call; None: let them go."""
        dist.broadcast_object_list([call], src=0, group=self._group)

    def receive(self) -> Call | None:
        """The others: wait for the next call."""
        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]


class Leader:
    """A trainer whose calls the other workers' trainers make too.

    Args:
        trainer: rank 0's.
        line: to the others.
    """

    def __init__(self, trainer: Trains, line: Line) -> None:
        self._trainer, self._line = trainer, line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def train_epoch(self) -> Any:
        """Train one epoch, together."""
        return self._together("train_epoch")

    def evaluate(self, part: str) -> Any:
        """Metrics and predictions of ``test``."""
        return self._together("evaluate", part)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint that rank 0 alone has read."""
        self._together("load_state_dict", state)

    def _together(self, name: str, *arguments: Any) -> Any:
        self._line.send((name, arguments))
        return getattr(self._trainer, name)(*arguments)


def follow(make: Callable[[], Trains], line: Line) -> None:
    """Make the calls that rank 0's trainer makes, until it lets go."""
    trainer = make()
    try:
        while (call := line.receive()) is not None:
            name, arguments = call
            getattr(trainer, name)(*arguments)
    finally:
        trainer.close()


def lead(
    open_run: Callable[[], TrialRun],
    next_step: Callable[[], tuple[int, int | None] | None],
    answer: Callable[[int, dict[str, Any]], None],
) -> None:
    """Take the steps that are asked for, until there are no more.

    Errors meant for the user are answered; others end this worker, and with it the group.
    """
    run: TrialRun | None = None
    try:
        while (asked := next_step()) is not None:
            step, known_epoch = asked
            try:
                run = run or open_run()
                answer(step, _step(run, known_epoch))
            except StoreError as error:
                answer(step, {"done": True, "failed": one_line(error), "fatal": True, "epoch": known_epoch or 0})
            except SefarError as error:
                answer(step, {"done": True, "failed": one_line(error), "epoch": known_epoch or 0})
    except Exception as error:
        if run is not None:
            run.logs.failed(error)
        raise
    finally:
        if run is not None:
            run.close()


def _step(run: TrialRun, known_epoch: int | None) -> dict[str, Any]:
    if run.trainer is None:
        run.open()
        done, planned = run.row["epochs_done"], run.row["epochs_planned"]
        if known_epoch is not None and known_epoch < done < planned:
            return run.result()  # an earlier group finished the epoch, but died before it could say so
    return run.step()
