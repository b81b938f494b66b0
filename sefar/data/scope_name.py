"""Names of label scopes.

``dataset/subset@fraction#split_seed``, for instance ``finegym/gym99@0.05#0`` or ``synthgym/event:FX@1pc#0``.
``@fraction`` labels that share of each class's training clips, ``@Npc`` N clips a class, ``@1`` or nothing all.
``folders:DIR`` (class-per-folder tree) takes the same endings; ``lists:DIR`` (released lists) is taken as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from sefar.data.synthgym import SynthGymConfig
from sefar.errors import ConfigError, ScopeError, nearest

DATASETS = ("synthgym", "finegym", "finediving", "ucf101", "hmdb51")
FOLDERS, LISTS = "folders", "lists"

AMOUNT = r"(?:@(?P<fraction>[0-9.]+)(?P<per_class>pc)?)?(?:#(?P<seed>[0-9]{1,18}))?\Z"
GRAMMAR = re.compile(r"^(?P<dataset>[a-z0-9_]+)/(?P<subset>[^@#\s]+)" + AMOUNT)
FOLDERS_GRAMMAR = re.compile(rf"^(?P<dataset>{FOLDERS}):(?P<subset>.+?)" + AMOUNT)


@dataclass(frozen=True)
class ScopeName:
    """A parsed scope: `labels_per_class` for ``@Npc``, else `fraction` of each class's clips."""

    dataset: str
    subset: str
    fraction: float = 1.0
    labels_per_class: int | None = None
    split_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ScopeConfig:
    """Which clips and labels.

    Attributes:
        name: the label scope, in the module's grammar.
        root: folder of the data sets; SynthGym is rendered here on demand.
        annotations: folder of the data set's annotation files; empty: ``<root>/<dataset>/annotations``.
        clips: folder of its clips; empty: ``<root>/<dataset>/clips``.
        path_prefix: ``OLD=NEW``: paths of ``lists:DIR`` that begin with OLD are looked for under NEW.
        dev_fraction: share of the training clips kept apart to choose by (never the test set); 0: none.
        keep_groups: label whole source videos or performers, and keep them whole in dev.
        allow_missing: leave out clips that are absent or quarantined, and count them; else they are an error.
        quarantine: list of clips that do not decode; empty: every ``<root>/quarantine/*.csv``.
        synthgym: the embedded data set's parameters.
    """

    name: str = "synthgym/core@1pc#0"
    root: str = "data"
    annotations: str = ""
    clips: str = ""
    path_prefix: str = ""
    dev_fraction: float = 0.2
    keep_groups: bool = False
    allow_missing: bool = False
    quarantine: str = ""
    synthgym: SynthGymConfig = field(default_factory=SynthGymConfig)

    def __post_init__(self) -> None:
        parsed = parse_scope(self.name)
        if not 0 <= self.dev_fraction < 1:
            raise ConfigError(f"scope.dev_fraction: expected a share in [0, 1), got {self.dev_fraction}")
        if self.keep_groups and (parsed.dataset == LISTS or parsed.labels_per_class is not None):
            why = "lists are taken as they are" if parsed.dataset == LISTS else "whole groups hold no exact @Npc"
            raise ConfigError(f"scope.keep_groups: does not go with '{self.name}', since {why}; use @fraction")
        self.replaced_prefix()

    def annotations_dir(self) -> Path:
        """Folder of the annotation files."""
        return Path(self.annotations or f"{self.root}/{parse_scope(self.name).dataset}/annotations")

    def clips_dir(self) -> Path:
        """Folder of the clips."""
        return Path(self.clips or f"{self.root}/{parse_scope(self.name).dataset}/clips")

    def replaced_prefix(self) -> tuple[str, str] | None:
        """(OLD, NEW) of `path_prefix`.

        Raises:
            ConfigError: it is not written OLD=NEW.
        """
        old, equals, new = self.path_prefix.partition("=")
        if bool(self.path_prefix) != bool(old and equals and new):
            raise ConfigError(f"scope.path_prefix: expected OLD=NEW such as /data=/mnt/clips, got '{self.path_prefix}'")
        return (old, new) if self.path_prefix else None


def parse_scope(name: str) -> ScopeName:
    """Parse a scope.

    Raises:
        ScopeError: not in the grammar, an unknown data set, or a fraction out of range.
    """
    if name.startswith(f"{LISTS}:"):
        if not name[6:]:
            raise ScopeError("scope 'lists:': expected lists:DIR with the folder of the train, unlabel and test lists")
        return ScopeName(LISTS, name[6:])
    match = FOLDERS_GRAMMAR.match(name) or GRAMMAR.match(name)
    if match is None:
        raise ScopeError(
            f"scope '{name}': expected dataset/subset@fraction#seed, for instance synthgym/event:FX@1pc#0, or "
            "folders:DIR@fraction#seed, or lists:DIR"
        )
    dataset, subset, seed = match["dataset"], match["subset"], int(match["seed"] or 0)
    if match.re is GRAMMAR and dataset not in DATASETS:
        raise ScopeError(f"scope '{name}': unknown data set '{dataset}'{nearest(dataset, DATASETS)}")
    try:
        amount = float(match["fraction"] or 1)
    except ValueError:
        raise ScopeError(f"scope '{name}': '{match['fraction']}' is not a number") from None
    if match["per_class"]:
        if amount < 1 or not amount.is_integer():
            raise ScopeError(f"scope '{name}': labels per class must be an integer ≥ 1, got {match['fraction']}")
        return ScopeName(dataset, subset, labels_per_class=int(amount), split_seed=seed)
    if not 0 < amount <= 1:
        raise ScopeError(f"scope '{name}': the label fraction must lie in (0, 1], got {match['fraction']}")
    return ScopeName(dataset, subset, fraction=amount, split_seed=seed)
