"""Recorded curves: where they come from, and which stands in for a point."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sefar.errors import DataError, SefarError
from studies.engine.curves import (
    Curve,
    curve_study,
    curves_of_store,
    distance,
    nearest,
    points,
    read_curves,
    write_curves,
)
from studies.engine.random_point import random_point
from studies.engine.space import SCOPE_SWEEP, Parameter, Space
from studies.results.schema import FINISHED, PRUNED
from studies.results.store import ResultStore

POINT = {"perturb.kind": "none", "weighting.kind": "fixed", "weighting.threshold": 0.8, "objective.gamma_mix": 2.0}


def test_points_are_of_the_space_and_the_same_each_time() -> None:
    first, again = points(40), points(60)
    assert first == again[:40] and len({json.dumps(p, sort_keys=True) for p in first}) == 40
    for point in first:
        study = curve_study()
        config = study.config(study.scopes.values[0], "search", point)
        assert SCOPE_SWEEP.locate(config) == pytest.approx(point)


def test_random_points_fill_their_ranges() -> None:
    space = Space(
        (
            Parameter(name="a", choices=("x", "y")),
            Parameter(name="b", low=1.0, high=100.0, log=True),
            Parameter(name="c", low=2, high=8, step=2, integer=True, when=("a", ("x",))),
            Parameter(name="d", low=0.5, high=1.0, step=0.25),
            Parameter(name="e", low=1, high=64, log=True, integer=True),
        )
    )
    rng = np.random.default_rng(0)
    drawn = [random_point(space, rng) for _ in range(400)]
    assert {p["a"] for p in drawn} == {"x", "y"} and {p["d"] for p in drawn} == {0.5, 0.75, 1.0}
    assert {p.get("c") for p in drawn if p["a"] == "x"} == {2, 4, 6, 8} and all(
        "c" not in p for p in drawn if p["a"] == "y"
    )
    assert (
        all(1 <= p["b"] <= 100 for p in drawn) and 0.4 < np.mean([p["b"] < 10 for p in drawn]) < 0.6
    )  # even in the log
    assert all(isinstance(p["e"], int) and 1 <= p["e"] <= 64 for p in drawn)


def test_the_distance_of_points_is_summed_over_what_both_have() -> None:
    assert distance(POINT, POINT) == 0
    assert distance(POINT, {**POINT, "weighting.threshold": 0.65}) == pytest.approx(0.15 / 0.45)
    assert distance(POINT, {**POINT, "objective.gamma_mix": 3.0}) == pytest.approx(1 / 4)
    other = {"perturb.kind": "drop", "perturb.strength": 1.0, "weighting.kind": "adaptive", "weighting.kappa": 20.0}
    assert distance(POINT, other) == 2
    assert distance({"weighting.kappa": 5.0}, {"weighting.kappa": 20.0}) == pytest.approx(0.5)  # 5 to 80, in the log
    curves = [Curve("s", {**POINT, "weighting.threshold": t}, [1.0], 1.0) for t in (0.5, 0.7, 0.9)]
    assert nearest(curves, {**POINT, "weighting.threshold": 0.75}) is curves[1]


def test_curves_are_written_and_read(tmp_path: Path) -> None:
    curves = [Curve("s@1pc#0", POINT, [10.0, 20.5], 1.25), Curve("s@3pc#0", POINT, [30.0, 40.0], 2.0)]
    write_curves(curves, tmp_path / "curves.json")
    assert read_curves(str(tmp_path / "curves.json")) == curves
    (tmp_path / "torn.json").write_text("[{}")
    with pytest.raises(DataError, match=r"torn\.json: expected a table of learning curves"):
        read_curves(str(tmp_path / "torn.json"))
    with pytest.raises(SefarError, match="there is no result store"):
        read_curves(str(tmp_path / "nowhere"))


def test_curves_of_a_store_are_those_of_whole_trials(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    for name, status, parameters in (("a", FINISHED, POINT), ("b", PRUNED, POINT), ("c", FINISHED, {})):
        writer = store.writer("study", "s@1pc#0", name)
        for epoch in (1, 2):
            writer.epoch({"epoch": epoch, "dev_student_top1": 10.0 * epoch, "train_seconds": 3.0, "eval_seconds": 0.5})
        writer.trial({"status": status, "parameters": json.dumps(parameters)})
    assert curves_of_store(store.uri) == [Curve("s@1pc#0", POINT, [10.0, 20.0], 3.5)]
    with pytest.raises(DataError, match="holds no finished trial with searched parameters"):
        curves_of_store(ResultStore(str(tmp_path / "empty"), create=True).uri)


def test_the_recorded_curves_are_whole_and_paired() -> None:
    curves = read_curves()
    scopes = curve_study().scopes.values
    assert {curve.scope for curve in curves} == set(scopes)
    by_scope = [[c.parameters for c in curves if c.scope == scope] for scope in scopes]
    key = lambda point: json.dumps(point, sort_keys=True)  # noqa: E731
    assert sorted(by_scope[0], key=key) == sorted(by_scope[1], key=key) and len(by_scope[0]) >= 8
    assert {len(curve.dev_student_top1) for curve in curves} == {curve_study().epochs}
    assert all(0 <= value <= 100 for curve in curves for value in curve.dev_student_top1)
