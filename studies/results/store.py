"""The result store: Hive-partitioned Parquet that many trials write at once and that is readable at any moment.

    <store>/_sefar_store.json                                       marker with the schema version
    <store>/<table>/study=<study>/scope=<scope>/<trial_id>-a<attempt>.parquet

Each trial writes only its own files, one a table and attempt, replaced whole as they grow; so a reader never meets half
a row, and writers never wait for one another. Study and scope stand in the path alone: kept in the file as well,
Arrow's own partition discovery would refuse the table for the difference in type.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sefar.errors import StoreError
from studies.results.outage import PATIENCE_SECONDS, StorageOutage
from studies.results.schema import RUNNING, SCHEMA_VERSION, TABLES, now
from studies.results.spool import deliver_leftovers, undelivered, waiting_names
from studies.results.storage import Location
from studies.results.writer import TrialWriter, part_name

log = logging.getLogger(__name__)

MARKER = "_sefar_store.json"
FORMAT = "sefar-results"
BIRTH_SECONDS = 2.0  # that another run may take between making the folder and naming it a store
FILE = re.compile(
    r"^(?P<table>[a-z]+)/study=(?P<study>[^/]+)/scope=(?P<scope>[^/]+)/(?P<trial>[^/]+)-a(?P<attempt>\d+)\.parquet$"
)


@dataclass(frozen=True)
class StoreFile:
    """A data file by what its path says."""

    path: str
    table: str
    study: str
    scope: str
    trial_id: str
    attempt: int

    @classmethod
    def parse(cls, path: str) -> StoreFile | None:
        """Read the path; None when it is none of ours."""
        match = FILE.match(path)
        if match is None or match["table"] not in TABLES:
            return None
        study, scope = unquote(match["study"]), unquote(match["scope"])
        return cls(path, match["table"], study, scope, unquote(match["trial"]), int(match["attempt"]))


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
            marker = {"format": FORMAT, "schema_version": SCHEMA_VERSION}
            self.location.write(MARKER, (json.dumps(marker) + "\n").encode())
        elif create:
            # writing the marker anew proves that the store can be written before anything starts
            self.location.write(MARKER, self.location.read(MARKER))
        self.location.marker = MARKER
        self.schema_version = self._read_version()
        if create:
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

    def files(
        self, table: str, study: str | None = None, scope: str | None = None, trial_id: str | None = None
    ) -> list[StoreFile]:
        """Data files of a table; foreign files are noted as problems. Only the partitions asked for are listed."""
        folder = table
        if study is not None:
            folder += f"/study={part_name(study)}" + (f"/scope={part_name(scope)}" if scope is not None else "")
        found = []
        for path in self.location.files(folder):
            if path.rpartition("/")[2].startswith((".", "_")):
                continue  # a temporary file of a writer at work or killed
            file = StoreFile.parse(path)
            if file is None:
                self._note(path, "not a file of this store; skipped")
            elif (scope is None or file.scope == scope) and (trial_id is None or file.trial_id == trial_id):
                found.append(file)
        return found

    def read(
        self,
        table: str,
        *,
        study: str | None = None,
        scope: str | None = None,
        trial_id: str | None = None,
        columns: Sequence[str] | None = None,
        all_attempts: bool = False,
    ) -> pd.DataFrame:
        """A table as pandas, the last attempt of each key only, unless `all_attempts`.

        Args:
            table: ``trials``, ``epochs``, ``predictions`` or ``regulation``.
            study: only this study.
            scope: only this label scope.
            trial_id: only this trial.
            columns: only these (and the key); columns that no file has are left out.
            all_attempts: keep the rows of attempts that a later one replaced.
        """
        spec = TABLES[table]
        files = self.files(table, study, scope, trial_id)
        if spec.whole_attempts and not all_attempts:
            files = _last_attempts(files)
        wanted = None if columns is None else set(columns) | set(spec.key) | {"attempt"}
        with ThreadPoolExecutor(max_workers=8) as pool:
            tables = [t for t in pool.map(lambda f: self._read_file(f, wanted), files) if t is not None]
        if not tables:
            empty = spec.schema.empty_table().to_pandas()
            frame = empty.assign(study=pd.Series(dtype=str), scope=pd.Series(dtype=str))
        else:
            # files of older versions lack columns: these are null
            known = spec.schema if wanted is None else pa.schema([f for f in spec.schema if f.name in wanted])
            frame = pa.concat_tables([*tables, known.empty_table()], promote_options="permissive").to_pandas()
        if not all_attempts:
            frame = frame.sort_values("attempt", kind="stable").drop_duplicates(
                ["study", "scope", *spec.key], keep="last"
            )
        frame = frame.sort_values(["study", "scope", *spec.key], kind="stable").reset_index(drop=True)
        if wanted is not None:
            frame = frame[[c for c in frame.columns if c in wanted | {"study", "scope"}]]
        return frame

    def trials(self, **where: Any) -> pd.DataFrame:
        """One row a trial; see `read`."""
        return self.read("trials", **where)

    def epochs(self, **where: Any) -> pd.DataFrame:
        """One row a trial and epoch; see `read`."""
        return self.read("epochs", **where)

    def predictions(self, **where: Any) -> pd.DataFrame:
        """One row a trial, part and clip; see `read`."""
        return self.read("predictions", **where)

    def regulation(self, **where: Any) -> pd.DataFrame:
        """Binned confidence and spread of each trial; see `read`."""
        return self.read("regulation", **where)

    def problems(self) -> list[str]:
        """What reading has met so far that is torn or foreign, one line a file."""
        return [f"{self.uri}/{path}: {text}" for path, text in sorted(self._problems.items())]

    def _note(self, path: str, text: str) -> None:
        if path not in self._problems:
            log.warning("%s/%s: %s", self.uri, path, text)
        self._problems[path] = text

    def _read_file(self, file: StoreFile, columns: set[str] | None) -> pa.Table | None:
        try:
            # whole: files are small, and what fails from here on is the file, not the way to it
            parquet = pq.ParquetFile(pa.BufferReader(self.location.read(file.path)))
            names = None if columns is None else [n for n in parquet.schema_arrow.names if n in columns]
            table = parquet.read(columns=names)
        except FileNotFoundError:
            return None  # replaced or compacted between listing and reading
        except (OSError, pa.ArrowException) as error:
            self._note(file.path, f"torn or not Parquet ({str(error).splitlines()[0][:80]}); skipped")
            return None
        if not set(TABLES[file.table].key) <= set(table.column_names):
            self._note(file.path, "lacks the key columns of this store; skipped")
            return None
        for name, value in (("scope", file.scope), ("study", file.study)):
            if name in table.column_names:
                table = table.drop_columns(name)
            table = table.add_column(0, name, pa.array([value] * len(table), pa.string()))
        return table

    def writer(self, study: str, scope: str, trial_id: str) -> TrialWriter:
        """A writer for the next attempt of a trial; what waits on this machine is delivered first."""
        deliver_leftovers(self.location)
        seen = [f.attempt for t in ("trials", "epochs") for f in self.files(t, study, scope, trial_id)]
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
        writer = TrialWriter(self, study, scope, trial_id, attempt)
        writer.trial(kept | {"updated_at": now()} | dict(changes))
        return writer


def _last_attempts(files: list[StoreFile]) -> list[StoreFile]:
    last: dict[tuple[str, str, str], StoreFile] = {}
    for file in files:
        key = (file.study, file.scope, file.trial_id)
        if key not in last or file.attempt > last[key].attempt:
            last[key] = file
    return list(last.values())
