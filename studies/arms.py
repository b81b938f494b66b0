"""The named ablations as data: what each arm changes, and what the paper found with it.

An ablation states the reference configuration it departs from, on top of any recipe, and each arm states only what it
changes of that. Published numbers are percent top-1 of ViT-S unless their column says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sefar.config import TrainConfig
from sefar.data.scopes import parse_scope
from sefar.errors import ConfigError, nearest

GYM99, GYM288, DIVING = "Gym99 5 %", "Gym288 5 %", "FineDiving 5 %"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One configuration of an ablation.

    Attributes:
        name: short name, unique in its ablation.
        about: what it is, in a few words.
        changes: dotted keys whose value is not the reference's; none for the reference itself.
        published: the paper's numbers by column.
    """

    name: str
    about: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A question, and the arms that answer it.

    Attributes:
        question: one line.
        source: the paper's table or figure; empty when the question is ours.
        reference: dotted keys that make a recipe the reference, whatever the recipe says of them.
        arms: exactly one without changes.
    """

    question: str
    source: str
    reference: Mapping[str, Any]
    arms: tuple[Arm, ...]

    @property
    def keys(self) -> set[str]:
        """Dotted keys that the ablation sets."""
        return set(self.reference) | {key for arm in self.arms for key in arm.changes}

    @property
    def reference_arm(self) -> Arm:
        """The arm without changes."""
        (arm,) = [arm for arm in self.arms if not arm.changes]
        return arm

    @property
    def columns(self) -> list[str]:
        """Columns of published numbers, in order of appearance."""
        return list(dict.fromkeys(column for arm in self.arms for column in arm.published))

    def config(self, arm: Arm, base: TrainConfig) -> TrainConfig:
        """The arm's configuration on a recipe.

        Raises:
            ConfigError: the recipe's other settings do not go with the arm.
        """
        return base.override({**self.reference, **arm.changes})


def seeded(base: TrainConfig, scope: str, seed: int) -> TrainConfig:
    """The base on a scope, with one seed for training and for the label split (lists have a split of their own).

    Raises:
        ScopeError: not a scope.
        ConfigError: the scope states a split seed.
    """
    if parse_scope(scope).dataset == "lists":
        return base.override({"scope.name": scope, "seed": seed})
    if "#" in scope:
        raise ConfigError(
            f"--scopes {scope}: each of --seeds is the split's seed too; write '{scope.partition('#')[0]}'"
        )
    return base.override({"scope.name": f"{scope}#{seed}", "seed": seed})


def _published(*values: float) -> dict[str, float]:
    return dict(zip((GYM99, GYM288, DIVING), values, strict=True))


CONSTANT = {"weighting.kind": "constant", "weighting.constant": 1.0}
WARP = {"perturb.kind": "warp"}  # the paper lets warping stand in where its own perturbation is left out

COMPONENTS = Ablation(
    question="What does each component of SeFAR add?",
    source="Table 3",
    reference={
        "sampling.frames_per_granularity": (2, 2, 4),
        "sampling.mode": "slots",
        "perturb.kind": "reverse_fine",
        "perturb.strength": 1.0,
        "weighting.kind": "adaptive",
    },
    arms=(
        Arm(
            name="none",
            about="one granularity of 8 frames, warp, constant weight",
            changes={"sampling.frames_per_granularity": (8,), **WARP, **CONSTANT},
            published=_published(32.6, 22.7, 60.4),
        ),
        Arm(
            name="dual",
            about="+ dual-level elements",
            changes={**WARP, **CONSTANT},
            published=_published(34.8, 25.4, 64.6),
        ),
        Arm(
            name="perturbation",
            about="+ moderate temporal perturbation",
            changes=CONSTANT,
            published=_published(35.9, 26.6, 67.4),
        ),
        Arm(
            name="regulation",
            about="+ adaptive regulation: SeFAR",
            published=_published(36.7, 27.8, 72.2),
        ),
    ),
)


def _kind(kind: str, about: str, *published: float) -> Arm:
    numbers = _published(*published) if published else {}
    return Arm(name=kind, about=about, changes={"perturb.kind": kind}, published=numbers)


PERTURBATIONS = Ablation(
    question="Which temporal perturbation should the strong view have, and how often?",
    source="Tables 4 and 7",
    reference={"perturb.kind": "reverse_fine", "perturb.strength": 1.0},
    arms=(
        Arm(
            name="reverse_fine",
            about="every fine element backwards: SeFAR",
            published=_published(36.7, 27.8, 72.2),
        ),
        _kind("none", "spatial views only", 34.2, 24.4, 67.9),
        _kind("drop", "T-Drop", 35.6, 25.2, 68.6),
        _kind("slow", "first half, each frame twice"),
        _kind("shuffle_all", "all frames in any order", 35.2, 26.3, 69.0),
        _kind("shuffle_fine", "local shuffle", 36.4, 27.6, 71.9),
        _kind("warp", "half the frames, filled from the nearest", 35.9, 24.7, 68.2),
        _kind("half", "T-Half", 36.0, 24.8, 68.4),
        _kind("reverse_all", "context backwards too", 36.3, 27.3, 71.2),
        _kind("reverse_channels", "what the released code does"),
        *(
            Arm(
                name=f"reverse_fine_{percent}",
                about=f"{percent} % of the fine elements backwards",
                changes={"perturb.strength": percent / 100},
            )
            for percent in (25, 50, 75)
        ),
    ),
)

_PASSES = {  # passes: Gym99 5 %, teacher and whole step in ms
    2: (35.3, 68.5, 991.6),
    5: (36.2, 75.8, 1005.1),
    10: (36.7, 160.4, 1080.7),
    15: (36.8, 260.1, 1220.6),
    20: (37.0, 361.3, 1417.6),
}

PASSES = Ablation(
    question="How many stochastic passes of the teacher are worth their time?",
    source="Table 8",
    reference={"teacher.passes": 10},
    arms=(
        Arm(name="s1", about="one pass without dropout: no spread", changes={"teacher.passes": 1}),
        *(
            Arm(
                name=f"s{passes}",
                about=f"S = {passes}" + (": SeFAR" if passes == 10 else ""),
                changes={} if passes == 10 else {"teacher.passes": passes},
                published=dict(zip((GYM99, "teacher ms", "step ms"), numbers, strict=True)),
            )
            for passes, numbers in _PASSES.items()
        ),
    ),
)


def _frames(*frames: int, about: str, mode: str = "slots", further: Mapping[str, Any] | None = None) -> Arm:
    changes: dict[str, Any] = {"sampling.frames_per_granularity": frames} if frames != (2, 2, 4) else {}
    if mode != "slots":
        changes["sampling.mode"] = mode
    name = "-".join(map(str, frames)) + ("" if mode == "slots" else f"-{mode}")
    return Arm(name=name, about=about, changes=changes | dict(further or {}))


SAMPLING = Ablation(
    question="Which frames should the granularities read?",
    source="",
    reference={
        "sampling.frames_per_granularity": (2, 2, 4),
        "sampling.mode": "slots",
        "perturb.kind": "reverse_fine",
        "perturb.strength": 1.0,
    },
    arms=(
        _frames(2, 2, 4, about="two fine elements and a context: SeFAR"),
        _frames(2, 2, 4, mode="local", about="fine elements are short windows"),
        _frames(8, about="context alone; warp, there being no fine element to reverse", further=WARP),
        _frames(2, 6, about="one short fine element"),
        _frames(4, 4, about="one long fine element"),
        _frames(4, 4, mode="local", about="one long fine element, a window"),
        _frames(2, 2, 2, 2, about="three fine elements, short context"),
        _frames(2, 2, 2, 4, about="three fine elements, 10 frames"),
        _frames(4, 4, 8, about="twice the frames"),
    ),
)

_FRACTIONS = tuple(f"FineDiving {percent} %" for percent in (1, 3, 5, 7, 10))


def _weighting(kind: str, about: str, **values: float) -> Arm:
    changes = {"weighting.kind": kind, **{f"weighting.{key}": value for key, value in values.items()}}
    return Arm(name=kind, about=about, changes=changes)


THRESHOLDS = Ablation(
    question="Does adaptive regulation beat fixed thresholds and other weightings?",
    source="Fig. 4, and regulation by label fraction",
    reference={"weighting.kind": "adaptive"},
    arms=(
        Arm(
            name="adaptive",
            about="adaptive regulation: SeFAR",
            published=dict(zip(_FRACTIONS, (66.3, 69.5, 72.2, 74.6, 78.4), strict=True)),
        ),
        Arm(
            name="tau_0",
            about="τ = 0: every clip counts 1",
            changes=CONSTANT,
            published=dict(zip(_FRACTIONS, (61.5, 64.6, 67.2, 69.7, 73.4), strict=True)),
        ),
        *(
            Arm(
                name=f"tau_{tau}",
                about=f"τ = {tau}",
                changes={"weighting.kind": "fixed", "weighting.threshold": tau},
            )
            for tau in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
        ),
        _weighting("run_mean", "the run's mean η for every clip"),
        _weighting("confidence", "confidence factor alone"),
        _weighting("spread", "spread factor alone"),
        _weighting("adaptive_above", "adaptive, τ = 0.7", threshold=0.7),
        _weighting("flexmatch", "FlexMatch, τ = 0.95 as published", threshold=0.95),
        _weighting("freematch", "FreeMatch"),
        _weighting("softmatch", "SoftMatch"),
        _weighting("ups", "UPS, c ≥ 0.7 and s < 0.05", threshold=0.7, spread_threshold=0.05),
    ),
)

ABLATIONS = {
    "components": COMPONENTS,
    "perturbations": PERTURBATIONS,
    "passes": PASSES,
    "sampling": SAMPLING,
    "thresholds": THRESHOLDS,
}


def ablation(name: str, arms: list[str] | None = None) -> Ablation:
    """The ablation of that name, possibly with some of its arms only; its reference stays.

    Raises:
        ConfigError: no such ablation or arm.
    """
    if name not in ABLATIONS:
        raise ConfigError(f"study '{name}' is unknown{nearest(name, ABLATIONS)}")
    whole = ABLATIONS[name]
    if not arms:
        return whole
    for arm in arms:
        if arm not in (valid := [a.name for a in whole.arms]):
            raise ConfigError(f"--arms: '{name}' has no arm '{arm}'{nearest(arm, valid)}")
    kept = tuple(a for a in whole.arms if a.name in arms or not a.changes)
    return Ablation(question=whole.question, source=whole.source, reference=whole.reference, arms=kept)
