"""The file behind the Optuna studies of a sweep, in the form of Optuna's journal storage: `optuna-dashboard` opens it.

The file is a copy. What the search reads are the lines kept here in memory, which are rebuilt from the result store at
each start, so a journal that is damaged, deleted, locked by someone or not writable never matters to the search. No
lock is taken, hence none is left behind by a kill; a file in which somebody else has written is written anew.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sefar.errors import StoreError
from studies.results.storage import Location

log = logging.getLogger(__name__)

FOLDER = "_optuna"


class _Upload(threading.Thread):
    """Writes the file once, after the upload before it; so one is under way and one waits, however many are wanted."""

    def __init__(self, journal: Journal, earlier: _Upload | None) -> None:
        super().__init__(name="journal")
        self.journal, self.earlier, self.begun = journal, earlier, False

    def run(self) -> None:
        if self.earlier is not None:
            self.earlier.join()
            self.earlier = None
        self.begun = True
        self.journal.publish()


class Journal:
    """Records of Optuna's journal storage, in memory and in a file.

    Pickles, as Tune's searchers must: it holds no open file and no lock.

    Args:
        location: folder of the file, for instance a result store.
        name: of the file in it.
    """

    def __init__(self, location: Location, name: str) -> None:
        self._location, self._marker, self._name = location, location.marker, name
        self._lines: list[bytes] = []
        self._bytes_written: int | None = None  # size of the file as far as known; None: it is to be written anew
        self._complained = False
        self._upload: _Upload | None = None

    @classmethod
    def of_store(cls, location: Location, study: str) -> Journal:
        """The journal of a study in a result store."""
        return cls(location, f"{FOLDER}/{study}.journal")

    @classmethod
    def of_path(cls, path: Path) -> Journal:
        """A local file."""
        return cls(Location(path.parent), path.name)

    def __getstate__(self) -> dict[str, Any]:
        # the location by its URI: a file system would take its credentials along into Tune's files
        return self.__dict__ | {"_location": self._location.uri, "_upload": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_location": Location(state["_location"], marker=state["_marker"])})

    @property
    def path(self) -> str:
        """Where the file lies, for messages."""
        return f"{self._location.uri}/{self._name}"

    def records(self, first: int = 0) -> Iterator[dict[str, Any]]:
        """The records from number `first` on."""
        for line in self._lines[first:]:
            yield json.loads(line)

    def earlier(self) -> Journal:
        """What an earlier run has left in the file, up to the first damaged line; nothing when it cannot be read."""
        found = Journal(self._location, self._name)
        try:
            for line in self._location.read(self._name).splitlines():
                json.loads(line)
                found._lines.append(line)
        except (OSError, ValueError, StoreError):
            pass
        return found

    def append(self, records: list[dict[str, Any]]) -> None:
        """Add records; once the file is there, also to a local file."""
        lines = [json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records]
        self._lines += lines
        if self._bytes_written is not None and self._location.is_local:
            self._guarded(lambda: self._append(b"".join(lines)))

    def _append(self, data: bytes) -> None:
        path = Path(self._location.root, self._name)
        if not path.exists() or path.stat().st_size != self._bytes_written:
            self._write()
            return
        with path.open("ab") as file:
            file.write(data)  # not synced to the disk: what a crash loses here, the next start has from the store
        self._bytes_written += len(data)

    def publish(self) -> None:
        """Write the file anew, at once; from then on `append` goes to the file too."""
        self._guarded(self._write)

    def _write(self) -> None:
        self._location.require_folder()  # without waiting: the search does not need the file
        data = b"".join(self._lines)
        self._location.write(self._name, data)
        self._bytes_written = len(data)

    def trial_ended(self) -> None:
        """Bring a file in an object store up to date, without waiting; take up again a file that could not be written.

        The interpreter waits for uploads under way when it exits.
        """
        if self._location.is_local:
            if self._bytes_written is None:
                self.publish()
        elif self._upload is None or self._upload.begun:
            self._upload = _Upload(self, self._upload)
            self._upload.start()

    def _guarded(self, write: Any) -> None:
        try:
            write()
        except (OSError, StoreError) as error:
            self._bytes_written = None
            if not self._complained:
                reason = str(error).removeprefix(f"{self.path}: ")
                log.warning("%s: optuna-dashboard does not see this run (%s); the sweep goes on", self.path, reason)
            self._complained = True
