"""Which rows of a table hold, and in which order: the last attempt of each key, sorted by study, scope and key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LARGEST_CODE = 2**62


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
        rank_N: of rows that agree in key and attempt the one with the highest rank holds, and among these the last.
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
