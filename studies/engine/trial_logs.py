"""A trial's own log file and TensorBoard scalars, beside the store, for whoever watches or asks what went wrong."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sefar.errors import SefarError
from sefar.training.events import EventFile
from studies.engine.temporary import make_folder
from studies.results.storage import Location

log = logging.getLogger(__name__)

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OURS = ("sefar", "studies")  # whose INFO goes into the file; of other packages what passes their own levels
UPLOAD_SECONDS = 10.0  # least time between two uploads to an object store
RETRY_SECONDS = 300.0  # the same after one that failed: while storage is away, trying costs the trial its time


class TrialLogs:
    """Log file and TensorBoard scalars of one trial.

    While it is open, what the process logs goes into the file too, INFO included; other handlers show what they showed
    before. A resumed trial appends. In a local work folder the files are written in place; for an object store they
    grow in a temporary folder and are uploaded now and then and at the end. A log that cannot be written never ends
    a trial: one warning says so.

    Args:
        work: the folder beside the store.
        study: name of the study.
        trial_id: of the trial.
    """

    def __init__(self, work: Location, study: str, trial_id: str) -> None:
        name = f"{quote(study, safe='')}/{quote(trial_id, safe='')}"
        self._work, self._trial_id = work, trial_id
        self._log, self._scalars = f"logs/{name}.log", f"tensorboard/{name}"
        self._folder: Path | None = None  # that holds both while open
        self._handler: _FileHandler | None = None
        self._stderr: logging.Handler | None = None
        self._events: EventFile | None = None
        self._levels: list[tuple[logging.Logger | logging.Handler, int]] = []
        self._uploaded: dict[str, int] = {}  # bytes by name
        self._next_upload, self._warned = 0.0, False
        self._told: BaseException | None = None

    @property
    def path(self) -> str:
        """Where the log file lies: a path, or a URI without credentials and options."""
        if self._work.is_local:
            return f"{self._work.root}/{self._log}"
        scheme, _, rest = self._work.uri.partition("://")
        place = rest.partition("?")[0]
        host, slash, path = place.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}/{self._log}"

    def open(self) -> None:
        """Begin to write."""
        self.close()
        try:
            self._folder = Path(self._work.root) if self._work.is_local else Path(make_folder("log"))
            file = self._folder / self._log
            self._work.require_folder()
            file.parent.mkdir(parents=True, exist_ok=True)
            if not self._work.is_local and self._work.exists(self._log):
                file.write_bytes(self._work.read(self._log))
            self._handler = _FileHandler(file, self._complain)
        except (OSError, SefarError) as error:
            self._complain(error)
            return
        self._listen()
        self._say("trial %s on host %s, pid %d", self._trial_id, platform.node(), os.getpid())

    def epoch(self, report: Mapping[str, Any]) -> None:
        """Write an epoch's numbers to both."""
        numbers = {name: v for name, v in report.items() if isinstance(v, int | float) and v == v}
        epoch = int(report["epoch"])
        self._say("epoch %d: %s", epoch, ", ".join(f"{k} {v:.4g}" for k, v in numbers.items() if k != "epoch"))
        if self._folder is None:
            return
        try:
            if self._events is None:
                folder = self._folder / self._scalars
                self._work.require_folder()
                folder.mkdir(parents=True, exist_ok=True)
                self._events = EventFile(folder, epochs_done=epoch - 1)
            self._events.add_values(epoch, numbers)
            if time.monotonic() >= self._next_upload:
                self._upload()
        except (OSError, SefarError) as error:
            self._complain(error)

    def failed(self, error: BaseException) -> None:
        """Write where an error came from, once."""
        if error is self._told:
            return
        self._told = error
        self._say("%s", "".join(traceback.format_exception(error)).rstrip(), level=logging.ERROR)

    def close(self) -> None:
        """End the files; what an object store lacks of them is uploaded."""
        self._say("this process lets go of the trial")
        self._told = None  # it holds on to the frames that it came from, and so to the trainer
        for listener, level in reversed(self._levels):
            listener.setLevel(level)
        self._levels.clear()
        folder, handler, events = self._folder, self._handler, self._events
        self._folder = self._handler = self._events = None
        try:
            if handler is not None:
                for listening in (handler, self._stderr):
                    if listening is not None:
                        logging.getLogger().removeHandler(listening)
                handler.close()
            if events is not None:
                events.__exit__(None, None, None)
            if folder is not None and not self._work.is_local:
                self._folder = folder
                self._upload()
        except (OSError, SefarError) as error:
            self._complain(error)
        finally:
            self._folder = None
            if folder is not None and not self._work.is_local:
                shutil.rmtree(folder, ignore_errors=True)

    def _listen(self) -> None:
        """Let INFO of our packages through, to this trial's file alone."""
        assert self._handler is not None
        root = logging.getLogger()
        quiet = root.getEffectiveLevel()
        self._stderr = None if root.handlers else logging.lastResort  # which Python uses only while there is no other
        if self._stderr is not None:
            root.addHandler(self._stderr)
        listeners: list[tuple[logging.Logger | logging.Handler, int]] = [
            (handler, quiet) for handler in root.handlers if handler.level < quiet
        ]
        loggers = [logging.getLogger(name) for name in OURS]
        listeners += [(logger, logging.INFO) for logger in loggers if logger.getEffectiveLevel() > logging.INFO]
        for listener, level in listeners:
            self._levels.append((listener, listener.level))
            listener.setLevel(level)
        root.addHandler(self._handler)

    def _say(self, text: str, *values: object, level: int = logging.INFO) -> None:
        if self._handler is not None:
            self._handler.handle(logging.LogRecord("trial", level, __file__, 0, text, values, None))

    def _upload(self) -> None:
        """Bring what has grown since the last time to the object store."""
        if self._folder is None or self._work.is_local:
            return
        self._next_upload = time.monotonic() + RETRY_SECONDS
        for file in sorted(f for f in self._folder.rglob("*") if f.is_file()):
            name, size = file.relative_to(self._folder).as_posix(), file.stat().st_size
            if self._uploaded.get(name) != size:
                self._work.write(name, file.read_bytes())
                self._uploaded[name] = size
        self._next_upload = time.monotonic() + UPLOAD_SECONDS

    def _complain(self, error: BaseException) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s: the trial's log cannot be written (%s); the trial goes on without", self.path, error)


class _FileHandler(logging.FileHandler):
    """Appends to a file; tells `complain` instead of printing a traceback when that fails."""

    def __init__(self, file: Path, complain: Callable[[BaseException], None]) -> None:
        super().__init__(file, mode="a", encoding="utf-8")
        self._complain = complain
        self.setFormatter(logging.Formatter(FORMAT))
        self.setLevel(logging.INFO)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called while the error is being handled."""
        error = sys.exc_info()[1]
        if error is not None:
            self._complain(error)
