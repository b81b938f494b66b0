"""A compacted file: the rows of many trials that have ended, and who wrote them.

    compact-<first 32 digits of the SHA-256 of its bytes>.parquet

The name follows from the content: two compactions of the same files write the same one, and `verify` sees damage. The
metadata names every attempt that was joined, also those whose rows a later one replaced: the next attempt counts on,
and what had waited in a spool meanwhile is settled against the version that was joined.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from studies.results.settle import COUNT, WRITER, stamped
from studies.results.storage import Location
from studies.results.store_files import StoreFile, is_temporary

MEMBERS = b"sefar_members"
ROWS_PER_GROUP = 2**15  # a reader of one trial skips the other groups
MOST_TRIES = 20  # of reading what another compaction replaces


class Member(NamedTuple):
    """An attempt whose file was joined.

    Attributes:
        trial_id: of the trial.
        attempt: of the trial.
        writer: that wrote the file; see `studies.results.settle`.
        version: which of the writer's it was.
        generation: how often the attempt was written anew after it had been joined.
    """

    trial_id: str
    attempt: int
    writer: str = ""
    version: int = 0
    generation: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Of compacted files that hold the same attempt the one with the greatest rank holds."""
        return self.generation, self.version


def members_of(schema: pa.Schema, file: StoreFile) -> list[Member]:
    """The attempts in a file by its metadata.

    Raises:
        ValueError: a compacted file does not name them.
    """
    metadata = schema.metadata or {}
    if not file.compacted:
        writer, count = metadata.get(WRITER, b"").decode(errors="replace"), metadata.get(COUNT, b"0")
        return [Member(file.trial_id, file.attempt, writer, int(count) if count.isdigit() else 0)]
    try:
        return [Member(str(t), int(a), str(w), *map(int, count)) for t, a, w, *count in json.loads(metadata[MEMBERS])]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("does not name the trials in it") from error


def joined(alone: Iterable[Member], compacted: Iterable[Member]) -> list[Member]:
    """The attempts of a new compacted file.

    Args:
        alone: attempts with a file of their own, which is the newest version of it.
        compacted: attempts in compacted files.
    """
    found: dict[tuple[str, int], Member] = {}
    for member in sorted(compacted, key=lambda member: member.rank):
        found[member.trial_id, member.attempt] = member
    for member in alone:
        old = found.get((member.trial_id, member.attempt), member)
        same = (old.writer, old.version) == (member.writer, member.version)
        found[member.trial_id, member.attempt] = member._replace(generation=old.generation + (not same))
    return list(found.values())


def encode(rows: pa.Table, members: Iterable[Member], folder: str) -> tuple[str, bytes]:
    """The path and content of a compacted file.

    Args:
        rows: sorted by trial.
        members: the attempts they came from.
        folder: of the partition.
    """
    told = json.dumps([m if m.generation else m[:4] for m in sorted(members)])
    buffer = io.BytesIO()
    marked = rows.replace_schema_metadata({MEMBERS: told.encode()})
    pq.write_table(marked, buffer, compression="zstd", row_group_size=ROWS_PER_GROUP, write_page_checksum=True)
    data = buffer.getvalue()
    return f"{folder}/{compacted_name(data)}", data


def compacted_name(data: bytes) -> str:
    """What a compacted file of this content is called."""
    return f"compact-{hashlib.sha256(data).hexdigest()[:32]}.parquet"


def stored_version(location: Location, path: str, patience_seconds: float) -> bytes | None:
    """The file of an attempt as the store holds it, on its own or within a compacted file; None where it does not.

    Args:
        location: of the store.
        path: of the attempt's file.
        patience_seconds: how long a storage is waited for that does not answer.
    """
    wanted = StoreFile.parse(path)
    for _ in range(MOST_TRIES):
        try:
            return location.read(path, patience_seconds=patience_seconds)
        except FileNotFoundError:
            if wanted is None:
                return None
        try:
            return _within_compacted(location, wanted, patience_seconds)
        except FileNotFoundError:
            continue  # another compaction has replaced it in this moment
    return None


def _within_compacted(location: Location, wanted: StoreFile, patience_seconds: float) -> bytes | None:
    best: tuple[Member, pa.Table] | None = None
    for path in sorted(location.modified(wanted.folder, patience_seconds=patience_seconds)):
        file = StoreFile.parse(path)
        if file is None or not file.compacted or is_temporary(path):
            continue
        try:
            with location.open(path, patience_seconds=patience_seconds) as stream:
                found = _member_and_rows(stream, file, wanted)
        except (OSError, ValueError, pa.ArrowException):  # the file, or the way to it: reading it whole tells which
            data = location.read(path, patience_seconds=patience_seconds)
            try:
                found = _member_and_rows(pa.BufferReader(data), file, wanted)
            except (OSError, ValueError, pa.ArrowException):
                continue  # torn: readers report it
        if found is not None and (best is None or found[0].rank > best[0].rank):
            best = found
    return None if best is None else stamped(best[1], best[0].writer, best[0].version)


def _member_and_rows(stream: pa.NativeFile, file: StoreFile, wanted: StoreFile) -> tuple[Member, pa.Table] | None:
    """An attempt within a compacted file; of the others no rows are read, as far as row groups allow."""
    attempt = (wanted.trial_id, wanted.attempt)
    member = {(m.trial_id, m.attempt): m for m in members_of(pq.read_schema(stream), file)}.get(attempt)
    if member is None:
        return None
    filters: Any = [("trial_id", "=", wanted.trial_id), ("attempt", "=", wanted.attempt)]
    return member, pq.read_table(stream, filters=filters, page_checksum_verification=True)
