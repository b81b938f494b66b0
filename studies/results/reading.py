"""From data files to one Arrow table: files are read in parallel, joined whatever columns they have, and deduplicated.

Until a compaction has deleted the files it joined, a row lies in two files; here it counts once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sefar.errors import StoreError
from studies.results.compacted import MOST_TRIES, members_of
from studies.results.rows import Source, holding, key_codes, last_attempts, version_ranks
from studies.results.schema import TABLES, TableSpec
from studies.results.storage import Location
from studies.results.store_files import StoreFile, is_temporary

READERS = 8  # files under way at once; an object store's answers are waited for side by side
LISTING_SECONDS = 1.0  # a compaction leaves joined files for so long, or a listing might see neither these nor the new


class UnreadableFile(Exception):
    """The content of a file is torn or foreign; says how."""


def list_files(location: Location, folder: str) -> list[str]:
    """All files below a folder of a store, temporary ones apart; none that is compacted meanwhile is missed.

    A listing that is faster than a compaction's pause is complete. A slower one is proven so by the next, if that shows
    the same compacted files: no compaction came to an end in it. The next one itself is not, so both count.

    Raises:
        StoreError: compactions follow one another faster than the storage can be listed.
    """
    before: list[str] | None = None
    for _ in range(MOST_TRIES):
        started = time.monotonic()
        paths = [path for path in location.files(folder) if not is_temporary(path)]
        if time.monotonic() - started < LISTING_SECONDS / 2:
            return paths
        if before is not None and _compacted(paths) == _compacted(before):
            return sorted({*before, *paths})
        before = paths
    where = location.where(folder)
    raise StoreError(f"{where}: compacted faster than it can be listed; try again when no compaction runs")


def _compacted(paths: Iterable[str]) -> set[str]:
    return {path for path in paths if "/compact-" in path}


def read_files(
    listed: Callable[[], list[StoreFile]], load: Callable[[StoreFile], Source | None], where: str
) -> list[Source]:
    """Read all files; where one has vanished since they were listed, its rows lie in another, so list again.

    Args:
        listed: lists the files.
        load: reads one; None: it is to be skipped.
        where: the store, for the error.

    Raises:
        StoreError: files vanish faster than they can be read.
    """
    read: dict[str, Source | None] = {}

    def load_or_miss(file: StoreFile) -> bool:
        try:
            read[file.path] = load(file)
            return False
        except FileNotFoundError:
            return True

    with ThreadPoolExecutor(READERS) as pool:
        for _ in range(MOST_TRIES):
            files = listed()
            if not any(list(pool.map(load_or_miss, [f for f in files if f.path not in read]))):
                return [source for _, source in sorted(read.items()) if source is not None]
    raise StoreError(f"{where}: files vanish faster than they can be read; try again when no compaction runs")


def parse(
    content: bytes | pa.NativeFile, file: StoreFile, columns: set[str] | None = None, trial_id: str | None = None
) -> Source:
    """Read a file's content.

    Args:
        content: its bytes, or the file opened for random access.
        file: which one it is.
        columns: only these; None: all.
        trial_id: only the rows of this trial, from a compacted file.

    Raises:
        UnreadableFile: it is torn, foreign, or has a column of the store in another type.
        FileNotFoundError: it has vanished.
    """
    try:
        stream = pa.BufferReader(content) if isinstance(content, bytes) else content
        parquet = pq.ParquetFile(stream, pre_buffer=not isinstance(content, bytes), page_checksum_verification=True)
        schema = parquet.schema_arrow
        if double := sorted({name for name in schema.names if schema.names.count(name) > 1}):
            raise UnreadableFile(f"has column '{double[0]}' more than once")
        names = [n for n in schema.names if n not in ("study", "scope") and (columns is None or n in columns)]
        spec = TABLES[file.table]
        if not {*spec.key, "attempt"} <= set(schema.names):
            raise UnreadableFile("lacks the key columns of this store")
        groups = _groups(parquet, trial_id if file.compacted else None)
        table = parquet.read_row_groups(groups, columns=names, use_threads=len(groups) > 1)
        members = members_of(schema, file)
        if trial_id is not None and file.compacted:
            table = table.filter(pc.equal(table["trial_id"], trial_id))
            members = [member for member in members if member.trial_id == trial_id]
        return Source(file, _fitted(table, spec.schema), members)
    except FileNotFoundError:
        raise
    except ValueError as error:
        if isinstance(error, pa.ArrowException):  # ArrowInvalid is both
            raise UnreadableFile(f"torn or not Parquet ({_first_line(error)})") from error
        raise UnreadableFile(str(error)) from error
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFile(f"torn or not Parquet ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:80]


def _groups(parquet: pq.ParquetFile, trial_id: str | None) -> list[int]:
    """The row groups in which the trial may be; all without one."""
    every = list(range(parquet.num_row_groups))
    if trial_id is None:
        return every
    at = parquet.schema_arrow.names.index("trial_id")
    bounds = [parquet.metadata.row_group(g).column(at).statistics for g in every]
    return [
        g for g, b in zip(every, bounds, strict=True) if b is None or not b.has_min_max or b.min <= trial_id <= b.max
    ]


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the store's columns in the store's types."""
    table = table.replace_schema_metadata(None)
    for at, field in enumerate(table.schema):
        known = schema.get_field_index(field.name)
        if known < 0 or field.type == schema.field(known).type:
            continue
        wanted = schema.field(known)
        if not _widens(field.type, wanted.type):
            raise UnreadableFile(f"column '{field.name}' is {field.type}, expected {wanted.type}")
        table = table.set_column(at, wanted, table.column(at).cast(wanted.type))
    return table


def _widens(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether the values of a column may be had in another type as they are."""
    types = pa.types
    if types.is_null(kind) or (types.is_dictionary(kind) and types.is_string(wanted)):
        return True
    if types.is_floating(wanted):
        return types.is_integer(kind) or types.is_floating(kind)
    text = types.is_large_string(kind) or types.is_string_view(kind)
    return (types.is_integer(wanted) and types.is_integer(kind)) or (types.is_string(wanted) and text)


def join(
    sources: Sequence[Source], spec: TableSpec, columns: set[str] | None, *, all_attempts: bool = False
) -> pa.Table:
    """The rows that hold, sorted by study, scope and key, with study and scope as the first columns.

    Args:
        sources: files of one table.
        spec: of the table.
        columns: that were asked for; None: all.
        all_attempts: keep the rows of attempts that a later one replaced.

    Returns:
        the store's columns, null where a file of an older version has none, then whatever else the files hold.
    """
    if spec.whole_attempts and not all_attempts:
        sources = last_attempts(sources)
    sources = [s for s in sources if len(s.table)] or sources  # what has no rows here has no say in a column's type
    groups: dict[pa.Schema, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.table.schema, []).append(source)
    sources = [source for group in groups.values() for source in group]  # in the order of `concatenate`
    partitions = sorted({(s.file.study, s.file.scope) for s in sources})
    place = {partition: at for at, partition in enumerate(partitions)}
    rows = np.array([len(s.table) for s in sources], np.int64)
    partition_N = np.repeat(np.array([place[s.file.study, s.file.scope] for s in sources], np.int64), rows)
    rank_N = np.concatenate([np.zeros(0, np.int64), *version_ranks(sources)])
    known = pa.schema([f for f in spec.schema if columns is None or f.name in columns])
    table = concatenate([s.table for s in sources], known)
    code_N = key_codes(table, partition_N, spec.key)
    kept_N = holding(code_N, table["attempt"].fill_null(0).to_numpy(), rank_N, all_attempts=all_attempts)
    if kept_N is not None:
        table, partition_N = table.take(pa.array(kept_N)), partition_N[kept_N]
    for name, values in (("scope", [s for _, s in partitions]), ("study", [s for s, _ in partitions])):
        parts = pa.DictionaryArray.from_arrays(pa.array(partition_N.astype(np.int32)), pa.array(values, pa.string()))
        table = table.add_column(0, name, parts.cast(pa.string()))
    return table


def concatenate(tables: Iterable[pa.Table], known: pa.Schema) -> pa.Table:
    """Rows of tables whose columns differ: those of `known` first, then the others by name.

    A further column that is a number in one file and a text in another becomes text. Tables of equal schema come
    together, in the order in which the schemas first come.
    """
    by_schema: dict[pa.Schema, list[pa.Table]] = {}
    for table in tables:
        by_schema.setdefault(table.schema, []).append(table)
    types: dict[str, set[pa.DataType]] = {}
    for schema in by_schema:
        for field in schema:
            types.setdefault(field.name, set()).add(field.type)
    fields = list(known) + [pa.field(n, _common(types[n])) for n in sorted(set(types) - set(known.names))]
    target = pa.schema(fields)
    parts = [_conform(pa.concat_tables(group), target) for group in by_schema.values()]
    return pa.concat_tables([target.empty_table(), *parts])


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    kinds = {kind for kind in kinds if not pa.types.is_null(kind)} or kinds
    if len(kinds) == 1:
        return next(iter(kinds))
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)
    return pa.float64() if numbers else pa.string()


def _conform(table: pa.Table, target: pa.Schema) -> pa.Table:
    if table.schema == target:
        return table
    columns = []
    for field in target:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
        elif table[field.name].type == field.type:
            columns.append(table[field.name])
        else:
            columns.append(_as(table[field.name], field.type))
    return pa.Table.from_arrays(columns, schema=target)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(
            kind, safe=not pa.types.is_floating(kind)
        )  # whole numbers beyond 2^53 lose their last digits
    except pa.ArrowException:  # a list has no text of its own
        return pa.chunked_array([pa.array([None if v is None else str(v) for v in column.to_pylist()], kind)])
