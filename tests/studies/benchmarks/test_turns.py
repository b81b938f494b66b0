from __future__ import annotations

import os
import time

import torch

from studies.benchmarks.turns import in_turns, one_core, threads


def test_sides_take_turns_in_an_order_that_turns_round() -> None:
    order: list[str] = []
    seconds = in_turns({name: lambda name=name: order.append(name) for name in "abc"}, 3, warm=1)
    assert "".join(order) == "cba" + "abc" + "cba" + "abc"  # the first round is to warm up
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_seconds_are_those_of_each_side() -> None:
    seconds = in_turns({"long": lambda: time.sleep(0.03), "short": lambda: None}, 2, warm=0)
    assert min(seconds["long"]) >= 0.03 > max(seconds["short"])


def test_cores_and_threads_are_given_back() -> None:
    cores, before = os.sched_getaffinity(0), torch.get_num_threads()
    with one_core(), threads(1):
        assert len(os.sched_getaffinity(0)) == 1 and torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == cores and torch.get_num_threads() == before
