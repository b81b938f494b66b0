from __future__ import annotations

import multiprocessing
import os
import time
from typing import Any

import pytest
import torch

from studies.benchmarks.children import BenchmarkError
from studies.benchmarks.turns import apart, in_turns, one_core, threads


def turns(sides: str, repeats: int) -> list[str]:
    order: list[str] = []
    seconds = in_turns({name: lambda name=name: order.append(name) for name in sides}, repeats, warm=1)
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys(sides, repeats)
    return ["".join(order[at : at + len(sides)]) for at in range(0, len(order), len(sides))]


def test_two_sides_take_turns_at_going_first() -> None:
    assert turns("ab", 3) == ["ba", "ab", "ba", "ab"]  # the first round is to warm up


def test_more_sides_go_in_another_order_each_time_the_same_in_every_run() -> None:
    rounds = turns("abcd", 20)
    assert all(sorted(order) == list("abcd") for order in rounds) and rounds == turns("abcd", 20)
    assert {order[0] for order in rounds} == {order[-1] for order in rounds} == set("abcd")


def hanging(seconds: float) -> Any:
    return lambda: time.sleep(seconds)


def ending(code: int) -> Any:
    return lambda: os._exit(code)


def test_a_side_in_a_process_of_its_own_takes_its_turns_and_leaves() -> None:
    with apart(hanging, 0.03) as side:
        assert min(in_turns({"apart": side}, 2)["apart"]) >= 0.03
    assert not multiprocessing.active_children()


def test_a_side_whose_process_ends_says_so() -> None:
    with pytest.raises(BenchmarkError, match="process of a side ended with exit code 3"), apart(ending, 3) as side:
        side()
    assert not multiprocessing.active_children()


def test_seconds_are_those_of_each_side() -> None:
    seconds = in_turns({"long": lambda: time.sleep(0.03), "short": lambda: None}, 2, warm=0)
    assert min(seconds["long"]) >= 0.03 and all(seconds["short"])


def test_cores_and_threads_are_given_back() -> None:
    cores, before = os.sched_getaffinity(0), torch.get_num_threads()
    with one_core(), threads(1):
        assert len(os.sched_getaffinity(0)) == 1 and torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == cores and torch.get_num_threads() == before
