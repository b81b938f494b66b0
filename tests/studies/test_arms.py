"""The ablations as data: what each arm is, and what it is not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from sefar.config import TrainConfig
from sefar.errors import ConfigError, ScopeError
from sefar.recipes import RECIPES, recipe
from sefar.ssl.perturb import KINDS
from sefar.ssl.weighting import SCHEMES, WeightingConfig, build_weighting
from studies.arms import ABLATIONS, Ablation, Arm, ablation, seeded

EVERY = [pytest.param(name, arm, id=f"{name}-{arm.name}") for name, a in ABLATIONS.items() for arm in a.arms]


def plain(config: TrainConfig, key: str, value: Any) -> Any:
    """A value as `flatten` gives it."""
    return config.override({key: value}).flatten()[key]


def changed(before: TrainConfig, after: TrainConfig) -> dict[str, Any]:
    old, new = before.flatten(), after.flatten()
    return {key: new[key] for key in new if new[key] != old[key]}


def by_name(name: str) -> dict[str, Arm]:
    return {arm.name: arm for arm in ABLATIONS[name].arms}


@pytest.mark.parametrize("base", RECIPES)
@pytest.mark.parametrize(("name", "arm"), EVERY)
def test_an_arm_differs_from_the_reference_in_what_it_states(name: str, arm: Arm, base: str) -> None:
    study, start = ABLATIONS[name], recipe(base)
    reference, config = study.config(study.reference_arm, start), study.config(arm, start)
    stated = {key: plain(start, key, value) for key, value in arm.changes.items()}
    # a stated value may be the default already, such as the constant 1
    assert changed(reference, config) == {k: v for k, v in stated.items() if reference.flatten()[k] != v}
    assert {k: config.flatten()[k] for k in stated} == stated
    assert changed(start, reference).keys() <= study.reference.keys()
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", ABLATIONS)
def test_arms_have_names_and_configurations_of_their_own(name: str) -> None:
    arms, start = ABLATIONS[name].arms, recipe("paper_vit_s")
    assert len({arm.name for arm in arms}) == len(arms)
    assert len({ABLATIONS[name].config(arm, start).content_hash() for arm in arms}) == len(arms)
    assert ABLATIONS[name].reference_arm.changes == {}
    # the paper's recipe is every ablation's reference, so that they share its runs
    assert ABLATIONS[name].config(ABLATIONS[name].reference_arm, start) == start


def test_the_components_build_up_to_sefar() -> None:
    arms = ABLATIONS["components"].arms
    assert [arm.name for arm in arms] == ["none", "dual", "perturbation", "regulation"]
    for more, fewer in pairwise(arms):
        assert fewer.changes.items() <= more.changes.items()
    none = ABLATIONS["components"].config(arms[0], recipe("paper_vit_s"))
    assert none.sampling.frames_per_granularity == (8,)
    assert (none.perturb.kind, none.weighting.kind, none.weighting.constant) == ("warp", "constant", 1.0)
    published = [list(arm.published.values()) for arm in arms]
    assert published == [[32.6, 22.7, 60.4], [34.8, 25.4, 64.6], [35.9, 26.6, 67.4], [36.7, 27.8, 72.2]]


def test_every_perturbation_and_weighting_is_an_arm() -> None:
    start = recipe("paper_vit_s")
    tried = {ABLATIONS["perturbations"].config(arm, start).perturb.kind for arm in ABLATIONS["perturbations"].arms}
    assert tried == set(KINDS)
    strengths = {ABLATIONS["perturbations"].config(a, start).perturb.strength for a in ABLATIONS["perturbations"].arms}
    assert strengths == {0.25, 0.5, 0.75, 1.0}
    kinds = {ABLATIONS["thresholds"].config(arm, start).weighting.kind for arm in ABLATIONS["thresholds"].arms}
    assert kinds == set(SCHEMES)


def test_passes_and_thresholds_are_those_of_the_paper() -> None:
    start = recipe("paper_vit_s")
    assert [ABLATIONS["passes"].config(a, start).teacher.passes for a in ABLATIONS["passes"].arms] == [
        *(1, 2, 5, 10, 15, 20)
    ]
    assert by_name("passes")["s20"].published == {"Gym99 5 %": 37.0, "teacher ms": 361.3, "step ms": 1417.6}
    assert ABLATIONS["passes"].columns == ["Gym99 5 %", "teacher ms", "step ms"]
    assert by_name("thresholds")["tau_0"].published["FineDiving 1 %"] == 61.5
    assert by_name("perturbations")["shuffle_all"].published["FineDiving 5 %"] == 69.0
    assert by_name("perturbations")["slow"].published == {}


def test_a_threshold_of_0_is_the_constant_1() -> None:
    confidence, spread, label = torch.rand(8), torch.rand(8), torch.zeros(8, dtype=torch.int64)
    tau_0 = by_name("thresholds")["tau_0"].changes
    config = recipe("paper_vit_s", tau_0).weighting
    fixed = build_weighting(WeightingConfig(kind="fixed", threshold=0.0), 3).weights(confidence, spread, label)
    assert torch.equal(build_weighting(config, 3).weights(confidence, spread, label), fixed)


def test_an_ablation_needs_one_reference() -> None:
    twice = Ablation(question="", source="", reference={}, arms=(Arm(name="a", about=""), Arm(name="b", about="")))
    with pytest.raises(ValueError, match="too many values"):
        _ = twice.reference_arm


def test_some_arms_and_the_reference() -> None:
    assert [arm.name for arm in ablation("passes", ["s1"]).arms] == ["s1", "s10"]
    assert ablation("passes") is ABLATIONS["passes"]
    with pytest.raises(ConfigError, match=r"^study 'component' is unknown — did you mean 'components'\?$"):
        ablation("component")
    with pytest.raises(ConfigError, match=r"^--arms: 'passes' has no arm 's11' — did you mean 's1.?'\?$"):
        ablation("passes", ["s11"])


def test_a_seed_is_that_of_training_and_split() -> None:
    base = recipe("synthgym_tiny")
    assert changed(base, seeded(base, "synthgym/core@3pc", 2)) == {"scope.name": "synthgym/core@3pc#2", "seed": 2}
    assert seeded(base, "lists:/clips", 2).scope.name == "lists:/clips"
    with pytest.raises(ConfigError, match=r"^--scopes synthgym/core@1pc#0: .* write 'synthgym/core@1pc'$"):
        seeded(base, "synthgym/core@1pc#0", 1)
    with pytest.raises(ScopeError, match="unknown data set 'synthgim' — did you mean 'synthgym'"):
        seeded(base, "synthgim/core", 1)
