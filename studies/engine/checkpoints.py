"""Checkpoints of trials under way: one file a trial, beside the store, gone when the trial has ended."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sefar.errors import CheckpointError, StoreError
from sefar.training.checkpoint import load_checkpoint, save_checkpoint
from studies.results.outage import StorageOutage, is_passing, persist
from studies.results.schema import FINISHED, PRUNED
from studies.results.spool import Spool, deliver
from studies.results.storage import Location
from studies.results.store import ResultStore

log = logging.getLogger(__name__)

SAVE_SHARE = 0.01  # of a trial's time at most goes into checkpoints on an object store,
LONGEST_GAP_SECONDS = 30.0  # unless more than this would have to be trained again


class CheckpointFolder:
    """Checkpoints of a study's trials, wherever a store can lie; kept on this machine while that does not answer."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._spool = Spool(location, f"study {location.root.rpartition('/')[2]}")
        self._next_save: dict[str, float] = {}  # by trial

    @staticmethod
    def _name(trial_id: str) -> str:
        return f"{quote(trial_id, safe='')}.pt"

    def save(self, trial_id: str, state: dict[str, Any]) -> None:
        """Replace the trial's checkpoint; on an object store, not each time where epochs are short.

        A trial that is taken up from an older one trains a few epochs again, with equal results.

        Raises:
            StoreError: it cannot be written.
        """
        name, started = self._name(trial_id), time.monotonic()
        if not self.location.is_local and started < self._next_save.get(trial_id, 0.0):
            return

        def put(patience_seconds: float) -> None:
            if self.location.is_local:
                path = Path(self.location.root, name)
                persist(
                    lambda: self._save_in_place(path, state), self.location.where(name), "written", patience_seconds
                )
                return
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "checkpoint.pt")
                _save(path, state)
                self.location.write(name, path, patience_seconds=patience_seconds)

        try:
            self._spool.write(name, put, keep=lambda local: _save(local, state))
        except CheckpointError as error:
            raise StoreError(str(error)) from error
        took = time.monotonic() - started
        self._next_save[trial_id] = started + min(took / SAVE_SHARE, LONGEST_GAP_SECONDS)

    def _save_in_place(self, path: Path, state: dict[str, Any]) -> None:
        self.location.require_folder()
        _save(path, state)

    def load(self, trial_id: str) -> dict[str, Any] | None:
        """The trial's checkpoint; None when there is none. One that waits on this machine is delivered first.

        Raises:
            CheckpointError: it is damaged.
            StoreError: it cannot be read.
        """
        name, patience = self._name(trial_id), self.location.patience_seconds
        deliver(self.location.home, self._spool.path(name), patience)
        if not self.location.exists(name):
            return None
        if self.location.is_local:
            return persist(lambda: _load(Path(self.location.root, name)), self.location.where(name), "read", patience)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "checkpoint.pt")
            path.write_bytes(self.location.read(name))
            return load_checkpoint(path)

    def remove(self, trial_id: str) -> None:
        """Delete the trial's checkpoint."""
        self._spool.remove(self._name(trial_id))

    def flush(self, trial_id: str, patience_seconds: float) -> None:
        """Wait until the trial's checkpoint has arrived, if it waits on this machine.

        Raises:
            StoreError: the storage did not answer in time; the message says where it waits.
        """
        self._spool.flush([self._name(trial_id)], patience_seconds)

    def waits(self, trial_id: str) -> bool:
        """Whether the trial's checkpoint waits on this machine."""
        return self._spool.waits([self._name(trial_id)])

    def remove_ended(self, store: ResultStore, study: str) -> None:
        """Delete what outages have left of trials that the store says are finished or pruned; best effort."""
        try:
            if there := set(self.location.files()):
                rows = store.trials(study=study, columns=["status"])
                for trial_id in rows.trial_id[rows.status.isin([FINISHED, PRUNED])]:
                    if self._name(trial_id) in there:
                        self.remove(trial_id)
        except StorageOutage as outage:
            log.warning("%s; checkpoints of ended trials stay there until the next run", outage)


def _save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; what the file system says against it is raised as it is, for others to judge."""
    try:
        save_checkpoint(path, state)
    except CheckpointError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def _load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; a file system that fails for the moment does not make it a damaged one."""
    try:
        return load_checkpoint(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, OSError) and is_passing(error.__cause__):
            raise error.__cause__ from None
        raise
