"""Decoding in a child process with a time limit: on broken files decord can hang, and crash the process it runs in."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import queue
import resource
import signal
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from sefar.errors import DecodeError

MEND = "replace the clip or take it out of the list"
START_SECONDS = 120.0
"""A child that has not started after this long never will."""

Window = tuple[str, int, int]
"""Path, first frame, one past the last frame (−1: to the end)."""


class DecodeProcess:
    """A child process that decodes; it lives until it hangs or crashes, and is then replaced.

    The child ends with its parent, however that ends. To be used by one thread at a time.

    Args:
        limit_seconds: for one call, start of the child aside.
        task: ``module:function`` that is called; its first argument is the path.
        memory_gb: address space the child may take.
    """

    def __init__(
        self, limit_seconds: float, *, task: str = "sefar.data.decode:decode_clip", memory_gb: float = 8.0
    ) -> None:
        self.limit_seconds, self.task, self.memory_gb = limit_seconds, task, memory_gb
        self._child: Any = None
        self._pipe: Connection | None = None

    def __call__(self, path: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Call the task in the child.

        Raises:
            DecodeError: the task's own; any other error of the task; no answer within the limit; the child died.
            The message names the file.
        RuntimeError: no child starts.
        """
        pipe = self._pipe or self._start()
        try:
            pipe.send((str(path), args, kwargs))
            if not pipe.poll(self.limit_seconds):
                self.close()
                raise DecodeError(f"{path}: does not decode within {self.limit_seconds:g} s; {MEND}")
            good, answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise DecodeError(f"{path}: the process that decodes it {self._death()}; {MEND}") from error
        if not good:
            raise DecodeError(answer)
        return answer

    def kill(self) -> None:
        """Kill the child, whose call then fails; any thread may."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child; the next call starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
        if self._pipe is not None:
            self._pipe.close()
        self._child = self._pipe = None

    def __enter__(self) -> DecodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self.task, self.limit_seconds, self.memory_gb)
        self._child = context.Process(target=_serve, args=arguments, daemon=True)
        self._child.start()
        theirs.close()
        try:
            if not self._pipe.poll(START_SECONDS):
                self.close()
                raise RuntimeError(f"no decoding process starts within {START_SECONDS:g} s")
            self._pipe.recv()
        except EOFError as error:
            raise RuntimeError(f"the decoding process {self._death()} at its start") from error
        return self._pipe

    def _death(self) -> str:
        self._child.join(5)
        code = self._child.exitcode
        self.close()
        if code is None or code >= 0:
            return f"ended with code {code}"
        return f"died of signal {-code} ({signal.Signals(-code).name})"


def check_clips(
    windows: Iterable[Window],
    *,
    processes: int,
    limit_seconds: float,
    progress: bool = True,
    task: str = "sefar.data.verify:verify_clip",
) -> Iterator[tuple[Window, int | None, str | None]]:
    """Decode windows in child processes, strictly.

    Args:
        windows: path, first frame, one past the last (−1: to the end).
        processes: children at a time.
        limit_seconds: for one window.
        progress: show a bar on a terminal.
        task: ``module:function`` that returns a window's number of frames or raises DecodeError.

    Yields:
        The window, its number of frames or None, and what is wrong with it or None; in the order of `windows`.
    """
    windows = list(windows)
    children = [DecodeProcess(limit_seconds, task=task) for _ in range(processes)]
    idle: queue.SimpleQueue[DecodeProcess] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    stopped = threading.Event()

    def check(window: Window) -> tuple[Window, int | None, str | None]:
        child = idle.get()
        try:
            return window, None if stopped.is_set() else child(*window), None
        except DecodeError as error:
            return window, None, str(error)
        finally:
            idle.put(child)

    pool = ThreadPool(processes)
    try:
        results = pool.imap(check, windows)
        yield from tqdm(results, "check clips", len(windows), unit="clip", disable=None if progress else True)
    finally:
        stopped.set()
        for child in children:
            child.kill()
        pool.terminate()
        pool.join()
        for child in children:
            child.close()


def _serve(pipe: Connection, task: str, limit_seconds: float, memory_gb: float) -> None:
    """The child: call the task as it is told to, until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit = int(memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    module, _, name = task.partition(":")
    function = getattr(importlib.import_module(module), name)
    pipe.send(None)
    while True:
        try:
            path, args, kwargs = pipe.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, limit_seconds + 5)  # kills a hang that lets no thread run, parent or not
        try:
            answer = True, function(path, *args, **kwargs)
        except DecodeError as error:
            answer = False, str(error)
        except BaseException as error:
            cause = " ".join(str(error).split())[:160]
            answer = False, f"{path}: does not decode ({type(error).__name__}: {cause}); {MEND}"
        signal.setitimer(signal.ITIMER_REAL, 0)
        pipe.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
