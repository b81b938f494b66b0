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
import pyarrow.compute as pc
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
    """

    trial_id: str
    attempt: int
    writer: str = ""
    version: int = 0


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
        return [Member(str(t), int(a), str(w), int(c)) for t, a, w, c in json.loads(metadata[MEMBERS])]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("does not name the trials in it") from error


def encode(rows: pa.Table, members: Iterable[Member], folder: str) -> tuple[str, bytes]:
    """The path and content of a compacted file.

    Args:
        rows: sorted by trial.
        members: the attempts they came from.
        folder: of the partition.
    """
    told = json.dumps(sorted(members))
    buffer = io.BytesIO()
    marked = rows.replace_schema_metadata({MEMBERS: told.encode()})
    pq.write_table(marked, buffer, compression="zstd", row_group_size=ROWS_PER_GROUP)
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
    for path in sorted(location.modified(wanted.folder, patience_seconds=patience_seconds)):
        file = StoreFile.parse(path)
        if file is None or not file.compacted or is_temporary(path):
            continue
        content = pa.BufferReader(location.read(path, patience_seconds=patience_seconds))
        try:
            table: Any = pq.read_table(content, filters=[("trial_id", "=", wanted.trial_id)])
            members = {(m.trial_id, m.attempt): m for m in members_of(table.schema, file)}
        except (OSError, ValueError, pa.ArrowException):
            continue  # torn: readers report it
        if (member := members.get((wanted.trial_id, wanted.attempt))) is not None:
            rows = table.filter(pc.equal(table["attempt"], wanted.attempt))
            return stamped(rows, member.writer, member.version)
    return None
