"""Renders with several processes.

Plain child interpreters instead of `multiprocessing`: they never import the caller's main module, so a script without
a main guard, a notebook, a test and a Ray worker can all call `prepare`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO

import sefar
from sefar.data.synthgym.table import SynthGymConfig
from sefar.errors import DataError


class _Child:
    """A rendering process and what it was given to do."""

    def __init__(self, job: Mapping[str, object]) -> None:
        source = str(Path(sefar.__file__).parents[1])
        search = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        # A file, not a pipe: a pipe that nobody empties would block a talkative child.
        self.complaints: IO[str] = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sefar.data.synthgym.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            env={**os.environ, "PYTHONPATH": search},
        )
        assert self.process.stdin is not None
        # A child that dies at once closes its end; its exit status and complaints tell why.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(job))
            self.process.stdin.close()

    def next_line(self) -> str:
        """The next clip finished, or an empty string when there will be no more."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def check(self) -> None:
        """Raises `DataError` with the child's last words unless it ended well."""
        status = self.process.wait()
        if status != 0:
            self.complaints.seek(0)
            words = self.complaints.read().strip().splitlines() or ["no message"]
            cause = words[-1].removeprefix("DataError: ")
            raise DataError(cause if cause != words[-1] else f"a rendering process ended with status {status}: {cause}")

    def stop(self) -> None:
        """Ends the process if it still runs and frees its files."""
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.complaints.close()


def in_processes(
    folder: Path, config: SynthGymConfig, items: list[tuple[str, str]], workers: int
) -> Generator[None, None, None]:
    """Renders clips with several processes; yields once a finished clip.

    Args:
        folder: The data set's folder.
        config: What to generate.
        items: Clip ids and paths; dealt out in turn, so that equal shares have equal work.
        workers: Number of processes.

    Raises:
        DataError: A process failed; the others are stopped, finished clips are kept.
    """
    children: list[_Child] = []
    try:
        for shard in range(min(workers, len(items))):
            job = {"folder": str(folder.absolute()), "config": asdict(config), "clips": items[shard::workers]}
            children.append(_Child(job))
        running = list(children)
        while running:
            # Shares are equal, so reading the children in turn keeps the count close to the truth.
            for child in list(running):
                if child.next_line():
                    yield
                else:
                    running.remove(child)
                    child.check()
    finally:
        for child in children:
            child.stop()
