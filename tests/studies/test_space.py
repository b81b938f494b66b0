"""The search space: conditions, ranges, hash, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from sefar.errors import ConfigError
from sefar.recipes import recipe, with_method
from studies.engine.space import MOVING, SCOPE_SWEEP, Parameter, Space
from studies.engine.spec import Axis, Study, TrialSpec, scope_slug

BASE = recipe("synthgym_tiny")


def test_parameters_exist_only_under_their_condition():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        chosen = SCOPE_SWEEP.suggest(study.ask())
        fixed = chosen["weighting.kind"] == "fixed"
        assert ("weighting.threshold" in chosen) == fixed
        for name in ("weighting.kappa", "weighting.alpha", "teacher.passes"):
            assert (name in chosen) == (not fixed)
        assert ("perturb.strength" in chosen) == (chosen["perturb.kind"] != "none")
        BASE.override(chosen)  # every point is a valid configuration
        seen |= set(chosen)
    assert seen == {p.name for p in SCOPE_SWEEP.parameters}


def test_the_papers_default_is_a_point_of_the_space_and_the_baseline_is_not():
    point = SCOPE_SWEEP.locate(BASE)
    assert point is not None and point["perturb.kind"] == "reverse_fine" and point["weighting.kappa"] == 20.0
    assert "weighting.threshold" not in point and point["teacher.passes"] == 10
    assert SCOPE_SWEEP.locate(with_method(BASE, "supervised")) is None
    assert SCOPE_SWEEP.locate(BASE.override({"perturb.strength": 0.3})) is None  # off the grid


def test_the_hash_follows_the_content():
    a = Space((Parameter(name="perturb.strength", low=0, high=1),))
    same = Space((Parameter(name="perturb.strength", low=0, high=1),))
    other = Space((Parameter(name="perturb.strength", low=0, high=0.9999999),))
    assert a.hash == same.hash != other.hash


def test_the_table_names_values_and_condition():
    rows = {row[0]: row[1:] for row in SCOPE_SWEEP.table()}
    assert rows["weighting.threshold"] == ("0.5 … 0.95, step 0.05", "weighting.kind = fixed")
    assert rows["weighting.kind"] == ("adaptive | fixed", "always")
    assert rows["perturb.strength"] == ("0.25 … 1, step 0.25", "perturb.kind ≠ none")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"low": 1, "high": 1}, "low < high"),
        ({"low": 1, "high": 2, "step": 0.1, "log": True}, "a step or log, not both"),
        ({"low": 0, "high": 1, "step": 0.3}, "high on the grid, a whole number of steps of 0.3 from low, got 1"),
        ({"low": 0, "high": 1, "step": 2}, r"a step in \(0, 1\], got 2"),
        ({"low": 0, "high": 1, "log": True}, "low > 0 for a logarithmic scale"),
        ({"low": 0.5, "high": 2, "integer": True}, "whole numbers, got 0.5 … 2"),
        ({"choices": ("a", "b", "a")}, "given twice: a | b | a"),
    ],
)
def test_mistakes_in_a_parameter_are_named(fields, text):
    with pytest.raises(ConfigError, match=rf"search space: x: .*{text}"):
        Parameter(name="x", **fields)


def test_whole_numbers_are_suggested_as_such():
    space = Space(
        (
            Parameter(name="teacher.passes", low=2, high=11, step=3, integer=True),
            Parameter(name="optim.steps_per_epoch", low=1, high=100, log=True, integer=True),
        )
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [space.suggest(study.ask()) for _ in range(60)]
    assert {p["teacher.passes"] for p in points} == {2, 5, 8, 11}
    assert all(type(value) is int for p in points for value in p.values())
    assert space.table()[0][1] == "2 … 11, step 3" and space.table()[1][1] == "1 … 100, log"
    assert Parameter(name="x", low=1, high=4, integer=True).describe()[1] == "1 … 4, step 1"
    parameter = space.parameters[0]
    assert [v for v in (1, 2, 2.0, 3, 5, 5.5, 11, 14, True, "5") if parameter.admits(v)] == [2, 2.0, 5, 11]
    assert space.parameters[1].admits(7) and not space.parameters[1].admits(7.5)


def test_the_hash_of_a_space_without_whole_numbers_is_that_of_earlier_versions():
    """Stores written before there were any must stay the same study."""
    old = Space(tuple(p for p in SCOPE_SWEEP.parameters if not p.integer))
    assert old.hash == "69eb62e7"


def test_a_space_survives_as_text():
    again = Space.from_json(SCOPE_SWEEP.to_json())
    assert again == SCOPE_SWEEP and again.hash == SCOPE_SWEEP.hash


def changed(**fields: object) -> Space:
    name = str(fields.pop("name"))
    return Space(tuple(replace(p, **fields) if p.name == name else p for p in SCOPE_SWEEP.parameters))


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (
            changed(name="weighting.threshold", low=0.6, high=0.9),
            "weighting.threshold 0.5 … 0.95, step 0.05 → 0.6 … 0.9, step 0.05",
        ),
        (changed(name="perturb.kind", choices=MOVING), "perturb.kind lost 'none'"),
        (
            changed(name="weighting.kind", choices=("adaptive", "flexmatch")),
            "weighting.kind lost 'fixed' and gained 'flexmatch'",
        ),
        (
            changed(name="weighting.kind", choices=("fixed", "adaptive")),
            "weighting.kind changed the order of its choices to fixed | adaptive",
        ),
        (
            changed(name="weighting.alpha", when=None),
            "weighting.alpha [weighting.kind = adaptive] → [always]",
        ),
        (changed(name="weighting.alpha", high=4.00000001), "weighting.alpha 0.25 … 4.0 → 0.25 … 4.00000001"),
        (changed(name="weighting.kappa", log=False), "weighting.kappa 5 … 80, log → 5 … 80"),
        (changed(name="teacher.passes", integer=False), "teacher.passes takes any numbers"),
        (
            changed(name="weighting.kappa", integer=True, high=90.0),
            "weighting.kappa 5 … 80, log → 5 … 90, log and takes whole numbers only",
        ),
        (Space(SCOPE_SWEEP.parameters[:-1]), "objective.gamma_mix is no longer searched"),
        (
            Space((*SCOPE_SWEEP.parameters, Parameter(name="optim.clip_norm", low=0.5, high=2))),
            "optim.clip_norm is searched too",
        ),
        (Space((SCOPE_SWEEP.parameters[-1], *SCOPE_SWEEP.parameters[:-1])), "the order of its parameters has changed"),
        (
            Space((replace(SCOPE_SWEEP.parameters[0], choices=MOVING), *SCOPE_SWEEP.parameters[1:-1])),
            "perturb.kind lost 'none'; objective.gamma_mix is no longer searched",
        ),
        (SCOPE_SWEEP, ""),
    ],
)
def test_a_change_is_told_in_words(new, text):
    assert SCOPE_SWEEP.changes(new) == text
    assert (new.hash == SCOPE_SWEEP.hash) == (not text)


def test_mistakes_in_a_space_are_named():
    with pytest.raises(ConfigError, match=r"depends on 'weighting.kin', which does not come before"):
        Space((Parameter(name="weighting.alpha", when=("weighting.kin", ("adaptive",))),))
    with pytest.raises(ConfigError, match=r"perturb\.strenth"):
        Study(
            name="s",
            base=BASE,
            scopes=Axis(key="scope.name", values=("synthgym/all",)),
            space=Space((Parameter(name="perturb.strenth"),)),
            trials=3,
        )


def test_a_study_enumerates_trials_with_unique_names():
    scopes = ("synthgym/event:FX@1pc#0", "synthgym/event:FX@1pc#1", "lists:/a-b", "lists:/a/b")
    assert len({scope_slug(s) for s in scopes}) == 4
    study = Study(
        name="s", base=BASE, scopes=Axis(key="scope.name", values=scopes), space=SCOPE_SWEEP, trials=3, seed=0
    )
    spec = study.spec(scopes[1], 7, "search", {"perturb.kind": "drop"})
    assert spec.trial_id.startswith("s.event-FX-1pc-1-") and spec.trial_id.endswith(".007")
    assert spec.config["scope"]["name"] == scopes[1] and spec.config["perturb"]["kind"] == "drop"
    assert TrialSpec.from_json(spec.to_json()) == spec
    assert study.config(scopes[0], "supervised").objective.gamma_unlabelled == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"trials": 1}, "--trials: expected at least 2"),
        ({"name": "a/b"}, "--name"),
        ({"scopes": Axis(key="scope.name", values=("synthgim/all",))}, "did you mean 'synthgym'"),
    ],
)
def test_a_study_refuses_what_cannot_run(changes, text):
    fields = {
        "name": "s",
        "base": BASE,
        "scopes": Axis(key="scope.name", values=("synthgym/all",)),
        "space": SCOPE_SWEEP,
        "trials": 3,
    }
    with pytest.raises((ConfigError, ValueError), match=text):
        Study(**(fields | changes))
    with pytest.raises(ConfigError, match="given twice"):
        Axis(key="scope.name", values=("a", "a"))


def test_only_what_changes_results_changes_the_study_hash():
    def of(**overrides: object) -> str:
        base = BASE.override({k.replace("__", "."): v for k, v in overrides.items()})
        scopes = Axis(key="scope.name", values=("synthgym/all",))
        return Study(name="s", base=base, scopes=scopes, space=SCOPE_SWEEP, trials=3).hash

    assert (
        of()
        == of(scope__root="elsewhere")
        == of(loader__workers=0)
        == of(loader__frame_store_gb=3)
        == of(scope__name="synthgym/pairs")
    )
    assert of() != of(optim__epochs=13) and of() != of(seed=1)
