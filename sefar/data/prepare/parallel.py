"""Cutting with several processes, a source each at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path

from tqdm import tqdm

from sefar.data.prepare.cutting import Cut, Outcome, cut_clips

_stop: Event


@dataclass(frozen=True)
class Task:
    """What to cut out of a source; see `cut_clips`."""

    source: Path
    cuts: tuple[Cut, ...]
    numbered: bool = False


def cut_all(tasks: Iterable[Task], *, workers: int = 0, progress: bool = True) -> Iterator[Outcome]:
    """Cut clips out of many sources; the clips are the same whatever the number of processes.

    On Ctrl-C, clips begun are given up and the processes end; they also end with their parent, however that ends. A
    source that takes its process along fails alone.

    Args:
        tasks: one a source.
        workers: processes; 0: one a core; 1: this one.
        progress: show a bar on a terminal.

    Yields:
        What became of each clip, in no certain order.

    Raises:
        DataError: a clip cannot be written, for instance because the disk is full.
    """
    # the longest first, so that no process is left alone with one at the end
    todo = deque(sorted(tasks, key=lambda task: (-len(task.cuts), task.source)))
    total = sum(len(task.cuts) for task in todo)
    workers = workers or cores()
    done = _alone(todo) if min(workers, len(todo)) <= 1 else _in_processes(todo, workers)
    bar = tqdm(total=total, desc="cut clips", unit="clip", disable=None if progress else True)
    with bar, closing(done):
        for outcome in done:
            bar.update()
            yield outcome


def cores() -> int:
    """Cores this process may use; systems without affinity (macOS) report all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _alone(todo: Iterable[Task]) -> Generator[Outcome]:
    for task in todo:
        yield from cut_clips(task.source, task.cuts, numbered=task.numbered)


def _in_processes(todo: deque[Task], workers: int) -> Generator[Outcome]:
    while todo:
        for suspect in (yield from _pool(todo, workers)):
            for culprit in (yield from _pool(deque([suspect]), 1)):
                cause = f"{culprit.source.name}: the process that reads it dies"
                yield from (Outcome(cut.clip_id, 0, cause) for cut in culprit.cuts if not cut.target.exists())


def _pool(todo: deque[Task], workers: int) -> Generator[Outcome, None, list[Task]]:
    """Work on tasks until none is left or a process dies; returns those that were in work when it died."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    running: dict[Future[list[Outcome]], Task] = {}
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(stop,)) as pool:
        try:
            while todo or running:
                while todo and len(running) < workers:
                    with _without_interruption():
                        running[pool.submit(_cut, todo[0])] = todo[0]
                    todo.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcomes = future.result()
                    del running[future]
                    yield from outcomes
        except BrokenProcessPool:
            return list(running.values())
        finally:
            stop.set()
    return []


@contextmanager
def _without_interruption() -> Iterator[None]:
    """Put Ctrl-C off; processes started meanwhile never see it, not even while they start. Their parent says stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: Event) -> None:
    """In a process of the pool: remember who says when to stop, and end with the parent, however that ends."""
    global _stop
    _stop = stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _cut(task: Task) -> list[Outcome]:
    return list(cut_clips(task.source, task.cuts, numbered=task.numbered, stopped=_stop.is_set))
