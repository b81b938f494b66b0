"""A table of a store as one file: CSV, or Parquet with study and scope as columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sefar.errors import ConfigError, StoreError, nearest
from sefar.files import replacing
from studies.results.schema import TABLES
from studies.results.store import ResultStore

FORMATS = (".csv", ".parquet")
ALL = "all"


def export(
    store: ResultStore,
    table: str,
    path: Path,
    *,
    study: str | None = None,
    scope: str | None = None,
    force: bool = False,
) -> dict[Path, int]:
    """Write a table, or every one, with the last attempts only.

    Args:
        store: to read.
        table: its name, or ``all``, which takes a folder or a name with ``{table}`` in it as the path.
        path: ends in ``.csv`` or ``.parquet``.
        study: only this one.
        scope: only this one.
        force: replace files that are there.

    Returns:
        the rows written, by file.

    Raises:
        ConfigError: no such table, study, scope or format.
        StoreError: a file is there, or cannot be written.
    """
    if table not in (*TABLES, ALL):
        raise ConfigError(f"table: there is no '{table}'{nearest(table, [*TABLES, ALL])}")
    check_known(store, study, scope)
    targets = {table: path} if table != ALL else {name: _named(path, name) for name in TABLES}
    for target in targets.values():
        if target.suffix not in FORMATS:
            raise ConfigError(f"{target}: expected a name that ends in {' or '.join(FORMATS)}")
        if target.exists() and not force:
            raise StoreError(f"{target}: is there already; give another name, or --force to replace it")
    written = {}
    for name, target in targets.items():
        rows = store.read(name, arrow=True, study=study, scope=scope)
        with _written(target) as out:
            if target.suffix == ".csv":
                pyarrow.csv.write_csv(_flat(rows, target), out)
            else:
                pq.write_table(rows, out, compression="zstd")
        written[target] = len(rows)
    return written


def check_known(store: ResultStore, study: str | None, scope: str | None = None) -> None:
    """Make sure that the store holds a study and a scope.

    Raises:
        ConfigError: it does not.
    """
    if study is None and scope is None:
        return
    files = store.files("trials")
    studies = sorted({file.study for file in files})
    if study is not None and study not in studies:
        raise ConfigError(f"--study: {store.uri} has no '{study}'{nearest(study, studies) if studies else ''}")
    scopes = sorted({file.scope for file in files if study in (None, file.study)})
    if scope is not None and scope not in scopes:
        raise ConfigError(f"--scope: {store.uri} has no '{scope}'{nearest(scope, scopes) if scopes else ''}")


def _named(path: Path, table: str) -> Path:
    if path.suffix in FORMATS:
        if "{table}" not in path.name:
            raise ConfigError(
                f"{path}: one file cannot hold all tables; write {{table}}{path.suffix}, or name a folder"
            )
        return path.with_name(path.name.replace("{table}", table))
    return path / f"{table}.parquet"


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as out:
            yield out
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error}); give another path") from error
    except pa.ArrowException as error:
        text = (str(error).splitlines() or [""])[0][:120]
        raise StoreError(f"{path}: these rows cannot be written in this format ({text}); see verify") from error


def _flat(table: pa.Table, path: Path) -> pa.Table:
    """Lists and structures as JSON, since CSV has none.

    Raises:
        StoreError: a column has no text.
    """
    for at, field in enumerate(table.schema):
        column = table.column(at)
        if pa.types.is_nested(field.type):
            column = _json(column)
        try:
            column.validate(full=True)
            if not pa.types.is_primitive(field.type):
                table = table.set_column(at, field.name, column.cast("str"))
        except (pa.ArrowException, UnicodeDecodeError) as error:
            text = f"column '{field.name}' is no text ({field.type})"
            raise StoreError(f"{path}: {text}, which CSV cannot hold; export to .parquet") from error
    return table


def _json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])
