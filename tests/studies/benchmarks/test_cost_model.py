from __future__ import annotations

from pathlib import Path

import pytest

from studies.benchmarks.arithmetic import count_flops
from studies.benchmarks.cost_model import (
    Assumptions,
    compute_seconds,
    counted,
    exchange_seconds,
    model_case,
    step_seconds,
)
from studies.benchmarks.step import stepping
from studies.benchmarks.synthetic import step_config, synthetic_trainer

ROUND = Assumptions(
    flops_per_clip=1e12,
    gradient_bytes=4e8,
    views_per_clip=2.5,
    clips=10,
    rate=1e13,
    inside_bytes_per_second=4e9,
    between_bytes_per_second=4e8,
    latency_seconds=0.0,
)


def test_the_model_by_hand() -> None:
    assert compute_seconds(ROUND) == 1.0
    assert exchange_seconds(ROUND, 8) == pytest.approx(2 * 7 / 8 * 0.1)
    assert exchange_seconds(ROUND, 64) == pytest.approx(2 * 63 / 64)  # over the slow network
    assert step_seconds(ROUND, 8) == 1.0  # the backward pass hides it
    assert step_seconds(ROUND, 64) == pytest.approx(1 + 2 * 63 / 64 - 2 / 3)
    late = Assumptions(**{**vars(ROUND), "latency_seconds": 1e-3})
    assert exchange_seconds(late, 512) - exchange_seconds(ROUND, 512) == pytest.approx(1022e-3)


def test_the_table_is_marked_as_a_model() -> None:
    case = model_case(ROUND)
    assert case.question.startswith("MODEL, not measured") and list(case.seconds) == ["8 GPUs", "64 GPUs", "512 GPUs"]
    assert case.columns["efficiency"]["8 GPUs"] == "100%" and case.columns["efficiency"]["64 GPUs"] == "43%"
    assert case.columns["views read/s by a GPU"]["8 GPUs"] == "25"


@pytest.mark.slow
def test_work_and_bytes_are_counted_of_the_network(tmp_path: Path) -> None:
    found = counted("tiny")
    assert found.views_per_clip == 2.5
    assert found.gradient_bytes == pytest.approx(4 * 0.6e6, rel=0.2)
    step = count_flops(stepping(synthetic_trainer(step_config("tiny"), tmp_path)))
    assert found.flops_per_clip == pytest.approx(step / 48, rel=0.03)
