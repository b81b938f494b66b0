"""The search space: conditions, ranges, hash, and what it says of itself."""

from __future__ import annotations

import optuna
import pytest

from sefar.errors import ConfigError
from sefar.recipes import recipe, with_method
from studies.engine.space import SCOPE_SWEEP, Parameter, Space
from studies.engine.spec import Axis, Study, TrialSpec, scope_slug

BASE = recipe("synthgym_tiny")


def test_parameters_exist_only_under_their_condition():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        chosen = SCOPE_SWEEP.suggest(study.ask())
        fixed = chosen["weighting.kind"] == "fixed"
        assert ("weighting.threshold" in chosen) == fixed
        assert ("weighting.kappa" in chosen) == ("weighting.alpha" in chosen) == (not fixed)
        assert ("perturb.strength" in chosen) == (chosen["perturb.kind"] != "none")
        BASE.override(chosen)  # every point is a valid configuration
        seen |= set(chosen)
    assert seen == {p.name for p in SCOPE_SWEEP.parameters}


def test_the_papers_default_is_a_point_of_the_space_and_the_baseline_is_not():
    point = SCOPE_SWEEP.locate(BASE)
    assert point is not None and point["perturb.kind"] == "reverse_fine" and point["weighting.kappa"] == 20.0
    assert "weighting.threshold" not in point
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


def test_mistakes_in_a_space_are_named():
    with pytest.raises(ConfigError, match="low < high"):
        Parameter(name="x", low=1, high=1)
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
