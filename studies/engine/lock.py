"""One run at a time for a study: a lock beside a local store, which the system lets go of when its holder dies.

Object stores, and network file systems without locks, get a lease instead.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sefar.errors import StoreError
from studies.engine.lease import held_lease
from studies.results.outage import explained
from studies.results.storage import Location

log = logging.getLogger(__name__)


@contextmanager
def study_lock(work: Location, study: str) -> Iterator[None]:
    """Hold the study's lock in the work folder.

    Raises:
        StoreError: another run holds it, or the work folder cannot be written.
    """
    if not work.is_local:
        with held_lease(work, study):
            yield
        return
    path = Path(work.root, f"{study}.lock")
    with explained(str(path), "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    with file:  # closing it lets go of the lock; the file stays, for deleting it would race with the next run
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.readline().strip() or "another process"
            raise StoreError(f"study '{study}' is being run by {holder}; wait for it or give another --name") from None
        except OSError as error:
            log.info("%s: cannot be locked (%s); a lease it is", path, error.strerror)
            with held_lease(work, study):
                yield
            return
        file.truncate(0)
        file.write(f"pid {os.getpid()} on host {platform.node()}\n")
        file.flush()
        yield
