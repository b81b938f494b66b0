"""A label scope: which clips and classes, and which of the training clips carry their label."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sefar.data.availability import MISSING_COLUMNS, leave_out_missing, missing_counts, refuse_missing
from sefar.data.datasets import Source, read_source, select
from sefar.data.findings import Findings
from sefar.data.leaks import find_leaks, windows
from sefar.data.quarantine import quarantine_files, read_quarantine
from sefar.data.scope_name import LISTS, ScopeConfig, ScopeName, parse_scope
from sefar.data.splits import choose_labelled_groups, choose_labelled_per_class, choose_labelled_share, cut_dev
from sefar.errors import ScopeError

__all__ = ["PARTS", "Scope", "ScopeConfig", "ScopeName", "load_scope", "parse_scope", "resolve_scope", "subset_clips"]

log = logging.getLogger(__name__)

PARTS = ("labelled", "unlabelled", "dev", "test")


@dataclass(frozen=True)
class Scope:
    """The clips of a label scope; `label` is dense and 0-based, in every table.

    Attributes:
        name: the scope as asked for.
        classes: class names by dense label.
        class_ids: the data set's own label of each dense label.
        labelled: training clips with their label.
        unlabelled: training clips whose label the method never sees (kept to judge pseudo-labels; −1 unknown).
        dev: clips to choose by, cut from the training clips; none with ``dev_fraction`` 0.
        test: clips reported once, never chosen by.
        split_hash: 12 hex digits over every part's clips and labels, missing ones included.
        available_hash: the same without the missing ones, so equal to `split_hash` where none is.
        missing_classes: names of classes without a labelled clip.
        missing: clips left out of each part because they are absent or quarantined.
        missing_clips: a row each: part, clip_id, path, cause.
        findings: what is wrong with the data set's files.
        notes: things the user should know (`load_scope` logs them).
    """

    name: str
    classes: list[str]
    class_ids: list[int]
    labelled: pd.DataFrame
    unlabelled: pd.DataFrame
    dev: pd.DataFrame
    test: pd.DataFrame
    split_hash: str
    available_hash: str
    missing_classes: list[str]
    missing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    missing_clips: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MISSING_COLUMNS)))
    findings: Findings = field(default_factory=Findings)
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Classes K."""
        return len(self.classes)

    @property
    def sizes(self) -> dict[str, int]:
        """How many labelled_clips and unlabelled_clips there are to train on, and how many classes."""
        return {
            "labelled_clips": len(self.labelled),
            "unlabelled_clips": len(self.unlabelled),
            "classes": self.num_classes,
        }


@dataclass(frozen=True)
class _Split:
    """Every clip of a scope, wherever it is; `tables` by part."""

    classes: list[str]
    class_ids: list[int]
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = ()


def subset_clips(config: ScopeConfig) -> pd.DataFrame:
    """All clips of a scope's subset, of whatever part, with the data set's own labels; none is rendered or looked for.

    Raises:
        ScopeError: unknown subset.
        DataError: the annotation files cannot be used.
    """
    source = read_source(config)
    source.findings.raise_fatal(config.name)
    return select(config, source.table)


def resolve_scope(config: ScopeConfig, source: Source | None = None) -> Scope:
    """Work out a scope's clips from the annotations alone: none is rendered, looked for or left out.

    Args:
        config: the scope and where its annotations lie.
        source: what `read_source` gives for it, if known; fatal findings are for the caller to look at.

    Raises:
        ScopeError: unknown subset, or a part without clips.
        DataError: the annotation files cannot be read.
    """
    source = source or read_source(config)
    split = _split(config, source)
    return _scope(config, split, split.tables, findings=source.findings)


def load_scope(config: ScopeConfig, *, progress: bool = True, workers: int | None = None) -> Scope:
    """Resolve a scope into clips that are there; SynthGym clips it needs are rendered first.

    Args:
        config: the scope and where the data lies.
        progress: show a bar while rendering.
        workers: processes that render; None: all cores.

    Raises:
        ScopeError: unknown subset, a part without clips, or clips that are absent or quarantined, unless
            ``allow_missing`` is set.
        DataError: the annotation files cannot be read or have fatal faults.
    """
    source = read_source(config)
    source.findings.raise_fatal(config.name)
    split = _split(config, source)
    if parse_scope(config.name).dataset == "synthgym":
        from sefar.data.synthgym import prepare

        needed = pd.concat(split.tables.values()).clip_id.tolist()
        prepare(Path(config.root), config.synthgym, clip_ids=needed, workers=workers, progress=progress)
    files = [Path(config.quarantine)] if config.quarantine else quarantine_files(Path(config.root))
    kept, missing = leave_out_missing(split.tables, read_quarantine(files))
    if not config.allow_missing:
        refuse_missing(config.name, missing, split.tables)
    scope = _scope(config, split, kept, findings=source.findings, missing=missing)
    for note in scope.notes:
        log.warning("%s: %s", config.name, note)
    return scope


def _split(config: ScopeConfig, source: Source) -> _Split:
    """Deal a data set's clips to the parts."""
    table, classes, class_ids = _densify(select(config, source.table))
    parsed = parse_scope(config.name)
    if parsed.dataset == LISTS:
        tables, notes = _parts_of_lists(config, table, len(classes))
    else:
        tables, notes = _parts(config, parsed, table), ()
    ordered = {part: tables[part].sort_values("clip_id").reset_index(drop=True) for part in PARTS}
    return _Split(classes, class_ids, ordered, (*notes, *_dev_notes(ordered, parsed.dataset)))


def _dev_notes(tables: dict[str, pd.DataFrame], dataset: str) -> list[str]:
    """What dev has in common with the training parts, which makes it flatter what is chosen by it."""
    trained = pd.concat([tables["labelled"], tables["unlabelled"]])
    notes = []
    if shared := find_leaks(tables["dev"], trained):
        notes.append(f"dev: {len(shared)} clips share frames with training clips, first '{shared[0][0]}'")
    sources = set(tables["dev"].group)
    if torn := sources & set(trained.group):
        told = f"dev: {len(torn)} of the {len(sources)} sources of its clips are trained on too"
        mend = ", since whole ones cannot hold every class; scope.keep_groups=true keeps them apart"
        notes.append(told if dataset == LISTS else told + mend)
    return notes


def _parts(config: ScopeConfig, parsed: ScopeName, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    train = table[table.split == "train"]
    in_dev = train.clip_id.isin(cut_dev(train, config.dev_fraction, keep_groups=config.keep_groups))
    pool, sizes = train[~in_dev], train.groupby("label").size()
    if parsed.labels_per_class is not None:
        labelled_ids = choose_labelled_per_class(pool, parsed.labels_per_class, parsed.split_seed)
    else:
        choose = choose_labelled_groups if config.keep_groups else choose_labelled_share
        labelled_ids = choose(pool, parsed.fraction, parsed.split_seed, sizes)
    labelled = pool.clip_id.isin(labelled_ids)
    unlabelled = pd.concat([pool[~labelled], table[table.split == "unlabelled"]])
    return {
        "labelled": pool[labelled],
        "unlabelled": unlabelled,
        "dev": train[in_dev],
        "test": table[table.split == "test"],
    }


def _parts_of_lists(
    config: ScopeConfig, table: pd.DataFrame, num_classes: int
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """Released lists as they are; only dev is cut from them, from unlabelled clips where their labels are known."""
    labelled = table[table.split == "train"]
    unlabelled, test = table[table.split == "unlabelled"], table[table.split == "test"]
    # a clip both labelled and unlabelled counts as labelled: many releases list all training clips as unlabelled
    known_windows = set(windows(labelled))
    unlabelled = unlabelled[np.array([window not in known_windows for window in windows(unlabelled)], dtype=bool)]
    known = unlabelled[unlabelled.label >= 0]
    spares = known if len(known) >= 2 * num_classes else labelled
    dev_ids = cut_dev(spares, config.dev_fraction, by_group=False)
    if not dev_ids and config.dev_fraction:
        raise ScopeError(
            f"{config.name}: no clip can be spared to choose by (dev): give labels to more of the unlabel list, or at "
            "least two training clips to some classes"
        )
    cut = pd.concat([labelled, unlabelled])
    parts = {
        "labelled": labelled[~labelled.clip_id.isin(dev_ids)],
        "unlabelled": unlabelled[~unlabelled.clip_id.isin(dev_ids)],
        "dev": cut[cut.clip_id.isin(dev_ids)],
        "test": test,
    }
    origin = "unlabel" if spares is known else "train"
    return parts, (f"dev: {len(dev_ids)} clips cut from the {origin} list",) if dev_ids else ()


def _densify(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[int]]:
    """Labels 0 … K−1 in the order of the data set's own; unknown stays −1."""
    known = table[table.label >= 0].drop_duplicates("label").sort_values("label")
    ids = [int(i) for i in known.label]
    dense = {old: new for new, old in enumerate(ids)}
    table = table.assign(label=table.label.map(lambda old: dense.get(old, -1)).astype("int64"))
    return table.reset_index(drop=True), known.label_name.astype(str).tolist(), ids


def _scope(
    config: ScopeConfig,
    split: _Split,
    kept: dict[str, pd.DataFrame],
    *,
    findings: Findings,
    missing: pd.DataFrame | None = None,
) -> Scope:
    missing = pd.DataFrame(columns=list(MISSING_COLUMNS)) if missing is None else missing
    _check_parts(config, split, kept)
    notes = list(split.notes)
    absent = [split.classes[k] for k in sorted(set(range(len(split.classes))) - set(kept["labelled"].label))]
    if absent:
        notes.append(f"{len(absent)} classes have no labelled clip: {', '.join(absent[:5])}")
    if len(missing):
        counts = missing_counts(missing, kept)
        notes.append(
            f"goes on without {len(missing)} missing clips ({', '.join(f'{n} {p}' for p, n in counts.items())})"
        )
    if findings:
        notes.append(f"{len(findings)} findings in its files; `sefar scopes '{config.name}'` lists them")
    if kept["unlabelled"].empty:
        notes.append("every training clip is labelled: the labelled clips serve as the unlabelled ones too")
    return Scope(
        name=config.name,
        classes=split.classes,
        class_ids=split.class_ids,
        **_with_unlabelled(kept),
        split_hash=_hash(split.tables),
        available_hash=_hash(kept),
        missing_classes=absent,
        missing=missing_counts(missing, kept),
        missing_clips=missing,
        findings=findings,
        notes=tuple(notes),
    )


def _check_parts(config: ScopeConfig, split: _Split, kept: Mapping[str, pd.DataFrame]) -> None:
    for part, clips in kept.items():
        if clips.empty and len(split.tables[part]):
            raise ScopeError(
                f"{config.name}: all {len(split.tables[part])} {part} clips are missing; bring some to disk"
            )
        if part == "unlabelled" or (part == "dev" and not config.dev_fraction):
            continue
        if clips.empty or (clips.label < 0).any():
            raise ScopeError(
                f"{config.name}: the {part} part needs clips with labels, found {(clips.label >= 0).sum()}; ask for a "
                "larger fraction or mend the lists"
            )


def _with_unlabelled(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return tables | {"unlabelled": tables["labelled"]} if tables["unlabelled"].empty else tables


def _hash(tables: dict[str, pd.DataFrame]) -> str:
    digest = hashlib.sha256()
    for part, clips in _with_unlabelled(tables).items():
        for clip_id, label in zip(clips.clip_id, clips.label, strict=True):
            digest.update(f"{part}\t{clip_id}\t{label}\n".encode())
    return digest.hexdigest()[:12]
