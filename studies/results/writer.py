"""Writes what one trial has to say: one file a table and attempt, replaced whole as it grows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from studies.results.schema import to_table
from studies.results.settle import stamped
from studies.results.spool import Spool
from studies.results.store_files import trial_path

if TYPE_CHECKING:
    from studies.results.store import ResultStore


class TrialWriter:
    """Writes the files of one attempt of one trial, and nobody else's.

    While the storage does not answer they are kept on this machine, see `studies.results.spool`.

    Args:
        store: that is written.
        study: of the trial.
        scope: of the trial.
        trial_id: the trial.
        attempt: of the trial.
        count: versions of the attempt's files that others have written before.

    Raises (all methods): StoreError when the store refuses to be written, or neither it nor the spool can be.
    """

    def __init__(self, store: ResultStore, study: str, scope: str, trial_id: str, attempt: int, count: int = 0) -> None:
        self.store, self.study, self.scope, self.trial_id, self.attempt = store, study, scope, trial_id, attempt
        self._epochs: list[dict[str, Any]] = []
        self._spool = Spool(store.location, f"trial {trial_id}")
        self._name, self._count = uuid.uuid4().hex, count
        self._written: set[str] = set()

    def path(self, table: str) -> str:
        """The attempt's file of a table, relative to the store."""
        return trial_path(table, self.study, self.scope, self.trial_id, self.attempt)

    def write(self, table: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> None:
        """Replace the attempt's rows of a table."""
        self._count += 1
        rows_table = to_table(table, rows, trial_id=self.trial_id, attempt=self.attempt)
        data, path = stamped(rows_table, self._name, self._count), self.path(table)
        self._written.add(path)
        self._spool.write(
            path,
            put=lambda patience: self.store.location.write(path, data, patience_seconds=patience),
            keep=lambda local: local.write_bytes(data),
        )

    def flush(self, patience_seconds: float) -> None:
        """Wait until all that was written has arrived in the store; to be called when the trial ends.

        Raises:
            StoreError: the storage did not answer in time; the message says where the files wait.
        """
        self._spool.flush(sorted(self._written), patience_seconds)

    @property
    def waits(self) -> bool:
        """Whether something that was written has not arrived in the store."""
        return self._spool.waits(self._written)

    def trial(self, row: Mapping[str, Any]) -> None:
        """Write the attempt's row of ``trials``."""
        self.write("trials", [row])

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Add a finished epoch; on return it is durable, in the store or on this machine."""
        self._epochs.append(dict(row))
        # a few hundred rows at most: writing the file anew costs milliseconds and keeps one file, not one an epoch
        self.write("epochs", self._epochs)
