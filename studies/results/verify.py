"""Is a store sound? Every file is read whole, and the tables are held against each other.

Nothing is changed. Each finding is one line: where, what is wrong, how to mend it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import pandas as pd

from studies.results.compacted import compacted_name
from studies.results.reading import Source, UnreadableFile, parse, read_files
from studies.results.schema import FAILED, FINISHED, PRUNED, RUNNING, SCHEMA_VERSION, TABLES
from studies.results.store import MARKER, ResultStore
from studies.results.store_files import StoreFile, is_temporary

LEFTOVER_SECONDS = 600.0  # a temporary file this old belongs to no writer at work
MOST_NAMED = 3  # of rows of one kind that are wrong in one file
AGAIN = "delete the file; if the trial is to be kept, run its study again with --resume"
RESTORE = "restore it from a backup, for it may be the only copy of many trials"
ASIDE = re.compile(r"^(?P<folder>.*/)\.(?P<name>[^/]+\.parquet)\.[0-9a-f]{32}$")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file or a trial.

    Attributes:
        where: path within the store, or the trial.
        what: is wrong.
        mend: what to do.
        harmless: there is nothing to do.
    """

    where: str
    what: str
    mend: str
    harmless: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.mend}"


def verify(
    store: ResultStore, *, study: str | None = None, leftover_seconds: float = LEFTOVER_SECONDS
) -> Iterator[Finding]:
    """All that is wrong with a store, a partition at a time.

    Args:
        store: others may write it meanwhile.
        study: only this one.
        leftover_seconds: age from which a temporary file counts as left behind.

    Raises:
        StorageOutage: the storage does not answer.
    """
    if store.schema_version < SCHEMA_VERSION:
        text = f"schema version {store.schema_version}, this software writes {SCHEMA_VERSION}"
        yield Finding(MARKER, text, "nothing to do: the next study or compaction raises it", harmless=True)
    yield from _names(store, leftover_seconds)
    files = [file for table in TABLES for file in store.files(table, study)]
    for partition in sorted({(file.study, file.scope) for file in files}):
        yield from _partition(store, [file for file in files if (file.study, file.scope) == partition])


def _names(store: ResultStore, leftover_seconds: float) -> Iterator[Finding]:
    """Foreign and temporary files."""
    for path, written_at in sorted(store.location.modified().items()):
        if path.startswith("_"):  # the marker, and what studies keep beside the tables: the search's journals
            continue
        if is_temporary(path):
            if (age := time.time() - written_at) > leftover_seconds:
                text = f"temporary file, {age / 3600:.1f} h old, of a process that was killed"
                try:
                    yield Finding(path, *(_only_copy(store, path) or (text, "delete it")))
                except FileNotFoundError:
                    continue  # a compaction had moved it aside and is done with it
        elif StoreFile.parse(path) is None:
            yield Finding(path, "not a file of this store", "move it elsewhere")


def _only_copy(store: ResultStore, path: str) -> tuple[str, str] | None:
    """What is wrong, and the mend, if a temporary file holds rows of a trial that no other file has; None otherwise."""
    match = ASIDE.match(path)
    file = StoreFile.parse(match["folder"] + match["name"]) if match else None
    data = store.location.read(path)
    if file is None or file.compacted:
        return None
    try:
        source = parse(data, file)
    except UnreadableFile:
        return None  # half written
    key = list(TABLES[file.table].key)
    others = read_files(
        lambda: store.files(file.table, file.study, file.scope, file.trial_id),
        lambda one: store.load(one, {*key, "attempt"}, file.trial_id),
        store.uri,
    )
    held = [m for other in others for m in other.members if m.attempt == file.attempt]
    known = {row for other in others for row in _keys(other)[key].itertuples(index=False, name=None)}
    fresh = set(_keys(source)[key].itertuples(index=False, name=None)) - known
    newer = source.members[0].version > max((member.version for member in held), default=-1)
    if not fresh and not newer:
        return None
    said = "temporary file with rows of a trial that no other file has"
    own = [other.members[0] for other in others if other.file == file]
    if not own or (newer and own[0].writer == source.members[0].writer):
        return said, f"rename it to {file.path.rpartition('/')[2]}"
    return said, f"compare it with {file.path.rpartition('/')[2]} before one of the two goes"


def _partition(store: ResultStore, files: list[StoreFile]) -> Iterator[Finding]:
    """The files of a study and scope, each on its own and all together."""
    study, scope = files[0].study, files[0].scope
    torn: set[str] = set()
    for table in TABLES:
        seen: dict[str, pd.DataFrame] = {}
        for file in (file for file in files if file.table == table):
            try:
                data = store.location.read(file.path)
            except FileNotFoundError:
                continue  # replaced by a compaction in this moment
            try:
                source = parse(data, file)
            except UnreadableFile as error:
                torn.add(file.trial_id)
                yield Finding(file.path, str(error), _mend(file))
                continue
            if file.compacted and not file.path.endswith(compacted_name(data)):
                yield Finding(file.path, "its content has changed since it was written", "restore it from a backup")
            yield from _rows(source)
            seen[file.path] = _keys(source)
        yield from _twice(seen)
    if "" not in torn:  # a compacted file does not say which trials it lacks when it is torn
        yield from _trials(store, study, scope, torn)


def _mend(file: StoreFile) -> str:
    return RESTORE if file.compacted else AGAIN


def _keys(source: Source) -> pd.DataFrame:
    key = TABLES[source.file.table].key
    return source.table.select([*key, "attempt"]).to_pandas()


def _rows(source: Source) -> Iterator[Finding]:
    """Rows of one file: their keys, and whether they belong there."""
    file, keys = source.file, _keys(source)
    if empty := [str(name) for name in keys if keys[name].isna().any()]:
        yield Finding(file.path, f"rows without {', '.join(empty)}", _mend(file))
        return
    members = {(member.trial_id, member.attempt) for member in source.members}
    pairs = keys[["trial_id", "attempt"]].drop_duplicates().itertuples(index=False, name=None)
    if strange := sorted({(str(t), int(a)) for t, a in pairs} - members):
        said = ", ".join(f"{trial}, attempt {attempt}" for trial, attempt in strange[:MOST_NAMED])
        yield Finding(file.path, f"has rows of another trial or attempt than its name says ({said})", _mend(file))
    double = keys[keys.duplicated()]
    for row in double.head(MOST_NAMED).to_dict("records"):
        yield Finding(file.path, f"{_named(file.table, row)} is listed {_times(keys, row)}", _mend(file))


def _named(table: str, row: dict) -> str:
    if table == "predictions":
        return f"clip '{row['clip_id']}' of part '{row['part']}' of trial {row['trial_id']}"
    rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("trial_id", "attempt"))
    return f"trial {row['trial_id']}" + (f", {rest}" if rest else "")


def _times(keys: pd.DataFrame, row: dict) -> str:
    same = (keys == pd.Series(row)).all(axis=1).sum()
    return "twice" if same == 2 else f"{same} times"


def _twice(seen: dict[str, pd.DataFrame]) -> Iterator[Finding]:
    """Attempts in more than one file: a compaction is under way or was broken off, or rows came after it."""
    where: dict[tuple[str, int], list[str]] = {}
    for path, keys in seen.items():
        for pair in keys[["trial_id", "attempt"]].drop_duplicates().itertuples(index=False, name=None):
            where.setdefault(pair, []).append(path)
    by_file: dict[str, set[str]] = {}
    for (trial, _), paths in where.items():
        if len(paths) > 1:
            by_file.setdefault(min(paths, key=lambda path: "/compact-" not in path), set()).add(trial)
    for path, trials in sorted(by_file.items()):
        some = ", ".join(sorted(trials)[:MOST_NAMED])
        text = f"holds rows of {len(trials)} trials ({some}) that lie in other files too"
        yield Finding(
            path, text, "nothing to do: readers count them once, the next compaction joins them", harmless=True
        )


def _trials(store: ResultStore, study: str, scope: str, torn: set[str]) -> Iterator[Finding]:
    """What the rows of ``trials`` promise, held against the other tables; not of trials with a torn file."""

    def rows() -> dict[str, dict]:
        columns = ["status", "epochs_done", "epochs_planned", "updated_at", "test_student_top1"]
        read = store.trials(study=study, scope=scope, columns=columns)
        return {row["trial_id"]: row for row in read.astype(object).where(read.notna(), None).to_dict("records")}

    trials = rows()
    epochs = store.epochs(study=study, scope=scope, columns=["epoch"]).groupby("trial_id").epoch
    predictions = store.predictions(study=study, scope=scope, columns=["part"])
    regulation = store.regulation(study=study, scope=scope, columns=["epoch"])
    tested = set(predictions.trial_id[predictions.part == "test"])
    numbers = {str(trial_id): sorted(int(n) for n in group) for trial_id, group in epochs}
    found: list[tuple[str, str, str]] = []
    for trial_id, row in trials.items():
        found += [(trial_id, *said) for said in _epochs(row, numbers.get(trial_id, []))]
        if row["status"] == FINISHED and row["test_student_top1"] is not None and trial_id not in tested:
            mend = "its per-clip results are lost; run the trial again under another --name if you need them"
            found.append((trial_id, "finished with a test result, but has no predictions", mend))
    for trial_id in sorted({*numbers, *predictions.trial_id, *regulation.trial_id} - set(trials)):
        text = "has rows of other tables, but none of trials"
        found.append((trial_id, text, "run its study again with --resume, or delete its files"))
    now = rows() if found else trials  # a trial may have started or gone on between the tables
    for trial_id, text, mend in found:
        if trial_id not in torn and now.get(trial_id) == trials.get(trial_id):
            yield Finding(f"{study}/{scope}/{trial_id}", text, mend)


def _epochs(row: dict, numbers: list[int]) -> Iterator[tuple[str, str]]:
    """Whether a trial's epochs add up.

    One killed between its epoch's row and its own is one epoch ahead. One that was taken up and stopped before it had
    come as far as its attempt before has rows of both, and counts those of the last.
    """
    done, planned = int(row["epochs_done"] or 0), row["epochs_planned"]
    ahead = {FINISHED: 0.0, RUNNING: math.inf}.get(row["status"], 1.0)
    if row["status"] in (PRUNED, FAILED) and row["attempt"] > 1:
        ahead = math.inf
    resume = "run its study again with --resume" if row["status"] == RUNNING else "take its learning curve with caution"
    if strange := [n for n in numbers if n < 1 or (planned is not None and n > planned)]:
        some = ", ".join(map(str, strange[:MOST_NAMED]))
        yield (
            f"has rows of epochs {some}, planned are {'1 and more' if planned is None else f'1 to {planned:.0f}'}",
            resume,
        )
    elif not done <= len(numbers) <= done + ahead:
        yield f"{row['status']} with {done} epochs done, but has rows of {len(numbers)}", resume
    elif numbers != list(range(1, len(numbers) + 1)):
        have = set(numbers)
        missing = islice((n for n in range(1, max(numbers)) if n not in have), MOST_NAMED)
        yield f"lacks epochs {', '.join(map(str, missing))} of {max(numbers)}", resume


def wrong(findings: Iterable[Finding]) -> bool:
    """Whether there is anything to do."""
    return any(not finding.harmless for finding in findings)
