"""A label scope: which clips and classes, and which of the training clips carry their label.

Grammar: ``dataset/subset@fraction#split_seed`` (``synthgym/event:FX@1pc#0``) or ``lists:DIR`` for released lists taken
as they are. ``@Npc`` is N labels per class, ``@1`` or no fraction all labels.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sefar.data.annotations import read_lists
from sefar.data.leaks import find_leaks, windows
from sefar.data.synthgym import SynthGymConfig
from sefar.errors import ConfigError, ScopeError, nearest

log = logging.getLogger(__name__)

GRAMMAR = re.compile(
    r"^(?P<dataset>[a-z0-9_]+)/(?P<subset>[^@#\s]+)(?:@(?P<fraction>[0-9.]+)(?P<per_class>pc)?)?(?:#(?P<seed>\d+))?$"
)


@dataclass(frozen=True, kw_only=True)
class ScopeConfig:
    """Which clips and labels.

    Attributes:
        name: the label scope, in the module's grammar.
        root: folder of the data sets; SynthGym is rendered here on demand.
        dev_fraction: share of the training clips kept apart to choose by (never the test set).
        synthgym: the embedded data set's parameters.
    """

    name: str = "synthgym/core@1pc#0"
    root: str = "data"
    dev_fraction: float = 0.2
    synthgym: SynthGymConfig = field(default_factory=SynthGymConfig)

    def __post_init__(self) -> None:
        parse_scope(self.name)
        if not 0 < self.dev_fraction < 1:
            raise ConfigError(f"scope.dev_fraction: expected a share in (0, 1), got {self.dev_fraction}")


@dataclass(frozen=True)
class ScopeName:
    """A parsed scope: `labels_per_class` for ``@Npc``, else `fraction` of each class's clips."""

    dataset: str
    subset: str
    fraction: float = 1.0
    labels_per_class: int | None = None
    split_seed: int = 0


@dataclass(frozen=True)
class Scope:
    """The clips of a label scope; `label` is dense and 0-based, in every table.

    Attributes:
        name: the scope as asked for.
        classes: class names by dense label.
        class_ids: the data set's own label of each dense label.
        labelled: training clips with their label.
        unlabelled: training clips whose label the method never sees (kept to judge pseudo-labels; −1 unknown).
        dev: clips to choose by, cut from the training clips.
        test: clips reported once, never chosen by.
        split_hash: 12 hex digits over every part's clips and labels.
        missing_classes: names of classes without a labelled clip.
        notes: things the user should know (also logged).
    """

    name: str
    classes: list[str]
    class_ids: list[int]
    labelled: pd.DataFrame
    unlabelled: pd.DataFrame
    dev: pd.DataFrame
    test: pd.DataFrame
    split_hash: str
    missing_classes: list[str]
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Classes K."""
        return len(self.classes)


def parse_scope(name: str) -> ScopeName:
    """Parse a scope.

    Raises:
        ScopeError: not in the grammar, an unknown data set, or a fraction out of range.
    """
    if name.startswith("lists:"):
        if not name[6:]:
            raise ScopeError("scope 'lists:': expected lists:DIR with the folder of the train, unlabel and test lists")
        return ScopeName("lists", name[6:])
    match = GRAMMAR.match(name)
    if match is None:
        raise ScopeError(
            f"scope '{name}': expected dataset/subset@fraction#seed, for instance synthgym/event:FX@1pc#0, or lists:DIR"
        )
    if match["dataset"] not in DATASETS:
        raise ScopeError(f"scope '{name}': unknown data set '{match['dataset']}'{nearest(match['dataset'], DATASETS)}")
    seed = int(match["seed"] or 0)
    try:
        amount = float(match["fraction"] or 1)
    except ValueError:
        raise ScopeError(f"scope '{name}': '{match['fraction']}' is not a number") from None
    if match["per_class"]:
        if amount < 1 or not amount.is_integer():
            raise ScopeError(f"scope '{name}': labels per class must be an integer ≥ 1, got {match['fraction']}")
        return ScopeName(match["dataset"], match["subset"], labels_per_class=int(amount), split_seed=seed)
    if not 0 < amount <= 1:
        raise ScopeError(f"scope '{name}': the label fraction must lie in (0, 1], got {match['fraction']}")
    return ScopeName(match["dataset"], match["subset"], fraction=amount, split_seed=seed)


def subset_clips(config: ScopeConfig) -> pd.DataFrame:
    """All clips of a scope's subset, of whatever part, with the data set's own labels; none is rendered.

    Raises:
        ScopeError: unknown subset, or lists, which are no subset of a data set.
    """
    parsed = parse_scope(config.name)
    if parsed.dataset not in DATASETS:
        raise ScopeError(f"scope '{config.name}': expected dataset/subset, for instance synthgym/event:FX")
    return DATASETS[parsed.dataset](config, parsed.subset)


def load_scope(config: ScopeConfig, *, progress: bool = True, workers: int | None = None) -> Scope:
    """Resolve a scope into its clips; SynthGym clips it needs are rendered first.

    Args:
        config: the scope and where the data lies.
        progress: show a bar while rendering.
        workers: processes that render; None: all cores.

    Raises:
        ScopeError: unknown subset, or a class left without clips to choose or test by.
        DataError: an annotation file cannot be read.
    """
    parsed = parse_scope(config.name)
    if parsed.dataset == "lists":
        return _scope_of_lists(config, parsed)
    table, classes, class_ids = _densify(subset_clips(config))
    train = table[table.split == "train"]
    dev_ids = _cut_dev(train, config.dev_fraction, by_group=True)
    pool = train[~train.clip_id.isin(dev_ids)]
    labelled_ids = _choose_labelled(pool, parsed)
    labelled = pool[pool.clip_id.isin(labelled_ids)]
    unlabelled = pool[~pool.clip_id.isin(labelled_ids)]
    parts = [labelled, unlabelled, train[train.clip_id.isin(dev_ids)], table[table.split == "test"]]
    if parsed.dataset == "synthgym":
        from sefar.data.synthgym import prepare

        needed = pd.concat(parts).clip_id.tolist()
        prepare(Path(config.root), config.synthgym, clip_ids=needed, workers=workers, progress=progress)
    return _assemble(config.name, classes, class_ids, parts)


def _scope_of_lists(config: ScopeConfig, parsed: ScopeName) -> Scope:
    lists, findings = read_lists(Path(parsed.subset), Path(config.root))
    findings.raise_fatal(config.name)
    table, classes, class_ids = _densify(lists)
    labelled = table[table.split == "train"]
    unlabelled, test = table[table.split == "unlabelled"], table[table.split == "test"]
    notes = []
    for part, clips in (("train", labelled), ("unlabel", unlabelled)):
        if shared := find_leaks(clips, test):
            ours, theirs = min(shared)
            raise ScopeError(
                f"{config.name}: {len(shared)} clips stand in both the {part} and the test list, wholly or in part, "
                f"first '{ours}'{f' (test: {theirs!r})' if ours != theirs else ''}; take them out of one of the two"
            )
    # a clip both labelled and unlabelled counts as labelled: many releases list all training clips as unlabelled
    known_windows = set(windows(labelled))
    unlabelled = unlabelled[np.array([window not in known_windows for window in windows(unlabelled)], dtype=bool)]
    known = unlabelled[unlabelled.label >= 0]
    source = known if len(known) >= 2 * len(classes) else labelled
    dev_ids = _cut_dev(source, config.dev_fraction, by_group=False)
    if not dev_ids:
        raise ScopeError(
            f"{config.name}: no clip can be spared to choose by (dev): give labels to more of the unlabel list, or at "
            "least two training clips to some classes"
        )
    origin = "unlabel" if source is known else "train"
    notes.append(f"dev: {len(dev_ids)} clips cut from the {origin} list")
    cut = pd.concat([labelled, unlabelled])
    parts = [
        labelled[~labelled.clip_id.isin(dev_ids)],
        unlabelled[~unlabelled.clip_id.isin(dev_ids)],
        cut[cut.clip_id.isin(dev_ids)],
        test,
    ]
    return _assemble(config.name, classes, class_ids, parts, notes)


def _synthgym(config: ScopeConfig, subset: str) -> pd.DataFrame:
    """Subsets of the embedded data set: ``all``, ``core``, ``pairs``, ``event:E``, ``set:S`` (spaces as ``_``)."""
    from sefar.data.synthgym import clip_table, dataset_dir

    table = clip_table(config.synthgym)
    kind, _, value = subset.partition(":")
    sets = table["set"].str.replace(" ", "_")
    if subset == "all":
        chosen = table
    elif subset in ("pairs", "core"):
        chosen = table[table[subset]]
    elif kind == "event" and (table.event == value).any():
        chosen = table[table.event == value]
    elif kind == "set" and (sets == value).any():
        chosen = table[sets == value]
    else:
        valid = [
            "all",
            "core",
            "pairs",
            *(f"event:{e}" for e in table.event.unique()),
            *(f"set:{s}" for s in sets.unique()),
        ]
        raise ScopeError(f"scope '{config.name}': synthgym has no '{subset}'{nearest(subset, valid)}")
    folder = dataset_dir(Path(config.root), config.synthgym)
    return chosen.assign(path=[str(folder / p) for p in chosen.path])


DATASETS: dict[str, Callable[[ScopeConfig, str], pd.DataFrame]] = {"synthgym": _synthgym}


def _densify(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[int]]:
    """Labels 0 … K−1 in the order of the data set's own; unknown stays −1."""
    known = table[table.label >= 0].drop_duplicates("label").sort_values("label")
    ids = [int(i) for i in known.label]
    dense = {old: new for new, old in enumerate(ids)}
    table = table.assign(label=table.label.map(lambda old: dense.get(old, -1)).astype("int64"))
    return table.reset_index(drop=True), known.label_name.astype(str).tolist(), ids


def stable_order(ids: pd.Series, seed: str) -> np.ndarray:
    """Positions of `ids` in a pseudo-random order that depends on the ids and `seed` alone, on every machine."""
    keys = [hashlib.sha256(f"{seed}/{i}".encode()).digest() for i in ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _cut_dev(train: pd.DataFrame, fraction: float, *, by_group: bool) -> set[str]:
    """Clips to choose by: whole groups where possible, else a share of each class; the same for every split seed."""
    groups = pd.Series(sorted(train.group.unique()))
    wanted = round(fraction * len(groups))
    if by_group and 1 <= wanted < len(groups):
        chosen = groups.iloc[stable_order(groups, "dev")[:wanted]]
        dev = train[train.group.isin(set(chosen))]
        rest = train[~train.group.isin(set(chosen))]
        if set(rest.label) == set(train.label) == set(dev.label):
            return set(dev.clip_id)
    ids: set[str] = set()
    for _, clips in train.groupby("label"):
        count = min(max(1, round(fraction * len(clips))), len(clips) - 1)  # a class keeps at least one clip
        ids |= set(clips.clip_id.iloc[stable_order(clips.clip_id, "dev")[:count]])
    return ids


def _choose_labelled(pool: pd.DataFrame, parsed: ScopeName) -> set[str]:
    """Nested, stratified choice: a larger fraction of the same seed holds the smaller one."""
    per_class = pool.groupby("label").size()
    cover = parsed.fraction * len(pool) >= len(per_class)
    ids: set[str] = set()
    for label, clips in pool.groupby("label"):
        if parsed.labels_per_class is not None:
            count = parsed.labels_per_class
            if count > len(clips):
                raise ScopeError(
                    f"@{count}pc: class {label} has only {len(clips)} training clips; ask for fewer labels per class"
                )
        else:
            count = int(parsed.fraction * len(clips) + 0.5)
            count = max(count, 1) if cover else count
        ids |= set(clips.clip_id.iloc[stable_order(clips.clip_id, f"label{parsed.split_seed}")[:count]])
    return ids


def _assemble(
    name: str, classes: list[str], class_ids: list[int], parts: list[pd.DataFrame], notes: list[str] | None = None
) -> Scope:
    labelled, unlabelled, dev, test = (part.sort_values("clip_id").reset_index(drop=True) for part in parts)
    notes = notes or []
    for part, clips in (("labelled", labelled), ("dev", dev), ("test", test)):
        if clips.empty or (clips.label < 0).any():
            raise ScopeError(
                f"{name}: the {part} part needs clips with labels, found {(clips.label >= 0).sum()}; ask for a "
                "larger fraction or mend the lists"
            )
    missing = [classes[k] for k in sorted(set(range(len(classes))) - set(labelled.label))]
    if missing:
        notes.append(f"{len(missing)} classes have no labelled clip: {', '.join(missing[:5])}")
    if unlabelled.empty:
        unlabelled = labelled
        notes.append("every training clip is labelled: the labelled clips serve as the unlabelled ones too")
    for note in notes:
        log.warning("%s: %s", name, note)
    digest = hashlib.sha256()
    for part, clips in zip(("labelled", "unlabelled", "dev", "test"), (labelled, unlabelled, dev, test), strict=True):
        for clip_id, label in zip(clips.clip_id, clips.label, strict=True):
            digest.update(f"{part}\t{clip_id}\t{label}\n".encode())
    return Scope(
        name=name,
        classes=classes,
        class_ids=class_ids,
        labelled=labelled,
        unlabelled=unlabelled,
        dev=dev,
        test=test,
        split_hash=digest.hexdigest()[:12],
        missing_classes=missing,
        notes=tuple(notes),
    )
