"""A store's post on this machine: what could not be written during an outage waits here until it can.

    $SEFAR_SPOOL/<name of the store>/store<suffix>/<file>

``$SEFAR_SPOOL`` defaults to ``sefar/spool`` in the user's cache folder. A file waits under the path it will have,
always in its newest version, so the spool holds at most a checkpoint and four tables for each trial that ran here
during the outage. Any process of the machine may deliver any file; a lock beside each keeps an older version from
overtaking a newer one on the way.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from sefar.errors import StoreError
from studies.results.compacted import stored_version
from studies.results.outage import StorageOutage, explained
from studies.results.settle import settle
from studies.results.storage import Location

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "SEFAR_SPOOL"
WRITE_PATIENCE_SECONDS = 5.0  # of the first write that fails, before it goes to the spool
TRY_EVERY_SECONDS = 5.0
TRIES_SHARE = 0.2  # of the time at most is spent on knocking, where every try hangs until it is given up
STORE = "store"  # stands for the path of the store itself below its spool folder

_kept: dict[str, list[Path]] = {}  # by store, what this process has spooled, oldest first
_next_try: dict[str, float] = {}  # by store, when to knock again; absent while all is well


def spool_folder(home: Location) -> Path:
    """Where a store's files wait on this machine."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sefar", "spool")
    root = Path(os.environ.get(FOLDER_VARIABLE) or default).expanduser()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", home.where())[-40:].strip("-")
    return root / f"{readable}-{hashlib.sha256(home.where().encode()).hexdigest()[:8]}"


class Spool:
    """Writes files of a location, or keeps them while it does not answer.

    Args:
        location: of a store, or a sibling of it.
        owner: whose files they are, for messages.
    """

    def __init__(self, location: Location, owner: str) -> None:
        self.location, self.home, self.owner = location, location.home, owner
        self.folder = spool_folder(self.home)
        self._key = self.home.uri

    def path(self, name: str) -> Path:
        """Where a file of the location waits if it must."""
        return self.folder / (STORE + self.location.root.removeprefix(self.home.root.rstrip("/"))) / name

    def write(self, name: str, put: Callable[[float], None], keep: Callable[[Path], object]) -> bool:
        """Store a file now or later.

        What waited before is delivered first: an epoch's rows must be there before the checkpoint that follows them.

        Args:
            name: relative to the location.
            put: writes the file to the location, with the patience in seconds it is given.
            keep: writes the file to a local path.

        Returns:
            whether it has arrived.

        Raises:
            StoreError: it can neither be written nor kept.
        """
        path = self.path(name)
        if self._is_time():
            patience, started = 0.0 if self._key in _next_try else WRITE_PATIENCE_SECONDS, time.monotonic()
            try:
                self._deliver_kept(before=path)
                with _locked(path) if path.exists() else nullcontext():
                    require_folder(self.home)
                    put(patience)
                    path.unlink(missing_ok=True)
                self._forget(path)
                self._all_is_well()
                return True
            except StorageOutage as outage:
                self._note(outage, time.monotonic() - started - patience)
        self._keep(path, keep)
        return False

    def remove(self, name: str) -> None:
        """Delete a file that waits, and the one in the location if that answers."""
        path = self.path(name)
        if path.exists():
            with _locked(path):
                path.unlink(missing_ok=True)
        self._forget(path)
        try:
            self.location.remove(name, patience_seconds=0.0 if self._key in _next_try else WRITE_PATIENCE_SECONDS)
        except StorageOutage as outage:
            log.warning("%s; the file stays there", outage)

    def flush(self, names: Iterable[str], patience_seconds: float) -> None:
        """Wait until the files have arrived.

        Raises:
            StoreError: the storage did not answer in time, or refuses them.
        """
        paths, end = [self.path(name) for name in names], time.monotonic() + patience_seconds
        while waiting := [path for path in paths if path.exists()]:
            left = end - time.monotonic()
            if self._is_time() or left <= 0:
                started = time.monotonic()
                try:
                    self._deliver_kept()
                    for path in waiting:
                        deliver(self.home, path)
                    self._all_is_well()
                    return
                except StorageOutage as outage:
                    self._note(outage, time.monotonic() - started)
                    if left <= 0:
                        what = f"{len(waiting)} files of {self.owner}"
                        raise StoreError(undelivered(self.home, what, patience_seconds, outage.reason)) from outage
            time.sleep(max(0.0, min(left, _next_try.get(self._key, 0.0) - time.monotonic())))

    def waits(self, names: Iterable[str]) -> bool:
        """Whether one of the files has not arrived."""
        return any(self.path(name).exists() for name in names)

    def _is_time(self) -> bool:
        return time.monotonic() >= _next_try.get(self._key, 0.0)

    def _deliver_kept(self, before: Path | None = None) -> None:
        """Deliver what this process has kept, apart from older versions of the file that is about to be written."""
        own = _kept.get(self._key, [])
        for path in [path for path in own if path != before]:
            deliver(self.home, path)
            own.remove(path)

    def _forget(self, path: Path) -> None:
        if path in (own := _kept.get(self._key, [])):
            own.remove(path)

    def _all_is_well(self) -> None:
        if _next_try.pop(self._key, None) is not None:
            log.warning("%s answers again; what waited has been delivered", self.home.where())

    def _note(self, outage: StorageOutage, took_seconds: float) -> None:
        if self._key not in _next_try:
            said = "%s: %s does not answer (%s); results wait in %s until it does"
            log.warning(said, self.owner, self.home.where(), outage.reason, self.folder)
        _next_try[self._key] = time.monotonic() + max(TRY_EVERY_SECONDS, took_seconds * (1 / TRIES_SHARE - 1))

    def _keep(self, path: Path, keep: Callable[[Path], object]) -> None:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            keep(temporary)
            with temporary.open("rb") as kept:
                os.fsync(kept.fileno())
            with _locked(path):
                os.replace(temporary, path)
        except OSError as error:
            raise StoreError(
                f"{self.home.where()} does not answer, and {self.folder} cannot be written either ({error.strerror}); "
                f"make room there, or set {FOLDER_VARIABLE} to another folder"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        own = _kept.setdefault(self._key, [])
        if path not in own:
            own.append(path)


def require_folder(home: Location) -> None:
    """Make sure that a local store is still there.

    Raises:
        StorageOutage: it is not.
    """
    with explained(home.where(), "written"):
        home.require_folder()


def undelivered(home: Location, what: str, patience_seconds: float, reason: str = "") -> str:
    """One line that says where files wait and what brings them to the store."""
    because = f" ({reason})" if reason else ""
    return (
        f"{home.where()}: has not answered for {patience_seconds:.0f} s{because}; {what} wait in {spool_folder(home)} "
        f"on host {platform.node()}: once it answers, run the same command again on this machine, which delivers them"
    )


def waiting_files(home: Location) -> list[Path]:
    """What waits for a store on this machine, oldest first."""
    found = {}
    for path in spool_folder(home).rglob("*"):
        with suppress(FileNotFoundError):  # delivered in this moment
            if path.is_file() and not path.name.startswith("."):
                found[path] = path.stat().st_mtime_ns
    return sorted(found, key=lambda path: found[path])


def waiting_names(home: Location) -> list[str]:
    """Paths within the store itself of what waits for it."""
    folder = spool_folder(home) / STORE
    return [path.relative_to(folder).as_posix() for path in waiting_files(home) if path.is_relative_to(folder)]


def deliver_leftovers(home: Location, patience_seconds: float = 0.0) -> list[Path]:
    """Deliver what waits for a store on this machine, whoever has left it; returns what still waits.

    Raises:
        StoreError: the storage refuses a file.
    """
    left = waiting_files(home)
    for number, path in enumerate(left):
        try:
            deliver(home, path, patience_seconds)
        except StorageOutage:
            return left[number:]
    if left:
        log.warning("%s: %d files that waited in %s were delivered", home.where(), len(left), spool_folder(home))
        _remove_empty(spool_folder(home))
    return []


def deliver(home: Location, path: Path, patience_seconds: float = 0.0) -> None:
    """Bring a spooled file to its place, unless it has gone or what lies there holds.

    Raises:
        StorageOutage: the storage does not answer.
        StoreError: it refuses the file.
    """
    if not path.exists():
        return
    place, _, name = path.relative_to(spool_folder(home)).as_posix().rpartition("/")
    location = home.sibling(place.removeprefix(STORE))
    with _locked(path):
        try:
            kept_at = path.stat().st_mtime
        except FileNotFoundError:
            return  # another process was faster
        require_folder(home)
        content: bytes | Path | None = path
        if name.endswith(".parquet"):
            inner = f"{place.removeprefix(STORE).lstrip('/')}/{name}"
            if (stored := stored_version(home, inner, patience_seconds)) is not None:
                content = settle(inner.split("/")[0], path.read_bytes(), stored)
        elif (location.written_at(name, patience_seconds=patience_seconds) or 0.0) > kept_at:
            content = None
        if content is not None:
            location.write(name, content, patience_seconds=patience_seconds)
        path.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a spooled file, which lies beside it as long as the file waits."""
    lock = path.with_name(f".{path.name}.lock")
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the folder or the lock was cleared away in this moment
            file = lock.open("a")
            with suppress(OSError):  # a home folder on a network without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_ino == lock.stat().st_ino:
                break
            file.close()
    try:
        yield
    finally:
        if not path.exists():
            lock.unlink(missing_ok=True)
        file.close()


def _remove_empty(folder: Path) -> None:
    for inner in [*sorted(folder.rglob("*"), reverse=True), folder]:
        if inner.is_dir():
            with suppress(OSError):  # not empty: somebody keeps a file there again
                inner.rmdir()
