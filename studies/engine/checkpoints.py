"""Checkpoints of trials under way: one file a trial, beside the store, gone when the trial has ended."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sefar.errors import CheckpointError, StoreError
from sefar.training.checkpoint import load_checkpoint, save_checkpoint
from studies.results.storage import Location, explained


class CheckpointFolder:
    """Checkpoints of a study's trials, wherever a store can lie."""

    def __init__(self, location: Location) -> None:
        self.location = location

    @staticmethod
    def _name(trial_id: str) -> str:
        return f"{quote(trial_id, safe='')}.pt"

    def save(self, trial_id: str, state: dict[str, Any]) -> None:
        """Replace the trial's checkpoint.

        Raises:
            StoreError: it cannot be written.
        """
        name = self._name(trial_id)
        try:
            if self.location.is_local:
                save_checkpoint(Path(self.location.root, name), state)
                return
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "checkpoint.pt")
                save_checkpoint(path, state)
                self.location.write(name, path.read_bytes())
        except CheckpointError as error:
            raise StoreError(str(error)) from error

    def load(self, trial_id: str) -> dict[str, Any] | None:
        """The trial's checkpoint; None when there is none.

        Raises:
            CheckpointError: it is damaged.
            StoreError: it cannot be read.
        """
        name = self._name(trial_id)
        if not self.location.exists(name):
            return None
        if self.location.is_local:
            return load_checkpoint(Path(self.location.root, name))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "checkpoint.pt")
            with explained(f"{self.location.uri}/{name}", "read"):
                path.write_bytes(self.location.read(name))
            return load_checkpoint(path)

    def remove(self, trial_id: str) -> None:
        """Delete the trial's checkpoint."""
        self.location.remove(self._name(trial_id))
