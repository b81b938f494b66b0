"""Several stores into one. Files are copied as they are; rows that two stores have must be identical.

Nothing is written before all stores have been compared. Of a trial that two stores have, one must hold all that the
other holds, however it is stored: a merge was cut off, or the trial has gone on since. The earlier state of a trial is
replaced by the later one, and nothing else is; so the same merge run again does nothing, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sefar.errors import ConfigError, StoreError
from studies.results.compacted import Member, encode, joined
from studies.results.reading import Source, concatenate, join, read_files
from studies.results.schema import RUNNING, TABLES, TableSpec
from studies.results.settle import stamped
from studies.results.store import ResultStore
from studies.results.store_files import StoreFile, partition_folder, trial_path

MOST_NAMED = 3


@dataclass
class Merge:
    """What a merge has done.

    Attributes:
        copied: files.
        there: files whose rows the target had, or later ones.
        renamed: studies by their source and old name, and what they are called now.
        skipped: files that cannot be read, in a source or in the target, and were left as they are.
    """

    copied: int = 0
    there: int = 0
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


Trial = tuple[str, str, str]  # table, scope and trial_id


@dataclass(frozen=True)
class _Content:
    """What a store holds of a trial in one table: its attempts, and their rows."""

    members: dict[int, Member]
    rows: pa.Table


@dataclass
class _Overlap:
    """Trials that a study and those of its name before it have: which hold all of the other's rows."""

    have: set[Trial] = field(default_factory=set)  # nothing is to be copied
    go_on: set[Trial] = field(default_factory=set)  # a later state is to be copied


@dataclass(frozen=True)
class _Study:
    """A study of a store, under the name it has in the target."""

    store: ResultStore
    study: str
    name: str

    def sources(self, table: str, scope: str, columns: set[str] | None = None) -> list[Source]:
        files, load = self.store.files, self.store.load
        found = read_files(lambda: files(table, self.study, scope), lambda f: load(f, columns), self.store.uri)
        return [
            Source(s.file, _renamed(s.table, self.study, self.name), [self.member(m) for m in s.members]) for s in found
        ]

    def member(self, member: Member) -> Member:
        return member._replace(trial_id=_new_id(member.trial_id, self))

    def scopes(self, table: str) -> set[str]:
        return {file.scope for file in self.store.files(table, self.study)}

    def trials(self, table: str, scope: str) -> set[str]:
        return {m.trial_id for s in self.sources(table, scope, {*TABLES[table].key, "attempt"}) for m in s.members}

    def settings(self) -> tuple[set[tuple[str, str]], set[str]]:
        """Hashes of study and space, and recipes; empty where its trials name none."""
        rows = self.store.trials(arrow=True, study=self.study, columns=["study_hash", "space_hash", "recipe"])
        hashes = zip(rows["study_hash"].to_pylist(), rows["space_hash"].to_pylist(), strict=True)
        return {(a or "", b or "") for a, b in hashes if a or b}, {r for r in rows["recipe"].to_pylist() if r}


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
    plan: list[tuple[_Study, _Overlap]] = []
    for source in sources:
        for study in _studies(source):
            ours = _Study(source, study, study)
            while isinstance(overlap := _compare(ours, holders.get(ours.name, [])), str):
                if not rename:
                    raise StoreError(f"{overlap}; with --rename the one of {source.uri} gets a new name")
                ours = _Study(source, study, _next_name(ours.name, study))
            if ours.name != study:
                done.renamed[source.uri, study] = ours.name
            holders.setdefault(ours.name, []).append(ours)
            plan.append((ours, overlap))
    target.raise_version()
    for ours, overlap in plan:
        for table in TABLES:
            for file in ours.store.files(table, ours.study):
                _copy(ours, file, target, overlap, done)
    done.skipped = [problem for store in (target, *sources) for problem in store.problems()]
    return done


def _studies(store: ResultStore) -> list[str]:
    return sorted({file.study for table in TABLES for file in store.files(table)})


def _next_name(name: str, study: str) -> str:
    """After ``study`` comes ``study-2``, then ``study-3``."""
    return f"{study}-2" if name == study else f"{study}-{int(name.rpartition('-')[2]) + 1}"


def _compare(ours: _Study, holders: Sequence[_Study]) -> _Overlap | str:
    """What the study has in common with those of its name; a text that says why they cannot be joined."""
    overlap = _Overlap()
    for theirs in holders:
        stores = f"{theirs.store.uri} and {ours.store.uri}"
        (our_hashes, our_recipes), (their_hashes, their_recipes) = ours.settings(), theirs.settings()
        hashes = our_hashes and their_hashes and our_hashes != their_hashes
        if hashes or (our_recipes and their_recipes and our_recipes.isdisjoint(their_recipes)):
            return f"study '{ours.name}' was run with different settings in {stores}"
        for table in TABLES:
            differ = []
            for scope in sorted(ours.scopes(table) & theirs.scopes(table)):
                for trial_id, here, there in _both(ours, theirs, table, scope):
                    if _covered(here, there, table):
                        overlap.have.add((table, scope, trial_id))
                    elif _covered(there, here, table):
                        overlap.go_on.add((table, scope, trial_id))
                    else:
                        differ.append(trial_id)
            if differ:
                some = ", ".join(differ[:MOST_NAMED])
                return f"study '{ours.name}': {len(differ)} trials ({some}) have other {table} in {stores}"
    if holders and ours.name != ours.study and not (overlap.have or overlap.go_on):
        return f"study '{ours.name}' is another one"  # not what a merge before this one has copied
    return overlap


def _both(ours: _Study, theirs: _Study, table: str, scope: str) -> Iterator[tuple[str, _Content, _Content]]:
    """The trials that both have, a trial at a time, with all attempts and columns of equal types."""
    both = ours.trials(table, scope) & theirs.trials(table, scope)
    if not both:
        return
    sources = [study.sources(table, scope) for study in (ours, theirs)]
    parts = [join(some, TABLES[table], None, all_attempts=True).drop_columns(["study", "scope"]) for some in sources]
    rows = concatenate(parts, pa.schema([]))  # a number here and a text there are both text then
    halves = rows.slice(0, len(parts[0])), rows.slice(len(parts[0]))
    here, there = (_by_trial(half, some) for half, some in zip(halves, sources, strict=True))
    for trial_id in sorted(both & set(here) & set(there)):
        yield trial_id, here[trial_id], there[trial_id]


def _by_trial(rows: pa.Table, sources: list[Source]) -> dict[str, _Content]:
    alone, compacted = ([m for s in sources if s.file.compacted == kind for m in s.members] for kind in (False, True))
    members: dict[str, dict[int, Member]] = {}
    for member in joined(alone, compacted):
        members.setdefault(member.trial_id, {})[member.attempt] = member
    ends = pc.run_end_encode(rows["trial_id"].combine_chunks()) if len(rows) else None  # sorted by trial
    slices: dict[str, pa.Table] = {}
    start = 0
    for trial_id, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True) if ends else ():
        slices[trial_id] = rows.slice(start, end - start)
        start = end
    return {trial_id: _Content(some, slices.get(trial_id, rows.slice(0, 0))) for trial_id, some in members.items()}


def _covered(old: _Content, new: _Content, table: str) -> bool:
    """Whether the newer content holds all rows of the older one, or what came in their place."""
    if old.rows.equals(new.rows):
        return True
    spec = TABLES[table]
    ours, theirs = _rows(old, spec), _rows(new, spec)
    last: dict[tuple, int] = {}
    for attempt, key in theirs:
        last[key] = max(last.get(key, 0), attempt)
    for (attempt, key), row in ours.items():
        other, mine, others = theirs.get((attempt, key)), old.members.get(attempt), new.members.get(attempt)
        if other is not None and repr(other) == repr(row):
            continue
        if mine is None or others is None:
            return False
        same = bool(mine.writer) and mine.writer == others.writer
        replaced = max(new.members) if spec.whole_attempts else last.get(key, 0)
        later = same and (others.version > mine.version or replaced > attempt)
        if not later and not (table == "trials" and other is not None and _ended_since(row, other)):
            return False
    return True


def _rows(content: _Content, spec: TableSpec) -> dict[tuple[int, tuple], dict]:
    """By attempt and key, without nulls: which columns a file lacks does not matter."""
    found = {}
    for row in content.rows.to_pylist():
        key = (row["attempt"], tuple(row[name] for name in spec.key))
        found[key] = {name: value for name, value in sorted(row.items()) if value is not None}
    return found


def _ended_since(old: dict, new: dict) -> bool:
    """Whether somebody else has recorded the end of a run that was under way."""
    run = ("started_at", "host", "config_hash")
    return old.get("status") == RUNNING and "started_at" in old and all(old.get(n) == new.get(n) for n in run)


def _copy(ours: _Study, file: StoreFile, target: ResultStore, overlap: _Overlap, done: Merge) -> None:
    """Copy a file, without the trials of which the target has all; those that go on as files of their own."""
    if (source := ours.store.load(file)) is None:
        return
    rows = _renamed(source.table, ours.study, ours.name)
    members = [m for m in map(ours.member, source.members) if (file.table, file.scope, m.trial_id) not in overlap.have]
    go_on = [m for m in members if (file.table, file.scope, m.trial_id) in overlap.go_on]
    written = 0
    if file.compacted and (fresh := [m for m in members if m not in go_on]):
        some = rows.filter(pc.is_in(rows["trial_id"], pa.array([m.trial_id for m in fresh])))
        path, data = encode(some, fresh, partition_folder(file.table, ours.name, file.scope))
        written += _put(target, path, data, replace=False)
    # the last attempt first: an epoch that it has may be gone from an older one
    for member in sorted(go_on if file.compacted else members, key=lambda m: -m.attempt):
        chosen = pc.and_(pc.equal(rows["trial_id"], member.trial_id), pc.equal(rows["attempt"], member.attempt))
        path = trial_path(file.table, ours.name, file.scope, member.trial_id, member.attempt)
        if file.compacted or ours.name != ours.study:
            data = stamped(rows.filter(chosen), member.writer, member.version)
        else:
            data = ours.store.location.read(file.path)
        written += _put(target, path, data, replace=member in go_on)
    done.copied, done.there = done.copied + (written > 0), done.there + (written == 0)


def _put(target: ResultStore, path: str, data: bytes, *, replace: bool) -> bool:
    """Write a file that the target lacks, or has of an earlier state; what it cannot read stays, and is a problem."""
    if target.location.exists(path):
        there = StoreFile.parse(path)
        if not replace or target.location.read(path) == data or there is None or target.load(there) is None:
            return False
    target.location.write(path, data)
    return True


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
