"""What is measured on GPUs, tried on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studies.benchmarks.on_gpu import ASKED, late_compilations, most_within
from studies.benchmarks.plain import make_plain
from studies.benchmarks.step import equal_memory
from studies.benchmarks.synthetic import step_config, synthetic_trainer
from studies.benchmarks.where import costliest, profile_note


def test_graphs_compiled_after_the_third_step_are_counted() -> None:
    torch.compiler.reset()
    double = torch.compile(lambda x: 2 * x, backend="eager", dynamic=False)
    assert late_compilations(lambda: double(torch.ones(3))) == 0
    lengths = iter([3, 3, 3, 3, 4, 5, 3, 3])
    assert late_compilations(lambda: double(torch.ones(next(lengths)))) == 2
    torch.compiler.reset()


@pytest.mark.parametrize(
    "memory,expected",
    [(1000, 90), (999, 89), (100, 0), (110, 1), (10**9, 4096)],
)
def test_the_largest_batch_that_a_memory_holds(memory: int, expected: int) -> None:
    assert 0.95 * expected <= most_within(memory, lambda batch: 100 + 10 * batch, 8) <= expected


@pytest.mark.parametrize("taken", [lambda n: n**2, lambda n: 200 + 30 * n**0.5, lambda n: 500 + 20 * n + 300 * (n > 8)])
def test_memory_that_does_not_grow_evenly(taken: Callable[[int], float]) -> None:
    asked: list[int] = []

    def noted(batch: int) -> int:
        asked.append(batch)
        return int(taken(batch))

    found = most_within(2000, noted, 8)
    best = max(n for n in range(1, 5000) if int(taken(n)) <= 2000)
    assert 0.95 * best <= found <= best and len(asked) <= ASKED


def test_memory_that_does_not_grow_at_all() -> None:
    assert most_within(100, lambda _: 50, 8) >= 0.95 * 4096 and most_within(10, lambda _: 50, 8) == 0


def test_clips_at_equal_memory(tmp_path: Path) -> None:
    config = step_config("tiny", {"loader.labelled": 1, "teacher.passes": 2, "optim.precision": "float32"})
    plain, ours = make_plain(synthetic_trainer(config, tmp_path)), synthetic_trainer(config, tmp_path)
    case, figure = equal_memory(plain, ours, "ours", 2)
    clips = case.columns["labelled clips a step"]
    assert clips["plain float32"] == "1" and int(clips["ours"]) >= 1  # each of them less memory than the plain way
    assert figure.value == case.ratio("ours") > 0 and len(case.seconds["ours"]) == 2


def test_operators_are_named_by_what_they_take() -> None:
    a = torch.randn(600, 600)

    def work() -> None:
        a @ a
        a @ a
        a + 1

    found = costliest(work, most=3)
    (dearest, (share, calls)), *rest = found.items()
    assert dearest == "aten::mm" and share > 0.5 and calls == 2
    assert sum(s for s, _ in found.values()) <= 1 and len(rest) == 2
    assert profile_note(found, "ours").startswith(
        f"Where ours spends a step (each operator by itself, share of all, calls): `aten::mm` {share:.1%} (2 ×), "
    )
