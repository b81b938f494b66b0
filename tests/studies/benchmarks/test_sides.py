"""Each benchmark runs, says what it is meant to say, and its sides do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.benchmarks import passes, step, store, workers
from studies.benchmarks.findings import Options


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(quick=True, folder=tmp_path)


@pytest.mark.slow
def test_step(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "REPEATS", {"tiny": (1, 1), "vit_s_112": (0, 0), "vit_s_224": (0, 0)})
    small = step.step_config
    monkeypatch.setattr(step, "step_config", lambda size, changes: small(size, {**changes, "loader.labelled": 1}))
    found = step.run(options)
    names = [figure.name for figure in found.figures]
    assert names == ["step_speedup_tiny", "step_arithmetic_bound_tiny", "step_roofline_tiny"]
    speedup, bound, roofline = (figure.value for figure in found.figures)
    assert speedup > 0 and 2 < bound < 3 and roofline > 0  # how fast is for the study to show, not for a test
    (case,) = found.cases
    assert case.question == "A step of 1 + 3 clips, S = 10: tiny, 64 px" and list(case.seconds) == [
        step.PLAIN,
        step.OURS,
    ]
    gflop, memory = case.columns["GFLOP"], case.columns["memory beyond weights, MB"]
    assert float(gflop[step.OURS]) < float(gflop[step.PLAIN]) and float(memory[step.OURS]) > 5


@pytest.mark.slow
def test_passes(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "PASSES", (1, 20))
    small = passes.step_config
    monkeypatch.setattr(passes, "step_config", lambda size, changes: small(size, {**changes, "loader.labelled": 1}))
    found = passes.run(options)
    teacher, whole = found.cases
    assert all(seconds > 0 for case in found.cases for side in case.seconds.values() for seconds in side)
    assert [f.name for f in found.figures] == ["passes_cost_ratio"] and set(whole.seconds) == set(teacher.seconds)
    assert teacher.columns["the paper's Table 8"]["plain, S = 20"] == "361.3 ms, 5.27 × that of S = 2"


def test_store(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SIZES", (1_000, 2_000, 3_000, 4_000))
    found = store.run(options)
    assert [f.name for f in found.figures] == ["store_write_seconds_per_epoch", "store_read_seconds_per_million"]
    assert list(found.cases[1].seconds) == ["1000 rows", "2000 rows"]  # a quick run stops there
    assert all(figure.value > 0 for figure in found.figures)


@pytest.mark.slow
def test_workers(options: Options) -> None:
    found = workers.run(options)
    assert [f.name for f in found.figures] == [
        "workers_efficiency",
        "workers_machine_efficiency",
        "workers_strong_efficiency",
        "workers_processor_efficiency",
        "workers_communication_share",
    ]
    assert all(figure.value > 0 for figure in found.figures[:4]) and 0 <= found.figures[4].value <= 1
    measured, model = found.cases
    assert {len(seconds) for seconds in measured.seconds.values()} == {3} and model.question.startswith("MODEL")
