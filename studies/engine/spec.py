"""What a study is: a base configuration, axes that are enumerated, a space that is searched. No Ray, no files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sefar.config import TrainConfig
from sefar.errors import ConfigError
from sefar.recipes import with_method
from studies.engine.space import Space
from studies.results.schema import DEFAULT, SEARCH, SUPERVISED

NAMED = (DEFAULT, SUPERVISED)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A configuration key of which every value is visited."""

    key: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"axis {self.key}: expected at least one value")
        for value in self.values:
            if self.values.count(value) > 1:
                raise ConfigError(f"axis {self.key}: '{value}' is given twice")


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One trial, complete: what an actor needs to know to run it.

    Attributes:
        trial_id: unique in a store; names the trial's files.
        study: name of the study.
        scope: label scope.
        number: place among the scope's trials, from 0.
        role: ``search``, ``transfer`` (taken over from a cheaper scope), or a named configuration: ``default``,
            ``supervised``.
        config: the nested configuration.
        parameters: what the search chose, by dotted key.
        stage: ``search`` or ``confirm``.
        confirms: the search trial whose configuration a confirm trial repeats; empty for named ones.
    """

    trial_id: str
    study: str
    scope: str
    number: int
    role: str
    config: dict[str, Any]
    parameters: dict[str, Any]
    stage: str = SEARCH
    confirms: str = ""

    def to_json(self) -> str:
        """As text."""
        return json.dumps(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> TrialSpec:
        """From `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Study:
    """A sweep over label scopes.

    Attributes:
        name: of the study; with it a later run finds its trials in the store.
        base: the configuration that trials depart from.
        scopes: the label scopes, each with a search of its own.
        space: what is searched.
        trials: trials a scope, the named configurations included.
        recipe: name of the base's recipe, for the record.
        seed: of the search.
    """

    name: str
    base: TrainConfig
    scopes: Axis
    space: Space
    trials: int
    recipe: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", self.name):
            raise ConfigError(f"--name: expected letters, digits, '-', '_' or '.', got '{self.name}'")
        if self.trials < len(NAMED):
            raise ConfigError(
                f"--trials: expected at least {len(NAMED)} (the paper's default and the supervised baseline), "
                f"got {self.trials}"
            )
        self.space.check(self.base)
        for scope in self.scopes.values:
            self.base.override({self.scopes.key: scope})

    @property
    def hash(self) -> str:
        """Changes with anything that would make old and new trials incomparable, except space and scopes."""
        values = self.base.decisive()
        values["scope"].pop("name")
        text = json.dumps([values, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def columns(self) -> dict[str, str]:
        """What each of the study's rows says of it."""
        return {
            "recipe": self.recipe,
            "study_hash": self.hash,
            "space_hash": self.space.hash,
            "space": self.space.to_json(),
        }

    @property
    def epochs(self) -> int:
        """Epochs of a whole trial."""
        return self.base.optim.epochs

    @property
    def grace_epochs(self) -> int:
        """Epochs no trial is stopped before: a third of the run, and two with pseudo-labels where they fit."""
        after_warmup = self.base.objective.warmup_epochs + 2
        return min(max(after_warmup, -(-self.epochs // 3)), self.epochs)

    def config(self, scope: str, role: str, parameters: Mapping[str, Any] | None = None) -> TrainConfig:
        """The configuration of a trial."""
        base = self.base.override({self.scopes.key: scope, **(parameters or {})})
        return with_method(base, "supervised") if role == SUPERVISED else base

    def spec(self, scope: str, number: int, role: str, parameters: Mapping[str, Any] | None = None) -> TrialSpec:
        """A trial of the study."""
        return TrialSpec(
            trial_id=f"{self.name}.{scope_slug(scope)}.{number:03d}",
            study=self.name,
            scope=scope,
            number=number,
            role=role,
            config=self.config(scope, role, parameters).to_dict(),
            parameters=dict(parameters or {}),
        )


def scope_slug(scope: str) -> str:
    """A short name for files: ``synthgym/event:FX@1pc#0`` → ``event-FX-1pc-0-3f2a``."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", scope.removeprefix("synthgym/").removeprefix("lists:")).strip("-")
    return f"{plain[-32:].strip('-')}-{hashlib.sha256(scope.encode()).hexdigest()[:4]}"
