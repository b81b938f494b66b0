"""Where the driver of a distributed trial and its workers meet: no worker trains an epoch that was not asked for."""

from __future__ import annotations

import asyncio
from typing import Any

ALONE_SECONDS = 60.0
"""A worker that failed waits so long for rank 0 to fail as well; if it does not, rank 0 waits for it in vain."""


class Gate:
    """Passes steps to rank 0 and results to the driver; an actor, so it outlives any worker.

    A run is one trial of one driver. Every call names the run it is for, and calls for one that is over, as workers on
    their way out make, change nothing. A worker group that was lost leaves the step it was at to the next group.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._run = ""  # none is under way
        self._asked = self._answered = 0
        self._epoch: int | None = None  # of the last answer
        self._result: dict[str, Any] = {}

    async def begin(self, run: str) -> None:
        """Open the gate for a run, and for no other."""
        async with self._changed:
            self._run, self._asked, self._answered, self._epoch = run, 0, 0, None
            self._changed.notify_all()

    async def end(self) -> None:
        """Send the workers home."""
        async with self._changed:
            self._run = ""
            self._changed.notify_all()

    async def ask(self, run: str) -> dict[str, Any]:
        """Driver: let the workers take a step, and wait for what came of it."""
        async with self._changed:
            self._asked += 1
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._answered == self._asked or self._run != run)
            return self._result

    async def next_step(self, run: str) -> tuple[int, int | None] | None:
        """Rank 0: wait until a step is asked for.

        Returns:
            The step's number and the epoch that the driver knows of (None: of none); None when the run is over.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._asked > self._answered or self._run != run)
            return (self._asked, self._epoch) if self._run == run else None

    async def answer(self, run: str, step: int, result: dict[str, Any]) -> None:
        """Rank 0: what came of a step."""
        async with self._changed:
            if self._run == run and step == self._answered + 1:
                self._answered, self._epoch, self._result = step, result["epoch"], result
                if result["done"]:
                    self._run = ""
                self._changed.notify_all()

    async def over(self, run: str) -> None:
        """Wait for the end of the run."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._run != run)

    async def complain(self, run: str, line: str, alone_seconds: float) -> None:
        """Worker: an error of the trial has occurred here; returns when the run is over.

        Where rank 0 does not meet it too, it is answered in its place, marked ``unrecorded``.
        """
        try:
            await asyncio.wait_for(self.over(run), alone_seconds)
        except TimeoutError:
            failure = {"done": True, "failed": line, "unrecorded": True, "epoch": self._epoch or 0}
            await self.answer(run, self._answered + 1, failure)
            await self.over(run)
