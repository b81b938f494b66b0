"""Which rows of a table hold, and in which order: the last attempt of each key, sorted by study, scope and key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from studies.results.compacted import Member
from studies.results.store_files import StoreFile

LARGEST_CODE = 2**62
Held = tuple[str, str, str, int]  # study, scope, trial_id, attempt


@dataclass(frozen=True)
class Source:
    """A data file that has been read.

    Attributes:
        file: which one.
        table: its rows, without study and scope.
        members: the attempts in it.
    """

    file: StoreFile
    table: pa.Table
    members: list[Member]


def key_codes(table: pa.Table, partition_N: np.ndarray, key: Sequence[str]) -> np.ndarray:
    """A number a row, int64 (N,), equal for equal keys and ordered as these are.

    Args:
        table: N rows with the columns of the key.
        partition_N: number of each row's partition, in the order of study and scope.
        key: columns that name a row within a partition.
    """
    code_N = partition_N.astype(np.int64)
    values = int(code_N.max(initial=0)) + 1
    for name in key:
        rank_N, count = _ranks(table[name])
        if values * count >= LARGEST_CODE:
            code_N = np.unique(code_N, return_inverse=True)[1].astype(np.int64)
            values = len(table)
        code_N = code_N * count + rank_N
        values *= count
    return code_N


def holding(code_N: np.ndarray, attempt_N: np.ndarray, rank_N: np.ndarray, *, all_attempts: bool) -> np.ndarray | None:
    """Indices of the rows that hold, sorted by key; None where all do and are sorted already.

    Args:
        code_N: of `key_codes`.
        attempt_N: attempt of each row.
        rank_N: of rows that agree in key and attempt the one with the highest rank holds, and among these the last; see
            `version_ranks`.
        all_attempts: keep the rows of attempts that a later one replaced.
    """
    if len(code_N) < 2 or (code_N[1:] > code_N[:-1]).all():
        return None
    order_N = np.lexsort((rank_N, attempt_N, code_N))
    code_N, attempt_N = code_N[order_N], attempt_N[order_N]
    last_N = np.ones(len(order_N), bool)
    last_N[:-1] = code_N[1:] != code_N[:-1]
    if all_attempts:
        last_N[:-1] |= attempt_N[1:] != attempt_N[:-1]
    return order_N[last_N]


def _ranks(column: pa.ChunkedArray) -> tuple[np.ndarray, int]:
    """Each value's place among the sorted values of a column, nulls last, and how many values there are."""
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.zeros(len(encoded), np.int64), 1
    order = pc.sort_indices(encoded.dictionary).to_numpy(zero_copy_only=False)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place[encoded.indices.to_numpy(zero_copy_only=False)], max(1, len(order))


def version_ranks(sources: Sequence[Source]) -> Iterator[np.ndarray]:
    """Of each source its rows' ranks, int64 (N,), among those that agree in key and attempt: see `holding`.

    A file of its own is written after the compacted one, and of two compacted files the one of the later generation.
    """
    held: dict[Held, list[tuple[int, int]]] = {}
    for source in (source for source in sources if source.file.compacted):
        for held_by, rank in _held(source):
            held.setdefault(held_by, []).append(rank)
    ranks = {held_by: sorted(set(some)) for held_by, some in held.items() if len(some) > 1}
    most = max((len(some) for some in ranks.values()), default=1)
    for source in sources:
        rank_N = np.full(len(source.table), 0 if source.file.compacted else most, np.int64)
        contested = [(one, rank) for one, rank in _held(source) if one in ranks] if source.file.compacted else []
        if contested:
            places = {one[2:]: ranks[one].index(rank) for one, rank in contested}
            pairs = zip(source.table["trial_id"].to_pylist(), source.table["attempt"].to_pylist(), strict=True)
            rank_N[:] = [places.get(pair, 0) for pair in pairs]
        yield rank_N


def _held(source: Source) -> Iterator[tuple[Held, tuple[int, int]]]:
    """The attempts in a file, each with the rank of its version."""
    for member in source.members:
        yield (source.file.study, source.file.scope, member.trial_id, member.attempt), member.rank


def last_attempts(sources: Sequence[Source]) -> list[Source]:
    """The sources with only the rows of each trial's last attempt, as one file has them."""
    last: dict[tuple[str, str, str], tuple[int, bool, tuple[int, int], int]] = {}
    for at, source in enumerate(sources):
        for member in source.members:
            key = (source.file.study, source.file.scope, member.trial_id)
            this = (member.attempt, not source.file.compacted, member.rank, at)
            last[key] = max(last.get(key, this), this)
    kept = []
    for at, source in enumerate(sources):
        partition = (source.file.study, source.file.scope)
        old = sorted({m.trial_id for m in source.members if last[*partition, m.trial_id][-1] != at})
        if not source.file.compacted:
            kept += [] if old else [source]
            continue
        table = source.table
        if old:
            table = table.filter(pc.invert(pc.is_in(table["trial_id"], pa.array(old, pa.string()))))
        kept.append(Source(source.file, table, source.members))
    return kept
