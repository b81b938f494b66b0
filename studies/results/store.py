"""The result store: Hive-partitioned Parquet that many trials write at once and that is readable at any moment.

    <store>/_sefar_store.json                                       marker with the schema version
    <store>/<table>/study=<study>/scope=<scope>/<trial_id>-a<attempt>.parquet
    <store>/<table>/study=<study>/scope=<scope>/compact-<digest>.parquet     trials that have ended, joined by `compact`

Each trial writes only its own files, one a table and attempt, replaced whole as they grow; so a reader never meets half
a row, and writers never wait for one another. Study and scope stand in the path alone: kept in the file as well,
Arrow's own partition discovery would refuse the table for the difference in type.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack, overload

import pandas as pd
import pyarrow as pa

from sefar.errors import StoreError, nearest
from studies.results.compacted import Member, stored_version
from studies.results.outage import PATIENCE_SECONDS, StorageOutage
from studies.results.reading import Source, UnreadableFile, join, list_files, parse, read_files
from studies.results.schema import RUNNING, SCHEMA_VERSION, TABLES, now
from studies.results.settle import version_of
from studies.results.spool import deliver_leftovers, undelivered, waiting_names
from studies.results.storage import Location
from studies.results.store_files import StoreFile, last_attempts, part_name, trial_path
from studies.results.writer import TrialWriter

log = logging.getLogger(__name__)

MARKER = "_sefar_store.json"
FORMAT = "sefar-results"
BIRTH_SECONDS = 2.0  # that another run may take between making the folder and naming it a store


class Where(TypedDict, total=False):
    """What to read of a table; see `ResultStore.read`."""

    study: str | None
    scope: str | None
    trial_id: str | None
    columns: Sequence[str] | None
    all_attempts: bool


class NoStoreError(StoreError):
    """Nothing lies there yet."""


class ResultStore:
    """Reads a store; `create` also makes one where there is none.

    Args:
        uri: local path or `pyarrow.fs` URI.
        create: make the store if the folder is empty or missing, check that it can be written, and deliver what an
            earlier run on this machine could not write to it.
        known: the store has been there; a local folder without it is waited for, as for a storage that does not answer.
        patience_seconds: how long reading waits for a storage that does not answer.

    Raises:
        StoreError: foreign folder, no store there, newer schema, or (with `create`) not writable.
        StorageOutage: the storage does not answer.
    """

    def __init__(
        self, uri: str, *, create: bool = False, known: bool = False, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.location = Location(uri, patience_seconds=patience_seconds, marker=MARKER if known else None)
        self._problems: dict[str, str] = {}
        if not self._is_there():
            if not create:
                raise NoStoreError(f"{self.uri}: there is no result store; a study makes one with --store")
            self._mark({}, SCHEMA_VERSION)
        elif create:
            # writing the marker anew proves that the store can be written before anything starts
            self.location.write(MARKER, self.location.read(MARKER))
        self.location.marker = MARKER
        self.schema_version = self._read_version()
        if create:
            self.raise_version()
            deliver_leftovers(self.location)

    @property
    def uri(self) -> str:
        """Where the store lies."""
        return self.location.uri

    def _is_there(self) -> bool:
        """Whether the place is a store, and not an empty one; a store that another run is about to make is waited for.

        Raises:
            StoreError: something else lies there.
        """
        end = time.monotonic() + BIRTH_SECONDS
        while not self.location.exists(MARKER):
            names = self.location.names()
            if not names:
                return False
            ours = MARKER in names or all(name.startswith(".") for name in names)
            if time.monotonic() > end or not ours:
                raise StoreError(
                    f"{self.uri}: is not a result store (no {MARKER}) and not empty; give --store a new folder"
                )
            time.sleep(0.05)
        return True

    def _read_version(self) -> int:
        try:
            marker = json.loads(self.location.read(MARKER))
            if marker["format"] != FORMAT:
                raise ValueError(marker["format"])
            version = int(marker["schema_version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.uri}/{MARKER}: damaged or foreign marker ({error}); restore it") from error
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.uri}: written with schema version {version}, newer than {SCHEMA_VERSION}; update sefar"
            )
        return version

    def _mark(self, marker: dict[str, Any], version: int) -> None:
        said = marker | {"format": FORMAT, "schema_version": version}
        self.location.write(MARKER, (json.dumps(said) + "\n").encode())

    def raise_version(self) -> None:
        """Mark the store as of this software's version; to be done before anything is written that others overlook."""
        if self.schema_version < SCHEMA_VERSION:
            # newer software may have raised it since it was read: then this one must not go on
            if self._read_version() < SCHEMA_VERSION:
                self._mark(json.loads(self.location.read(MARKER)), SCHEMA_VERSION)
            self.schema_version = SCHEMA_VERSION

    def files(
        self, table: str, study: str | None = None, scope: str | None = None, trial_id: str | None = None
    ) -> list[StoreFile]:
        """Data files of a table; foreign files are noted as problems. Only the partitions asked for are listed.

        Compacted files are among them whatever the trial: which trials these hold, they say themselves.
        """
        folder = table
        if study is not None:
            folder += f"/study={part_name(study)}" + (f"/scope={part_name(scope)}" if scope is not None else "")
        found = []
        for path in list_files(self.location, folder):
            file = StoreFile.parse(path)
            if file is None:
                self._note(path, "not a file of this store; skipped")
            elif (scope is None or file.scope == scope) and (trial_id in (None, file.trial_id) or file.compacted):
                found.append(file)
        return found

    @overload
    def read(self, table: str, *, arrow: Literal[False] = False, **where: Unpack[Where]) -> pd.DataFrame: ...

    @overload
    def read(self, table: str, *, arrow: Literal[True], **where: Unpack[Where]) -> pa.Table: ...

    @overload
    def read(self, table: str, *, arrow: bool, **where: Unpack[Where]) -> pd.DataFrame | pa.Table: ...

    def read(self, table: str, *, arrow: bool = False, **where: Unpack[Where]) -> pd.DataFrame | pa.Table:
        """A table, the last attempt of each key only, unless `all_attempts`; sorted by study, scope and key.

        Args:
            table: ``trials``, ``epochs``, ``predictions`` or ``regulation``.
            arrow: as an Arrow table instead of pandas.
            **where: `study`, `scope`, `trial_id`: only this one; only its files are read. `columns`: only these (and
                the key), and only their bytes of compacted files; columns that no file has are left out.
                `all_attempts`: keep the rows of attempts that a later one replaced and no compaction has dropped.

        Raises:
            StorageOutage: the storage does not answer.
            StoreError: there is no such table.
            TypeError: an argument that is not known, or a text as `columns`.
        """
        if table not in TABLES:
            raise StoreError(f"{self.uri}: there is no table '{table}'{nearest(table, TABLES)}")
        if unknown := set(where) - set(Where.__annotations__):
            raise TypeError(f"read: unknown argument '{min(unknown)}'{nearest(min(unknown), Where.__annotations__)}")
        if isinstance(names := where.get("columns"), str):
            raise TypeError(f"columns: expected a list of names, got '{names}'; write ['{names}']")
        spec, columns, all_attempts = TABLES[table], where.get("columns"), where.get("all_attempts", False)
        wanted = None if columns is None else set(columns) | set(spec.key) | {"attempt"}
        place = where.get("study"), where.get("scope"), where.get("trial_id")

        def listed() -> list[StoreFile]:
            files = self.files(table, *place)
            return last_attempts(files) if spec.whole_attempts and not all_attempts else files

        sources = read_files(listed, lambda file: self.load(file, wanted, place[2]), self.uri)
        rows = join(sources, spec, wanted, all_attempts=all_attempts)
        return rows if arrow else rows.to_pandas()

    @overload
    def trials(self, *, arrow: Literal[False] = False, **where: Unpack[Where]) -> pd.DataFrame: ...

    @overload
    def trials(self, *, arrow: Literal[True], **where: Unpack[Where]) -> pa.Table: ...

    @overload
    def trials(self, *, arrow: bool, **where: Unpack[Where]) -> pd.DataFrame | pa.Table: ...

    def trials(self, *, arrow: bool = False, **where: Unpack[Where]) -> pd.DataFrame | pa.Table:
        """One row a trial; see `read`."""
        return self.read("trials", arrow=arrow, **where)

    @overload
    def epochs(self, *, arrow: Literal[False] = False, **where: Unpack[Where]) -> pd.DataFrame: ...

    @overload
    def epochs(self, *, arrow: Literal[True], **where: Unpack[Where]) -> pa.Table: ...

    @overload
    def epochs(self, *, arrow: bool, **where: Unpack[Where]) -> pd.DataFrame | pa.Table: ...

    def epochs(self, *, arrow: bool = False, **where: Unpack[Where]) -> pd.DataFrame | pa.Table:
        """One row a trial and epoch; see `read`."""
        return self.read("epochs", arrow=arrow, **where)

    @overload
    def predictions(self, *, arrow: Literal[False] = False, **where: Unpack[Where]) -> pd.DataFrame: ...

    @overload
    def predictions(self, *, arrow: Literal[True], **where: Unpack[Where]) -> pa.Table: ...

    @overload
    def predictions(self, *, arrow: bool, **where: Unpack[Where]) -> pd.DataFrame | pa.Table: ...

    def predictions(self, *, arrow: bool = False, **where: Unpack[Where]) -> pd.DataFrame | pa.Table:
        """One row a trial, part and clip; see `read`."""
        return self.read("predictions", arrow=arrow, **where)

    @overload
    def regulation(self, *, arrow: Literal[False] = False, **where: Unpack[Where]) -> pd.DataFrame: ...

    @overload
    def regulation(self, *, arrow: Literal[True], **where: Unpack[Where]) -> pa.Table: ...

    @overload
    def regulation(self, *, arrow: bool, **where: Unpack[Where]) -> pd.DataFrame | pa.Table: ...

    def regulation(self, *, arrow: bool = False, **where: Unpack[Where]) -> pd.DataFrame | pa.Table:
        """Binned confidence and spread of each trial; see `read`."""
        return self.read("regulation", arrow=arrow, **where)

    def problems(self) -> list[str]:
        """What reading has met so far that is torn or foreign, one line a file."""
        return [f"{self.uri}/{path}: {text}" for path, text in sorted(self._problems.items())]

    def _note(self, path: str, text: str) -> None:
        if path not in self._problems:
            log.warning("%s/%s: %s", self.uri, path, text)
        self._problems[path] = text

    def load(self, file: StoreFile, columns: set[str] | None = None, trial_id: str | None = None) -> Source | None:
        """Read a file; None for one that is torn or foreign, which is noted as a problem.

        Args:
            file: of this store.
            columns: only these; None: all.
            trial_id: only the rows of this trial.

        Raises:
            FileNotFoundError: it has vanished.
            StorageOutage: the storage does not answer.
        """
        try:
            if file.compacted:
                try:
                    with self.location.open(file.path) as stream:
                        return parse(stream, file, columns, trial_id)
                except UnreadableFile:
                    pass  # or the way to it has failed: reading it whole tells which
            # whole: files of trials are small, and what fails from here on is the file, not the way to it
            return parse(self.location.read(file.path), file, columns, trial_id)
        except UnreadableFile as error:
            self._note(file.path, f"{error}; skipped")
            return None

    def attempts(self, table: str, study: str, scope: str, trial_id: str) -> list[Member]:
        """The attempts of a trial that have written a file of a table, compacted or not, torn ones too."""
        alone: list[Member] = []

        def load(file: StoreFile) -> Source | None:
            if file.compacted:
                return self.load(file, {"trial_id", "attempt"}, trial_id)
            alone.append(Member(trial_id, file.attempt))
            return None

        sources = read_files(lambda: self.files(table, study, scope, trial_id), load, self.uri)
        return alone + [member for source in sources for member in source.members]

    def writer(self, study: str, scope: str, trial_id: str) -> TrialWriter:
        """A writer for the next attempt of a trial; what waits on this machine is delivered first."""
        self.raise_version()
        deliver_leftovers(self.location)
        seen = [m.attempt for t in ("trials", "epochs") for m in self.attempts(t, study, scope, trial_id)]
        for path in waiting_names(self.location):
            file = StoreFile.parse(path)
            if file is not None and (file.study, file.scope, file.trial_id) == (study, scope, trial_id):
                seen.append(file.attempt)
        return TrialWriter(self, study, scope, trial_id, max(seen, default=0) + 1)

    def amend(
        self, study: str, scope: str, trial_id: str, changes: Mapping[str, Any], fresh: Mapping[str, Any]
    ) -> TrialWriter | None:
        """Record the end of a trial that could not write it itself; what a trial has said of its own end holds.

        Args:
            study: of the trial.
            scope: of the trial.
            trial_id: the trial.
            changes: columns of ``trials`` to set, the status among them.
            fresh: the row, should the trial never have written one.

        Returns:
            What has written the row, or may have it still to deliver; None where the trial's own word stands.

        Raises:
            StorageOutage: the storage does not answer, so that it is not known what the trial has written.
        """
        if left := deliver_leftovers(self.location, self.location.patience_seconds):
            seconds = self.location.patience_seconds
            raise StorageOutage(undelivered(self.location, f"{len(left)} files", seconds), "no answer")
        rows = self.trials(study=study, scope=scope, trial_id=trial_id).to_dict("records")
        if rows and rows[0]["status"] not in (RUNNING, changes["status"]):
            return None
        row: dict[Any, Any] = rows[0] if rows else dict(fresh)
        attempt = int(row.pop("attempt", 1))
        kept = {str(k): v for k, v in row.items() if v == v and k not in ("study", "scope", "trial_id")}
        path = trial_path("trials", study, scope, trial_id, attempt)
        stored = stored_version(self.location, path, self.location.patience_seconds) if rows else None
        count = version_of(stored) if stored is not None else 0
        writer = TrialWriter(self, study, scope, trial_id, attempt, count)
        writer.trial(kept | {"updated_at": now()} | dict(changes))
        return writer
