"""TrainConfig: every choice of a training run in one frozen value, composed of the owners' dataclasses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sefar.data.augment import ViewConfig
from sefar.data.loaders import LoaderConfig
from sefar.data.sampling import SamplingConfig
from sefar.data.scopes import ScopeConfig
from sefar.errors import ConfigError, nearest
from sefar.models.pretrained import embedded_digest
from sefar.models.timesformer import ModelConfig
from sefar.ssl.mixing import MixingConfig
from sefar.ssl.objective import ObjectiveConfig
from sefar.ssl.perturb import PerturbConfig
from sefar.ssl.teacher import TeacherConfig
from sefar.ssl.weighting import WeightingConfig
from sefar.training.evaluate import EvaluationConfig
from sefar.training.schedule import OptimConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run.

    Attributes:
        scope: which clips and labels.
        sampling: frames per granularity.
        views: spatial views.
        perturb: the temporal perturbation of the strong view.
        loader: batches.
        model: the network.
        teacher: the averaged teacher.
        weighting: weights of the pseudo-labels.
        mixing: tube token mixing.
        objective: weights of the losses.
        optim: optimiser, schedule, length.
        evaluation: deterministic evaluation.
        seed: of initialisation, batches and augmentation; the label split has its own seed in the scope.
    """

    scope: ScopeConfig = field(default_factory=ScopeConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    perturb: PerturbConfig = field(default_factory=PerturbConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    weighting: WeightingConfig = field(default_factory=WeightingConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed: expected an integer in [0, 2^63), got {self.seed}")
        if self.objective.uses_unlabelled and self.objective.warmup_epochs >= self.optim.epochs:
            raise ConfigError(
                f"objective.warmup_epochs: {self.objective.warmup_epochs} leaves none of {self.optim.epochs} epochs to "
                "the unlabelled clips; lower it or raise optim.epochs"
            )

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dict, with tuples as lists, fit for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def flatten(self) -> dict[str, Any]:
        """Dotted keys to plain values, for instance ``perturb.kind``; sequences become JSON text."""
        flat: dict[str, Any] = {}

        def walk(prefix: str, node: Mapping[str, Any]) -> None:
            for key, value in node.items():
                if isinstance(value, Mapping):
                    walk(f"{prefix}{key}.", value)
                else:
                    flat[prefix + key] = json.dumps(value) if isinstance(value, list) else value

        walk("", self.to_dict())
        return flat

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Build from a nested dict; missing keys keep their defaults.

        Raises:
            ConfigError: an unknown key (names the nearest valid one) or a value of the wrong type.
        """
        return _build(cls, values, "")

    def override(self, changes: Mapping[str, Any]) -> TrainConfig:
        """A copy with dotted keys changed; values may be text (``'0.5'``, ``'(2, 2, 4)'``, ``'true'``).

        Raises:
            ConfigError: an unknown key, or a value of the wrong type or range.
        """
        nested = self.to_dict()
        for dotted, value in changes.items():
            *parents, leaf = dotted.split(".")
            node: Any = nested
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if not isinstance(node, dict) or leaf not in node or isinstance(node[leaf], dict):
                raise ConfigError(f"{dotted}: unknown configuration key{nearest(dotted, self.flatten())}")
            node[leaf] = value
        return self.from_dict(nested)

    def decisive(self) -> dict[str, Any]:
        """As `to_dict`, without what cannot change a result: where data and frames lie, and loader workers.

        Nor what is done about missing clips: which ones a run did without is in its checkpoint and result rows.
        """
        values = self.to_dict()
        for key in ("root", "annotations", "clips", "path_prefix", "quarantine", "allow_missing"):
            values["scope"].pop(key)
        for key in ("workers", "frame_store_gb", "frame_store_folder"):
            values["loader"].pop(key)
        if self.loader.frame_store != "jpeg":  # the others give the very same views
            values["loader"].pop("frame_store")
        return values

    def content_hash(self) -> str:
        """Twelve hex digits over everything that can change a result.

        Among it what is not in the configuration itself: the content of the shipped weights and, of SynthGym, all that
        decides its pictures. A store's runs on other pictures or weights thus are other runs.
        """
        values = self.decisive()
        if self.model.pretrained == "embedded":
            values["embedded_weights"] = embedded_digest(self.model.name)
        if self.scope.name.startswith("synthgym/"):
            values["synthgym_content"] = self.scope.synthgym.content_hash()
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _build(cls: type[T], values: Mapping[str, Any], prefix: str) -> T:
    hints = typing.get_type_hints(cls)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.')}: expected a table of settings, got {values!r}")
    for key in values:
        if key not in hints:
            raise ConfigError(f"{prefix}{key}: unknown configuration key{nearest(key, hints)}")
    return cls(**{key: _convert(hints[key], value, prefix + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Bring `value` to the annotated type, or say what was expected."""
    if dataclasses.is_dataclass(hint):
        return (
            value if isinstance(value, typing.cast(type, hint)) else _build(typing.cast(type, hint), value, where + ".")
        )
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if isinstance(value, str) and str not in options:
        value = _parse(value, where)
    if value is None and type(None) in options:
        return None
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(option)
            element = inner[0]
            if inner[-1] is not Ellipsis and len(value) != len(inner):
                raise ConfigError(f"{where}: expected {len(inner)} values, got {value!r}")
            return tuple(_convert(element, item, where) for item in value)
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:  # NaN too
                raise ConfigError(f"{where}: expected a finite number, got {value}")
            return float(value)
        if option is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(option, type) and isinstance(value, option) and not (option is int and isinstance(value, bool)):
            return value
    names = " or ".join(getattr(o, "__name__", str(o)) for o in options)
    raise ConfigError(f"{where}: expected {names}, got {value!r}")


def _parse(text: str, where: str) -> Any:
    """Read a number, boolean, null or sequence from command-line text."""
    plain = text.strip().replace("(", "[").replace(")", "]").replace(",]", "]")
    plain = {"True": "true", "False": "false", "None": "null"}.get(plain, plain)
    try:
        return json.loads(plain)
    except json.JSONDecodeError:
        try:
            return float(plain)
        except ValueError:
            raise ConfigError(f"{where}: cannot read a number, boolean or sequence from '{text}'") from None
