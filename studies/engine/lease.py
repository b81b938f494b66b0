"""A lock for storage that has none: an object that its holder rewrites, and that counts for nothing once it is old.

Whoever wants the lease first puts an object of its own and then lists the others': of two that come at once, at least
one sees the other, for object stores list what has been written. All times are the storage's own, so that clocks of
machines need not agree.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sefar.errors import StoreError
from studies.results.outage import StorageOutage
from studies.results.storage import Location

log = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
RETRY_SECONDS = 5.0  # while the storage does not answer
DEAD_SECONDS = 120.0  # without a sign
GRACE_SECONDS = 10.0  # a holder that was cut off by an outage is back sooner
CLAIMS = 5  # tries, where several claim at once
LOST = signal.SIGUSR2  # SIGINT would not do: it is ignored in the background of a script, nohup or not


@dataclass(frozen=True)
class _Rival:
    name: str
    says: dict[str, Any]
    age_seconds: float

    @property
    def holder(self) -> str:
        return self.says.get("holder", "another process")


@contextmanager
def held_lease(location: Location, study: str) -> Iterator[None]:
    """Hold the study's lease in a folder.

    Raises:
        StoreError: another run holds it, the folder cannot be written, or another run has taken the lease over after
            this one gave no sign for long.
    """
    lease = _Lease(location, study)
    lease.claim()
    before = signal.signal(LOST, signal.default_int_handler) if lease.in_main_thread else None
    renewal = threading.Thread(target=lease.renew_until_released, daemon=True, name=f"lease of study {study}")
    renewal.start()
    try:
        yield
    except KeyboardInterrupt:
        if lease.lost:
            raise StoreError(lease.lost) from None
        raise
    finally:
        lease.release()
        renewal.join(timeout=1.0)
        if lease.in_main_thread:
            signal.signal(LOST, before or signal.SIG_DFL)


class _Lease:
    def __init__(self, location: Location, study: str) -> None:
        self.location, self.study = location, study
        self.folder = f"{study}.lease"
        self.name = f"{self.folder}/{uuid.uuid4().hex}.json"
        self.lost = ""
        self._released = threading.Event()
        self.in_main_thread = threading.current_thread() is threading.main_thread()

    def claim(self) -> None:
        for _ in range(CLAIMS):
            self._write(holds=False)
            try:
                rivals = self._living(self._rivals())
                if not rivals:
                    self._write(holds=True)
                    return
            except BaseException:
                self._withdraw()
                raise
            self._withdraw()
            rivals.sort(key=lambda rival: not rival.says.get("holds"))
            if rivals[0].says.get("holds"):
                break
            time.sleep(random.SystemRandom().uniform(0.2, 2.0))
        raise StoreError(_refusal(self.study, rivals[0]))

    def renew_until_released(self) -> None:
        pause = RENEW_SECONDS
        while not self._released.wait(pause):
            try:
                others = [rival for rival in self._rivals(patience_seconds=0.0) if rival.says.get("holds")]
                if others:
                    self._give_up(others[0])
                    return
                self._write(holds=True, patience_seconds=0.0)
                pause = RENEW_SECONDS
            except StorageOutage:
                pause = RETRY_SECONDS
            except StoreError as error:
                log.warning("the lease of study '%s' cannot be renewed: %s", self.study, error)
                pause = RENEW_SECONDS

    def release(self) -> None:
        self._released.set()
        self._withdraw()

    def _give_up(self, rival: _Rival) -> None:
        self.lost = (
            f"study '{self.study}' has been taken over by {rival.holder}, for this run had given no sign for over "
            f"{DEAD_SECONDS:.0f} s; finished epochs are kept"
        )
        log.error(self.lost)
        if self.in_main_thread and not self._released.is_set():
            # two runs would train the same trials; the signal ends whatever the main thread waits for
            signal.pthread_kill(threading.main_thread().ident or 0, LOST)

    def _rivals(self, patience_seconds: float | None = None) -> list[_Rival]:
        written = self.location.modified(self.folder, patience_seconds=patience_seconds)
        now = written.pop(self.name, max(written.values(), default=0.0))
        rivals = []
        for name, at in written.items():
            if name.rpartition("/")[2].startswith("."):
                continue  # a temporary file
            try:
                says = json.loads(self.location.read(name, patience_seconds=patience_seconds))
            except FileNotFoundError:
                continue
            except ValueError:
                says = {}
            rivals.append(_Rival(name, says, now - at))
        return rivals

    def _living(self, rivals: list[_Rival]) -> list[_Rival]:
        """Those that are not known to be dead; what the dead have left is removed."""
        old = [rival for rival in rivals if rival.age_seconds > DEAD_SECONDS and not _is_dead(rival.says)]
        if old:  # cut off from the storage, or dead: the living give a sign now
            before = self.location.modified(self.folder)
            time.sleep(GRACE_SECONDS)
            after = self.location.modified(self.folder)
            old = [rival for rival in old if before.get(rival.name) == after.get(rival.name)]
        dead = [rival for rival in rivals if rival in old or _is_dead(rival.says)]
        for rival in dead:
            self.location.remove(rival.name)
        return [rival for rival in rivals if rival not in dead]

    def _write(self, *, holds: bool, patience_seconds: float | None = None) -> None:
        says = {"holder": f"pid {os.getpid()} on host {platform.node()}", "holds": holds, "process": _this_process()}
        self.location.write(self.name, json.dumps(says).encode(), patience_seconds=patience_seconds)

    def _withdraw(self) -> None:
        try:
            self.location.remove(self.name)
        except StoreError as error:
            log.warning("%s; the lease of study '%s' ends by itself in %.0f s", error, self.study, DEAD_SECONDS)


def _refusal(study: str, rival: _Rival) -> str:
    text = f"study '{study}' is being run by {rival.holder}; wait for it or give another --name"
    if rival.age_seconds > 1.5 * RENEW_SECONDS:
        left = max(1.0, DEAD_SECONDS - rival.age_seconds)
        text += f" (it has given no sign for {rival.age_seconds:.0f} s; if it was killed, run again in {left:.0f} s)"
    return text


def _this_process() -> dict[str, Any]:
    """What tells this process from all others of all machines, where the system says so."""
    try:
        return {
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "namespace": os.readlink("/proc/self/ns/pid"),  # containers number their processes apart
        }
    except OSError:
        return {}


def _started(pid: int) -> str:
    """Ticks from the machine's start to the process's: field 22; the name before it may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _is_dead(says: dict[str, Any]) -> bool:
    """Whether the process ran on this machine and has gone; of other machines nothing is known."""
    theirs, ours = says.get("process") or {}, _this_process()
    if not theirs or not ours or any(theirs.get(key) != ours[key] for key in ("boot", "namespace")):
        return False
    try:
        return _started(theirs["pid"]) != theirs["started"]
    except FileNotFoundError:
        return True
    except (OSError, KeyError):
        return False
