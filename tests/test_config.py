from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import sefar.config as config_module
from sefar.config import TrainConfig
from sefar.data.synthgym import table
from sefar.errors import ConfigError
from sefar.recipes import METHODS, RECIPES, recipe, with_method

DEFAULT = TrainConfig()
TINY = recipe("synthgym_tiny")


def changed(before: TrainConfig, after: TrainConfig) -> dict[str, Any]:
    """The dotted keys whose values differ, with the new values."""
    old, new = before.flatten(), after.flatten()
    assert old.keys() == new.keys()
    return {key: new[key] for key in new if new[key] != old[key]}


# Names


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("perturb.strenght", "perturb.strength"),
        ("optim.epoch", "optim.epochs"),
        ("scope.synthgym.dificulty", "scope.synthgym.difficulty"),
        ("sed", "seed"),
        ("modle.name", "model.name"),
        ("seed.value", "seed"),
    ],
)
def test_unknown_keys_name_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DEFAULT.override({key: 1})
    assert str(caught.value) == f"{key}: unknown configuration key — did you mean '{nearest}'?"


def test_a_table_of_settings_is_no_value() -> None:
    with pytest.raises(ConfigError, match=r"^optim: unknown configuration key"):
        DEFAULT.override({"optim": 3})
    with pytest.raises(ConfigError, match=r"^optim: expected a table of settings, got 3$"):
        TrainConfig.from_dict({"optim": 3})


def test_unknown_keys_of_a_file_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^optimm: unknown configuration key — did you mean 'optim'"):
        TrainConfig.from_dict({"optimm": {}})
    with pytest.raises(ConfigError, match=r"^optim\.epoch: unknown configuration key — did you mean 'epochs'"):
        TrainConfig.from_dict({"optim": {"epoch": 3}})


def test_unknown_recipes_and_methods_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^recipe 'synthgym_tny' is unknown — did you mean 'synthgym_tiny'"):
        recipe("synthgym_tny")
    with pytest.raises(ConfigError, match=r"^recipe 'zzz' is unknown — valid: paper_vit_b, .*synthgym_tiny"):
        recipe("zzz")
    with pytest.raises(ConfigError, match=r"^method 'fixmach' is unknown — did you mean 'fixmatch'"):
        with_method(DEFAULT, "fixmach")


# Values


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("perturb.strength", "0.5", 0.5),
        ("optim.learning_rate", "2e-3", 0.002),
        ("optim.learning_rate", "1", 1.0),
        ("optim.epochs", "40", 40),
        ("optim.epochs", "4e1", 40),
        ("views.flip", "false", False),
        ("views.flip", "True", True),
        ("views.short_side", "(230, 250)", (230, 250)),
        ("views.short_side", "[230,250]", (230, 250)),
        ("sampling.frames_per_granularity", "(2, 2, 4)", (2, 2, 4)),
        ("sampling.frames_per_granularity", "(8,)", (8,)),
        ("optim.milestones", "[1, 0.5]", (1.0, 0.5)),
        ("teacher.decay", "0.999", 0.999),
        ("teacher.decay", "None", None),
        ("teacher.decay", "null", None),
        ("model.name", "vit_b", "vit_b"),
        ("scope.root", "17", "17"),
    ],
)
def test_text_becomes_the_type_of_the_field(key: str, text: str, value: object) -> None:
    config: Any = DEFAULT.override({key: text})
    for part in key.split("."):
        config = getattr(config, part)
    assert config == value
    assert type(config) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optim.epochs", "many", "optim.epochs: cannot read a number, boolean or sequence from 'many'"),
        ("optim.epochs", "2.5", "optim.epochs: expected int, got 2.5"),
        ("optim.epochs", True, "optim.epochs: expected int, got True"),
        ("optim.learning_rate", "true", "optim.learning_rate: expected float, got True"),
        ("views.flip", "1", "views.flip: expected bool, got 1"),
        ("views.short_side", "(230, 240, 250)", "views.short_side: expected 2 values, got [230, 240, 250]"),
        ("views.short_side", "230", "views.short_side: expected tuple, got 230"),
        ("views.short_side", "(230, 2.5)", "views.short_side: expected int, got 2.5"),
        ("teacher.decay", "x", "teacher.decay: cannot read a number, boolean or sequence from 'x'"),
        ("model.name", 3, "model.name: expected str, got 3"),
        ("model.name", "vit_q", "model.name: 'vit_q' is unknown — did you mean 'vit_s'?"),
        ("optim.epochs", 0, "optim.epochs: expected an integer ≥ 1, got 0"),
    ],
)
def test_wrong_values_say_what_was_expected(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DEFAULT.override({key: value})
    assert str(caught.value).startswith(message)


def test_warm_up_must_leave_epochs() -> None:
    with pytest.raises(ConfigError, match=r"^objective\.warmup_epochs: 1 leaves none of 1 epochs.*raise optim\.epochs"):
        TINY.override({"optim.epochs": 1})
    assert with_method(TINY, "supervised").override({"optim.epochs": 1}).optim.epochs == 1


def test_override_leaves_the_original_alone() -> None:
    other = DEFAULT.override({"optim.epochs": 31, "seed": 4})
    assert changed(DEFAULT, other) == {"optim.epochs": 31, "seed": 4}
    assert TrainConfig() == DEFAULT
    with pytest.raises(dataclasses.FrozenInstanceError):
        other.seed = 5  # type: ignore[misc]


# Forms


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_builds_and_survives_json(name: str) -> None:
    config = recipe(name)
    assert TrainConfig.from_dict(config.to_dict()) == config
    again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.content_hash() == config.content_hash()
    for key, value in RECIPES[name].items():
        flat = config.flatten()[key]
        assert (json.dumps(list(value)) if isinstance(value, tuple) else value) == flat, key


def test_from_dict_keeps_the_defaults_of_missing_keys() -> None:
    assert TrainConfig.from_dict({}) == DEFAULT
    assert changed(DEFAULT, TrainConfig.from_dict({"optim": {"epochs": 7}})) == {"optim.epochs": 7}


def test_flatten() -> None:
    flat = DEFAULT.flatten()
    assert flat["seed"] == 0
    assert flat["perturb.kind"] == "reverse_fine"
    assert flat["scope.synthgym.size"] == 80
    assert flat["sampling.frames_per_granularity"] == "[2, 2, 4]"
    assert flat["teacher.decay"] is None
    assert all(isinstance(value, str | int | float | bool | None) for value in flat.values())
    assert DEFAULT.override(flat) == DEFAULT


# Hash


def other_value(key: str, value: Any) -> Any:
    """A legal value that is not `value`."""
    special = {
        "scope.name": "synthgym/all@1pc#1",
        "scope.dev_fraction": 0.3,
        "scope.synthgym.difficulty": "hard",
        "scope.synthgym.size": 82,
        "sampling.frames_per_granularity": "[2, 2, 2]",
        "sampling.mode": "local",
        "views.size": 208,
        "views.short_side": "[256, 300]",
        "perturb.kind": "none",
        "perturb.strength": 0.5,
        "loader.frame_store": "jpeg",
        "scope.path_prefix": "/old=/new",
        "model.name": "vit_b",
        "model.position_resize": "nearest",
        "teacher.stochastic": "backbone",
        "teacher.decay": 0.99,
        "weighting.kind": "fixed",
        "mixing.prediction": "logits",
        "mixing.partner": "per_granularity",
        "optim.optimiser": "adamw",
        "optim.schedule": "cosine",
        "optim.precision": "float32",
        "optim.milestones": "[0.5]",
    }
    if key in special:
        return special[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    return value + 1 if isinstance(value, int) else value * 0.9 + 0.013


def test_the_hash_changes_with_all_that_can_change_a_result() -> None:
    base = DEFAULT.override({"scope.name": "synthgym/core@0.5"})  # whole groups need a fraction
    hashes = {"": base.content_hash()}
    for key, value in base.flatten().items():
        hashes[key] = base.override({key: other_value(key, value)}).content_hash()
    same = {key for key, value in hashes.items() if key and value == hashes[""]}
    assert same == {
        *(f"scope.{key}" for key in ("root", "annotations", "clips", "path_prefix", "quarantine", "allow_missing")),
        *(f"loader.{key}" for key in ("workers", "frame_store_gb", "frame_store_folder")),
    }
    assert len(set(hashes.values())) == len(hashes) - len(same)
    assert all(len(value) == 12 and int(value, 16) >= 0 for value in hashes.values())


def test_the_hash_covers_the_shipped_weights_and_the_pictures_of_synthgym(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TINY.content_hash()
    monkeypatch.setattr(config_module, "embedded_digest", lambda name: f"other {name}")
    weights = TINY.content_hash()
    monkeypatch.undo()
    monkeypatch.setattr(table, "GENERATOR_VERSION", table.GENERATOR_VERSION + 1)
    pictures = TINY.content_hash()
    assert len({plain, weights, pictures}) == 3
    no_weights = TINY.override({"model.pretrained": "none", "scope.name": "lists:/clips"})
    before = no_weights.content_hash()
    monkeypatch.setattr(config_module, "embedded_digest", lambda name: f"other {name}")
    assert no_weights.content_hash() == before


# Methods


def test_methods_switch_exactly_what_they_state() -> None:
    assert with_method(TINY, "sefar") == TINY
    assert changed(TINY, with_method(TINY, "supervised")) == {
        "objective.gamma_unlabelled": 0.0,
        "objective.gamma_mix": 0.0,
        "objective.warmup_epochs": 0,
    }
    assert changed(TINY, with_method(TINY, "fixmatch")) == {
        "perturb.kind": "none",
        "weighting.kind": "fixed",
        "objective.gamma_mix": 0.0,
        "teacher.passes": 1,
        "teacher.horizon_epochs": 0.0,
    }
    single = with_method(TINY, "fixmatch_single")
    assert changed(with_method(TINY, "fixmatch"), single) == {"sampling.frames_per_granularity": "[8]"}
    longer = with_method(TINY.override({"sampling.frames_per_granularity": (4, 8)}), "fixmatch_single")
    assert longer.sampling.frames_per_granularity == (12,)  # as many frames of a clip
    assert set(METHODS) == {"sefar", "supervised", "fixmatch", "fixmatch_single"}
    assert not with_method(TINY, "supervised").objective.uses_unlabelled
    assert with_method(TINY, "fixmatch").objective.uses_unlabelled
