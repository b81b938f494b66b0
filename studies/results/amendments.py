"""Ends of trials that the driver has to record, kept in mind while the storage does not answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studies.results.outage import StorageOutage
from studies.results.spool import TRY_EVERY_SECONDS, deliver_leftovers, undelivered
from studies.results.storage import Location
from studies.results.store import MARKER, ResultStore

ONE_TRY_SECONDS = 2.0  # the driver has other trials to see to


@dataclass(frozen=True)
class Amendment:
    """The end of one trial; as in `Amendments.add`."""

    study: str
    scope: str
    trial_id: str
    changes: dict[str, Any]
    fresh: dict[str, Any]


class Amendments:
    """Amends rows of ``trials``, see `ResultStore.amend`; holds nothing that cannot be pickled.

    Args:
        store: URI of the store.
    """

    def __init__(self, store: str) -> None:
        self.store = store
        self._waiting: list[Amendment] = []
        self._written: list[Amendment] = []
        self._next_try = 0.0

    def add(self, study: str, scope: str, trial_id: str, changes: Mapping[str, Any], fresh: Mapping[str, Any]) -> None:
        """Record the end of a trial, now or when the storage answers.

        Args:
            study: of the trial.
            scope: of the trial.
            trial_id: the trial.
            changes: columns to set, the status among them.
            fresh: the row, should the trial never have written one.

        Raises:
            StoreError: the store refuses it.
        """
        self._waiting.append(Amendment(study, scope, trial_id, dict(changes), dict(fresh)))
        self.retry()

    def retry(self) -> None:
        """Try what waits, at most every few seconds; to be called often.

        Raises:
            StoreError: the store refuses it.
        """
        if self._waiting and time.monotonic() >= self._next_try:
            try:
                self._write_all(ONE_TRY_SECONDS)
            except StorageOutage:
                self._next_try = time.monotonic() + TRY_EVERY_SECONDS

    def written(self) -> list[Amendment]:
        """What has been recorded since the last call."""
        written, self._written = self._written, []
        return written

    def settle(self, patience_seconds: float) -> None:
        """Write all that waits, and deliver what trials have left on this machine; to be called when the sweep ends.

        Raises:
            StorageOutage: the storage did not answer in time.
            StoreError: the store refuses it.
        """
        try:
            if self._waiting:
                self._write_all(patience_seconds)
            home = Location(self.store, patience_seconds=patience_seconds, marker=MARKER)
            if left := deliver_leftovers(home, patience_seconds):
                raise StorageOutage(undelivered(home, f"{len(left)} files", patience_seconds))
        except StorageOutage as outage:
            if not self._waiting:
                raise
            lost = f"{len(self._waiting)} trials that have ended count as under way until the next run takes them up"
            raise StorageOutage(f"{outage}; {lost}", outage.reason) from outage

    def _write_all(self, patience_seconds: float) -> None:
        store = ResultStore(self.store, known=True, patience_seconds=patience_seconds)
        while self._waiting:
            one = self._waiting[0]
            store.amend(one.study, one.scope, one.trial_id, one.changes, one.fresh)
            self._written.append(self._waiting.pop(0))
