"""Named complete configurations, and the methods they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sefar.config import TrainConfig
from sefar.errors import ConfigError, nearest

PAPER: dict[str, Any] = {"model.name": "vit_s", "model.pretrained": "imagenet"}
RELEASED: dict[str, Any] = {
    # METHOD.md §6: what the published code does, row by row
    "perturb.kind": "reverse_channels",
    "mixing.partner": "per_granularity",
    "mixing.prediction": "logits",
    "teacher.decay": 0.9999,
    "views.shared_spatial": False,
    "model.position_resize": "nearest",
    "evaluation.views": 1,
}
TINY: dict[str, Any] = {
    "scope.name": "synthgym/core@1pc#0",
    "views.size": 64,
    "views.short_side": (72, 88),
    "loader.labelled": 12,
    "model.name": "vit_tiny",
    "model.pretrained": "embedded",
    "model.fusion_width": 128,
    "optim.optimiser": "adamw",
    # pretrained weights nearly frozen, fusion and classifier at 1e-3: a dozen labels are learnt by heart all too soon
    "optim.learning_rate": 3e-5,
    "optim.fresh_rate": 33.0,
    "model.dropout": 0.05,
    "optim.weight_decay": 0.02,
    "optim.schedule": "cosine",
    "optim.epochs": 20,
    "optim.steps_per_epoch": 20,
    "optim.clip_norm": 1.0,
    "objective.warmup_epochs": 1,
    "teacher.horizon_epochs": 3.0,
    "evaluation.views": 2,
}
RECIPES: dict[str, dict[str, Any]] = {
    "synthgym_tiny": TINY,
    "paper_vit_s": PAPER,
    "paper_vit_b": {**PAPER, "model.name": "vit_b"},
    "released_vit_s": {**PAPER, **RELEASED},
    "released_vit_b": {**PAPER, **RELEASED, "model.name": "vit_b"},
}

# FixMatch (arXiv 2001.07685): spatial strong view, fixed threshold, the student labels its own weak view
FIXMATCH: dict[str, Any] = {
    "perturb.kind": "none",
    "weighting.kind": "fixed",
    "objective.gamma_mix": 0.0,
    "teacher.passes": 1,
    "teacher.horizon_epochs": 0.0,
}
SINGLE = "fixmatch_single"
METHODS: dict[str, dict[str, Any]] = {
    "sefar": {},
    "supervised": {"objective.gamma_unlabelled": 0.0, "objective.gamma_mix": 0.0, "objective.warmup_epochs": 0},
    "fixmatch": FIXMATCH,  # on the network that it is laid over: SeFAR's dual level is lent to it
    SINGLE: FIXMATCH,  # without the dual level: one granularity, see `with_method`
}


def recipe(name: str, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """The configuration of that name, with dotted overrides.

    Raises:
        ConfigError: an unknown name or override.
    """
    if name not in RECIPES:
        raise ConfigError(f"recipe '{name}' is unknown{nearest(name, RECIPES)}")
    return TrainConfig().override({**RECIPES[name], **(overrides or {})})


def with_method(config: TrainConfig, method: str) -> TrainConfig:
    """`config` under another method.

    Args:
        config: of SeFAR.
        method: ``sefar`` (as it is), ``supervised`` (labelled clips only), ``fixmatch`` (on the same network) or
            ``fixmatch_single`` (the same on a network of one granularity that takes as many frames of a clip, as the
            first row of the paper's table of components has it: without dual level, perturbation, regulation, mixing).

    Raises:
        ConfigError: an unknown method.
    """
    if method not in METHODS:
        raise ConfigError(f"method '{method}' is unknown{nearest(method, METHODS)}")
    changes = METHODS[method]
    if method == SINGLE:
        changes = {**changes, "sampling.frames_per_granularity": (sum(config.sampling.frames_per_granularity),)}
    return config.override(changes)
