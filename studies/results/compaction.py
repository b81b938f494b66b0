"""Compaction: the files of trials that have ended become few larger ones, a partition at a time.

The order makes it safe against writers, readers, other compactions and a crash at any step:

1. the marker says that compacted files may come, so that older software refuses the store rather than overlooks rows;
2. the new file is written whole and read back; readers drop the rows that now lie in two files;
3. after a pause, in which listings end that began before the new file was there, each old file is deleted, unless its
   content has changed meanwhile. Compacted ones go first: as long as a trial's own file lies there, its rows hold.

Dropped is only what a later attempt replaced: an epoch that an older attempt alone holds stays. Trials under way are
left alone, and so is a trial with a torn file, in all tables. Files in which a column is a number are not joined with
those in which it is a text: each keeps its type.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sefar.errors import StoreError
from studies.results.compacted import encode, joined
from studies.results.reading import LISTING_SECONDS, READERS, Source, UnreadableFile, join, parse
from studies.results.schema import RUNNING, TABLES
from studies.results.spool import deliver_leftovers, waiting_names
from studies.results.store import ResultStore
from studies.results.store_files import StoreFile

log = logging.getLogger(__name__)

LARGE_BYTES = 2**27  # a compacted file of this size is left as it is, and no new one joins more than about that
PARTITION = tuple[str, str]  # study and scope


@dataclass
class Compaction:
    """What a compaction has done.

    Attributes:
        joined: files that were joined and deleted.
        written: files they were joined into.
        kept: files that changed meanwhile and were left.
        under_way: trials left alone because they have not ended.
        torn: trials left alone because a file of theirs cannot be read.
    """

    joined: int = 0
    written: int = 0
    kept: int = 0
    under_way: int = 0
    torn: set[str] = field(default_factory=set)


def compact(
    store: ResultStore,
    *,
    study: str | None = None,
    scope: str | None = None,
    pause_seconds: float = LISTING_SECONDS,
    large_bytes: int = LARGE_BYTES,
) -> Compaction:
    """Join the files of trials that have ended.

    Args:
        store: that others may write and read meanwhile.
        study: only this one.
        scope: only this one.
        pause_seconds: between writing and deleting; see `studies.results.reading.LISTING_SECONDS`.
        large_bytes: about the size that compacted files have at most.

    Raises:
        StoreError: the store cannot be written.
        StorageOutage: the storage does not answer.
    """
    done = Compaction()
    deliver_leftovers(store.location)
    listed = {table: store.files(table, study, scope) for table in TABLES}
    sizes = {path: size for table in TABLES for path, size in store.location.sizes(table).items()}
    partitions = sorted({(file.study, file.scope) for files in listed.values() for file in files})
    obsolete: dict[str, str] = {}
    for partition in partitions:
        files = {t: [f for f in listed[t] if (f.study, f.scope) == partition] for t in TABLES}
        ended = _ended(store, partition, files)
        done.under_way += len({f.trial_id for f in files["trials"] if not f.compacted} - ended)
        batches = [batch for table in TABLES for batch in _batches(files[table], ended, sizes, large_bytes)]
        read = _read(store, [file for batch in batches for file in batch], done)  # all tables before one is written
        for batch in batches:
            for alike in _alike([read[file.path] for file in batch if file.path in read]):
                obsolete |= _join(store, alike, done)
    if obsolete:
        time.sleep(pause_seconds)
    for compacted in (True, False):
        paths = [path for path in obsolete if ("/compact-" in path) == compacted]
        with ThreadPoolExecutor(READERS if not store.location.is_local else 1) as pool:
            gone = sum(pool.map(lambda path: store.location.remove_same(path, obsolete[path]), paths))
        done.joined, done.kept = done.joined + gone, done.kept + len(paths) - gone
    return done


@dataclass(frozen=True)
class _Read:
    """A file to be joined, and the digest by which it is known when it is to be deleted."""

    source: Source
    digest: str


def _ended(store: ResultStore, partition: PARTITION, files: Mapping[str, Iterable[StoreFile]]) -> set[str]:
    """Trials whose last attempt has ended and none of whose rows wait on this machine."""
    study, scope = partition
    rows = store.trials(arrow=True, study=study, scope=scope, columns=["status"])
    last = {row["trial_id"]: row for row in rows.select(["trial_id", "attempt", "status"]).to_pylist()}
    ended = {name for name, row in last.items() if row["status"] not in (None, RUNNING)}
    waiting = [file for path in waiting_names(store.location) if (file := StoreFile.parse(path)) is not None]
    ended -= {file.trial_id for file in waiting if (file.study, file.scope) == partition}
    for file in (f for some in files.values() for f in some if f.trial_id in ended):
        if file.attempt > last[file.trial_id]["attempt"]:
            ended.discard(file.trial_id)  # taken up again in this moment
    return ended


def _batches(
    files: Iterable[StoreFile], ended: set[str], sizes: Mapping[str, int], large_bytes: int
) -> Iterator[list[StoreFile]]:
    """Files of a table and partition that become one, all attempts of a trial together."""
    by_trial: dict[str, list[StoreFile]] = {}
    for file in files:
        if file.trial_id in ended or (file.compacted and sizes.get(file.path, 0) < large_bytes):
            by_trial.setdefault(file.trial_id or file.path, []).append(file)
    batch: list[StoreFile] = []
    size = 0
    for _, own in sorted(by_trial.items()):
        batch += own
        size += sum(sizes.get(file.path, 0) for file in own)
        if size >= large_bytes:
            yield batch
            batch, size = [], 0
    yield batch


def _read(store: ResultStore, files: list[StoreFile], done: Compaction) -> dict[str, _Read]:
    """The files by path, without those of trials of which one is torn; none where another compaction is at work."""

    def read(file: StoreFile) -> _Read | UnreadableFile:
        data = store.location.read(file.path)
        try:
            return _Read(parse(data, file), hashlib.sha256(data).hexdigest())
        except UnreadableFile as error:
            return error

    try:
        with ThreadPoolExecutor(READERS) as pool:
            found = list(zip(files, pool.map(read, files), strict=True))
    except FileNotFoundError:
        return {}
    torn = {file.trial_id or file.path for file, one in found if isinstance(one, UnreadableFile)}
    for file, error in ((f, one) for f, one in found if isinstance(one, UnreadableFile)):
        log.warning("%s: %s; it and what belongs to it is left as it is", store.location.where(file.path), error)
    done.torn |= torn
    return {f.path: one for f, one in found if isinstance(one, _Read) and (f.trial_id or f.path) not in torn}


def _alike(batch: list[_Read]) -> list[list[_Read]]:
    """The files of a table in groups in which each column has one type."""
    types: dict[str, set[str]] = {}
    for one in batch:
        for field_ in one.source.table.schema:
            types.setdefault(field_.name, set()).add(str(field_.type))
    mixed = sorted(name for name, kinds in types.items() if len(kinds) > 1)
    groups: dict[tuple[str, ...], list[_Read]] = {}
    for one in batch:
        schema = one.source.table.schema
        groups.setdefault(tuple(str(schema.field(n).type) if n in schema.names else "" for n in mixed), []).append(one)
    return list(groups.values())


def _join(store: ResultStore, batch: list[_Read], done: Compaction) -> dict[str, str]:
    """Write the batch as one file; returns the digests of the files that may go then, by path."""
    if len(batch) < 2:
        return {}
    path, data = _encoded([one.source for one in batch])
    if path not in {one.source.file.path for one in batch}:
        store.raise_version()
        store.location.write(path, data)
        if store.location.read(path) != data:
            raise StoreError(f"{store.location.where(path)}: reads otherwise than it was written; check the storage")
    done.written += 1
    return {one.source.file.path: one.digest for one in batch if one.source.file.path != path}


def _encoded(sources: list[Source]) -> tuple[str, bytes]:
    """The path and content of the file that holds the sources' rows."""
    rows = join(sources, TABLES[sources[0].file.table], None).drop_columns(["study", "scope"])
    alone, compacted = ([m for s in sources if s.file.compacted == kind for m in s.members] for kind in (False, True))
    return encode(rows, joined(alone, compacted), sources[0].file.folder)
