"""Several stores into one. Files are copied as they are; rows that two stores have must be identical.

Nothing is written before all stores have been compared, nothing in the target is replaced, and the same merge run again
does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sefar.errors import ConfigError, StoreError
from studies.results.compacted import encode
from studies.results.schema import TABLES
from studies.results.settle import stamped
from studies.results.store import ResultStore
from studies.results.store_files import StoreFile, partition_folder, trial_path

MOST_NAMED = 3


@dataclass
class Merge:
    """What a merge has done.

    Attributes:
        copied: files.
        there: files whose rows the target had.
        renamed: studies by their source and old name, and what they are called now.
        skipped: files that cannot be read and were left out.
    """

    copied: int = 0
    there: int = 0
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


Trial = tuple[str, str]  # scope and trial_id


@dataclass(frozen=True)
class _Study:
    """A study of a store, under the name it has in the target."""

    store: ResultStore
    study: str
    name: str

    def rows(self, table: str, columns: Sequence[str] | None = None, scope: str | None = None) -> pa.Table:
        rows = self.store.read(table, arrow=True, study=self.study, columns=columns, scope=scope)
        return _renamed(rows.drop_columns(["study"]), self.study, self.name)

    def trials(self, table: str) -> set[Trial]:
        rows = self.rows(table, ["trial_id"])
        return set(zip(rows["scope"].to_pylist(), rows["trial_id"].to_pylist(), strict=True))

    def settings(self) -> set[tuple[str, str]]:
        rows = self.rows("trials", ["study_hash", "space_hash"])
        pairs = zip(rows["study_hash"].to_pylist(), rows["space_hash"].to_pylist(), strict=True)
        return {(a or "", b or "") for a, b in pairs}


def merge(target: ResultStore, sources: Sequence[ResultStore], *, rename: bool = False) -> Merge:
    """Copy what the sources hold into the target.

    Args:
        target: grows.
        sources: are left as they are.
        rename: give a study that conflicts a new name, ``<study>-2``, where otherwise the merge is refused.

    Raises:
        StoreError: a study has different rows or settings in two of the stores.
        ConfigError: a store is to be merged into itself.
    """
    done = Merge()
    if any(source.uri == target.uri for source in sources):
        raise ConfigError(f"{target.uri}: cannot be merged into itself; name another store to merge into")
    holders = {name: [_Study(target, name, name)] for name in _studies(target)}
    plan: list[tuple[_Study, dict[str, set[Trial]]]] = []
    for source in sources:
        for study in _studies(source):
            ours = _Study(source, study, study)
            while isinstance(same := _compare(ours, holders.get(ours.name, [])), str):
                if not rename:
                    raise StoreError(f"{same}; with --rename the one of {source.uri} gets a new name")
                ours = _Study(source, study, _next_name(ours.name, study))
            if ours.name != study:
                done.renamed[source.uri, study] = ours.name
            holders.setdefault(ours.name, []).append(ours)
            plan.append((ours, same))
    target.raise_version()
    for ours, same in plan:
        for table in TABLES:
            for file in ours.store.files(table, ours.study):
                _copy(ours, file, target, same[table], done)
    done.skipped = [problem for source in sources for problem in source.problems()]
    return done


def _studies(store: ResultStore) -> list[str]:
    return sorted({file.study for table in TABLES for file in store.files(table)})


def _next_name(name: str, study: str) -> str:
    """After ``study`` comes ``study-2``, then ``study-3``."""
    return f"{study}-2" if name == study else f"{study}-{int(name.rpartition('-')[2]) + 1}"


def _compare(ours: _Study, holders: Sequence[_Study]) -> dict[str, set[Trial]] | str:
    """By table, the trials that a holder has with the same rows; a text that says why the studies cannot be joined."""
    same: dict[str, set[Trial]] = {table: set() for table in TABLES}
    for theirs in holders:
        stores = f"{theirs.store.uri} and {ours.store.uri}"
        if (a := ours.settings()) and (b := theirs.settings()) and a != b:
            return f"study '{ours.name}' was run with different settings in {stores}"
        for table in TABLES:
            both = ours.trials(table) & theirs.trials(table)
            differ = []
            for scope in sorted({scope for scope, _ in both}):
                ids = {trial for other, trial in both if other == scope}
                here, there = _contents(ours, table, scope, ids), _contents(theirs, table, scope, ids)
                same[table] |= {(scope, trial) for trial in ids if here[trial] == there[trial]}
                differ += [
                    t for t in sorted(ids) if here[t] != there[t] and not _extends(ours, theirs, table, scope, t)
                ]
            if differ:
                some = ", ".join(differ[:MOST_NAMED])
                return f"study '{ours.name}': {len(differ)} trials ({some}) have other {table} in {stores}"
    return same


def _contents(study: _Study, table: str, scope: str, ids: set[str]) -> dict[str, list[str]]:
    """The rows of some trials as text, without nulls: which columns a file lacks does not matter."""
    found: dict[str, list[str]] = {trial: [] for trial in ids}
    for batch in study.rows(table, scope=scope).to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            if row["trial_id"] in ids:
                found[row["trial_id"]].append(repr(sorted((k, v) for k, v in row.items() if v is not None)))
    return found


def _extends(ours: _Study, theirs: _Study, table: str, scope: str, trial: str) -> bool:
    """Whether the source has all of the target's files of the trial, and more: a later state, or a merge cut off."""
    if ours.name != ours.study:
        return False
    held = [f for f in theirs.store.files(table, theirs.study, scope, trial) if not f.compacted]
    try:
        return bool(held) and all(theirs.store.location.read(f.path) == ours.store.location.read(f.path) for f in held)
    except FileNotFoundError:
        return False


def _copy(ours: _Study, file: StoreFile, target: ResultStore, same: set[Trial], done: Merge) -> None:
    """Copy a file, without the trials that the target has with the same rows."""
    if (source := ours.store.load(file)) is None:
        return
    members = [m._replace(trial_id=_new_id(m.trial_id, ours)) for m in source.members]
    left = [m for m in members if (file.scope, m.trial_id) not in same]
    if not left:
        done.there += 1
        return
    if file.compacted:
        rows = _renamed(source.table, ours.study, ours.name)
        rows = rows.filter(pc.is_in(rows["trial_id"], pa.array([m.trial_id for m in left])))
        path, data = encode(rows, left, partition_folder(file.table, ours.name, file.scope))
    else:
        path = trial_path(file.table, ours.name, file.scope, left[0].trial_id, file.attempt)
        rows = _renamed(source.table, ours.study, ours.name)
        data = stamped(rows, left[0].writer, left[0].version)
        if ours.name == ours.study:
            data = ours.store.location.read(file.path)
    if target.location.exists(path):
        done.there += 1
        return
    target.location.write(path, data)
    done.copied += 1


def _new_id(trial_id: str, ours: _Study) -> str:
    """A trial's id, which begins with its study's name."""
    old = f"{ours.study}."
    return f"{ours.name}.{trial_id.removeprefix(old)}" if trial_id.startswith(old) else trial_id


def _renamed(rows: pa.Table, study: str, name: str) -> pa.Table:
    """The rows with the ids of trials, and of those they confirm, under the study's new name."""
    if study == name:
        return rows
    for column in {"trial_id", "confirms"} & set(rows.column_names):
        at = rows.schema.get_field_index(column)
        new = pc.replace_substring_regex(rows.column(at), f"^{re.escape(study)}\\.", f"{name}.")
        rows = rows.set_column(at, rows.schema.field(at), new)
    return rows
