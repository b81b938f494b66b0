"""Processes that work for a benchmark and end with it; where one fails, so does the benchmark, at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from sefar.errors import SefarError


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

    def __enter__(self) -> Children:
        for process in self._processes:
            process.daemon = True
            process.start()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                for process in self._processes:
                    process.join()
                self._check()
        finally:
            for process in self._processes:
                process.kill()
                process.join()

    def meet(self) -> None:
        """Wait at the barrier for all."""
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:
            self._check()
            raise

    def get(self, results: Any) -> Any:
        """The next result of a queue."""
        while True:
            with contextlib.suppress(queue.Empty):
                return results.get(timeout=0.5)
            self._check()

    def _watch(self) -> None:
        running = list(self._processes)
        while running:
            wait([process.sentinel for process in running])
            ended = [process for process in running if process.exitcode is not None]
            if self._barrier is not None and any(process.exitcode for process in ended):
                self._barrier.abort()  # nobody waits for one that will not come
                return
            running = [process for process in running if process not in ended]

    def _check(self) -> None:
        codes = [process.exitcode for process in self._processes if process.exitcode]
        if codes:
            raise BenchmarkError(f"a process of the benchmark ended with exit code {codes[0]}; what it said is above")
