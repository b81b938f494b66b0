"""Is a store sound? Every file is read whole, and the tables are held against each other.

Nothing is changed. Each finding is one line: where, what is wrong, how to mend it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from studies.results.compacted import compacted_name
from studies.results.reading import Source, UnreadableFile, parse
from studies.results.schema import FINISHED, RUNNING, SCHEMA_VERSION, TABLES
from studies.results.store import MARKER, ResultStore
from studies.results.store_files import StoreFile, is_temporary

LEFTOVER_SECONDS = 600.0  # a temporary file this old belongs to no writer at work
MOST_NAMED = 3  # of rows of one kind that are wrong in one file
AGAIN = "delete the file; if the trial is to be kept, run its study again with --resume"


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
        if path == MARKER:
            continue
        if is_temporary(path):
            if (age := time.time() - written_at) > leftover_seconds:
                text = f"temporary file, {age / 3600:.1f} h old, of a process that was killed"
                yield Finding(path, text, "delete it")
        elif StoreFile.parse(path) is None:
            yield Finding(path, "not a file of this store", "move it elsewhere")


def _partition(store: ResultStore, files: list[StoreFile]) -> Iterator[Finding]:
    """The files of a study and scope, each on its own and all together."""
    study, scope = files[0].study, files[0].scope
    sound = True
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
                sound = False
                yield Finding(file.path, str(error), AGAIN)
                continue
            if file.compacted and not file.path.endswith(compacted_name(data)):
                yield Finding(file.path, "its content has changed since it was written", "restore it from a backup")
            yield from _rows(source)
            seen[file.path] = _keys(source)
        yield from _twice(seen)
    if sound:
        yield from _trials(store, study, scope)


def _keys(source: Source) -> pd.DataFrame:
    key = TABLES[source.file.table].key
    return source.table.select([*key, "attempt"]).to_pandas()


def _rows(source: Source) -> Iterator[Finding]:
    """Rows of one file: their keys, and whether they belong there."""
    file, keys = source.file, _keys(source)
    if empty := [str(name) for name in keys if keys[name].isna().any()]:
        yield Finding(file.path, f"rows without {', '.join(empty)}", AGAIN)
        return
    members = {(member.trial_id, member.attempt) for member in source.members}
    pairs = keys[["trial_id", "attempt"]].drop_duplicates().itertuples(index=False, name=None)
    if strange := sorted({(str(t), int(a)) for t, a in pairs} - members):
        said = ", ".join(f"{trial}, attempt {attempt}" for trial, attempt in strange[:MOST_NAMED])
        yield Finding(file.path, f"has rows of another trial or attempt than its name says ({said})", AGAIN)
    double = keys[keys.duplicated()]
    for row in double.head(MOST_NAMED).to_dict("records"):
        yield Finding(file.path, f"{_named(file.table, row)} is listed {_times(keys, row)}", AGAIN)


def _named(table: str, row: dict) -> str:
    if table == "predictions":
        return f"clip '{row['clip_id']}' of part '{row['part']}' of trial {row['trial_id']}"
    rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("trial_id", "attempt"))
    return f"trial {row['trial_id']}" + (f", {rest}" if rest else "")


def _times(keys: pd.DataFrame, row: dict) -> str:
    same = (keys == pd.Series(row)).all(axis=1).sum()
    return "twice" if same == 2 else f"{same} times"


def _twice(seen: dict[str, pd.DataFrame]) -> Iterator[Finding]:
    """Attempts that lie in more than one file: those of a compaction that was broken off."""
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
        yield Finding(path, text, "run compact, which was broken off or overtaken; readers count them once")


def _trials(store: ResultStore, study: str, scope: str) -> Iterator[Finding]:
    """What the rows of ``trials`` promise, held against the other tables."""
    columns = ["status", "epochs_done", "test_student_top1"]
    trials = store.trials(study=study, scope=scope, columns=columns)
    epochs = store.epochs(study=study, scope=scope, columns=["epoch"]).groupby("trial_id").epoch
    predictions = store.predictions(study=study, scope=scope, columns=["part"])
    regulation = store.regulation(study=study, scope=scope, columns=["epoch"])
    tested = set(predictions.trial_id[predictions.part == "test"])
    numbers = {str(trial_id): sorted(int(n) for n in group) for trial_id, group in epochs}
    for row in trials.to_dict("records"):
        trial = f"{study}/{scope}/{row['trial_id']}"
        yield from (Finding(trial, *said) for said in _epochs(row, numbers.get(row["trial_id"], [])))
        if row["status"] == FINISHED and pd.notna(row["test_student_top1"]) and row["trial_id"] not in tested:
            mend = "its per-clip results are lost; run the trial again under another --name if you need them"
            yield Finding(trial, "finished with a test result, but has no predictions", mend)
    others: Iterable[str] = {*numbers, *predictions.trial_id, *regulation.trial_id} - set(trials.trial_id)
    for trial_id in sorted(others):
        text = "has rows of other tables, but none of trials"
        yield Finding(f"{study}/{scope}/{trial_id}", text, "run its study again with --resume, or delete its files")


def _epochs(row: dict, numbers: list[int]) -> Iterator[tuple[str, str]]:
    """Whether a trial's epochs add up; one killed between its epoch's row and its own is one epoch ahead."""
    done = 0 if pd.isna(row["epochs_done"]) else int(row["epochs_done"])
    ahead = {FINISHED: 0.0, RUNNING: math.inf}.get(row["status"], 1.0)
    resume = "run its study again with --resume" if row["status"] == RUNNING else "take its learning curve with caution"
    if not done <= len(numbers) <= done + ahead:
        yield f"{row['status']} with {done} epochs done, but has rows of {len(numbers)}", resume
    elif numbers != list(range(1, len(numbers) + 1)):
        missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        yield f"lacks epochs {', '.join(map(str, missing[:MOST_NAMED]))} of {max(numbers)}", resume


def wrong(findings: Iterable[Finding]) -> bool:
    """Whether there is anything to do."""
    return any(not finding.harmless for finding in findings)
