"""Processes of a benchmark: what becomes of those that fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

import pytest

from studies.benchmarks.children import BenchmarkError, Children

SPAWN = multiprocessing.get_context("spawn")


def meets(barrier: Any, results: Any) -> None:
    barrier.wait()
    results.put(7)
    barrier.wait()


def fails_between(barrier: Any, results: Any) -> None:
    barrier.wait()
    os._exit(3)


def is_killed(barrier: Any, results: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_they_meet_and_bring_results() -> None:
    barrier, results = SPAWN.Barrier(3), SPAWN.Queue()
    with Children([SPAWN.Process(target=meets, args=(barrier, results)) for _ in range(2)], barrier) as children:
        children.meet()
        assert [children.get(results), children.get(results)] == [7, 7]
        children.meet()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("work,code", [(fails_between, 3), (is_killed, -9)])
@pytest.mark.parametrize("wanted", ["meet", "get"])
def test_none_waits_for_one_that_has_failed(work: Any, code: int, wanted: str) -> None:
    barrier, results = SPAWN.Barrier(2), SPAWN.Queue()
    ended = pytest.raises(BenchmarkError, match=rf"^a process of the benchmark ended with exit code {code};")
    with ended, Children([SPAWN.Process(target=work, args=(barrier, results))], barrier) as children:
        if work is fails_between:
            children.meet()
        if wanted == "meet":
            children.meet()
        children.get(results)
    assert not multiprocessing.active_children()


def test_a_failure_at_the_end_is_noticed() -> None:
    barrier, results = SPAWN.Barrier(2), SPAWN.Queue()
    with (
        pytest.raises(BenchmarkError, match="exit code 3"),
        Children([SPAWN.Process(target=fails_between, args=(barrier, results))], barrier) as children,
    ):
        children.meet()
