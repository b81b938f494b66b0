"""Processes that work for a benchmark and end with it; where one fails, so does the benchmark, at once."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from sefar.errors import SefarError

ABORT_SECONDS = 5.0


class BenchmarkError(SefarError):
    """A process of a benchmark has ended."""


class Children:
    """A context in which processes run; they have started when it begins and ended when it ends.

    Args:
        processes: not yet started.
        barrier: at which they and this process meet.

    Raises:
        BenchmarkError: at `meet`, `get` or the context's end, a process has failed.
    """

    def __init__(self, processes: Sequence[BaseProcess], barrier: Any = None) -> None:
        self._processes, self._barrier = processes, barrier
        self._codes: list[int] = []  # of those that have ended
        self._failed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Children:
        try:
            for process in self._processes:
                process.daemon = True
                process.start()
        except BaseException:
            for process in self._processes:
                if process.pid is not None:
                    process.kill()
            raise
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.wait()
                self._check()
        finally:
            for process in self._processes:
                process.kill()  # does nothing to one that the watcher has seen end
            self.wait()

    def meet(self) -> None:
        """Wait at the barrier for all."""
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:
            self._failed.wait(ABORT_SECONDS)
            self._check()
            raise

    def get(self, results: Any) -> Any:
        """The next result of a queue."""
        while True:
            over = not self._watcher.is_alive()
            with contextlib.suppress(queue.Empty):
                return results.get(timeout=0.5)
            self._check()
            if over:
                raise BenchmarkError("the processes of the benchmark ended without a result; what they said is above")

    def wait(self) -> None:
        """Until all have ended."""
        self._watcher.join()

    def _watch(self) -> None:
        # nobody else asks a process for its end: of two that do, one is told that there is no such process
        running = list(self._processes)
        while running:
            ready = wait([process.sentinel for process in running])
            for process in [p for p in running if p.sentinel in ready]:
                running.remove(process)
                process.join()
                while (code := process.exitcode) is None:  # another thread that starts a process has asked meanwhile
                    time.sleep(0.01)
                self._codes.append(code)
                if code:
                    self._failed.set()
                    if self._barrier is not None:
                        self._barrier.abort()  # nobody waits for one that will not come

    def _check(self) -> None:
        codes = [code for code in self._codes if code]
        if codes:
            raise BenchmarkError(f"a process of the benchmark ended with exit code {codes[0]}; what it said is above")
