"""Stores for tests: rows in a few words, and a disk on which a process may be killed before any step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studies.results import storage
from studies.results.store import ResultStore
from studies.results.writer import TrialWriter

SCOPE, OTHER = "synthgym/core@1pc#0", "synthgym/event:FX@3pc#1"


def epoch(number: int, value: float = 50.0, **more: Any) -> dict:
    return {"epoch": number, "step": 10 * number, "dev_student_top1": value, "total_loss": 1.5} | more


def attempt(
    store: ResultStore,
    trial_id: str,
    values: dict[int, float],
    status: str = "finished",
    *,
    study: str = "s",
    scope: str = SCOPE,
    clips: int = 0,
    **more: Any,
) -> TrialWriter:
    """An attempt of a trial with the metric by epoch, and predictions of so many clips."""
    writer = store.writer(study, scope, trial_id)
    row = {"number": int(trial_id[-1]), "stage": "search", "role": "search", "parameters": "{}", "epochs_planned": 4}
    writer.trial(row | {"status": "running", "epochs_done": 0} | more)
    for number, value in values.items():
        writer.epoch(epoch(number, value))
    if clips:
        rows = [
            {"part": "test", "clip_id": f"c{i}", "label": i, "student_top5": [i, writer.attempt]} for i in range(clips)
        ]
        writer.write("predictions", rows)
        row |= {"test_student_top1": 50.0}
    if status != "running":
        last = {"epochs_done": max(values, default=0), "dev_student_top1": values[max(values)] if values else None}
        writer.trial(row | {"status": status} | last | more)
    return writer


def learned(store: ResultStore) -> dict[str, dict[int, float]]:
    """The metric by trial and epoch, as readers see it."""
    rows = store.epochs(columns=["dev_student_top1"])
    assert not rows.duplicated(["study", "scope", "trial_id", "epoch"]).any()
    found: dict[str, dict[int, float]] = {}
    for trial_id, number, value in zip(rows.trial_id, rows.epoch, rows.dev_student_top1, strict=True):
        found.setdefault(trial_id, {})[int(number)] = float(value)
    return found


def data_files(store: ResultStore) -> list[str]:
    """Names of the files that readers see."""
    paths = Path(store.uri).rglob("*.parquet")
    return sorted(path.relative_to(store.uri).as_posix() for path in paths if not path.name.startswith("."))


class Killed(BaseException):
    """The process ends here: nothing of it runs any more, not even what cleans up."""


class Disk:
    """Counts the steps at which something on the disk changes; may kill the process before one, or do other things."""

    def __init__(self) -> None:
        self.steps, self.kill_at, self.dead = 0, 0, False
        self.before: Callable[[int], None] | None = None
        self._busy = False

    def start(self, kill_at: int = 0, before: Callable[[int], None] | None = None) -> None:
        self.steps, self.kill_at, self.dead, self.before = 0, kill_at, False, before

    def stepped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **more: Any) -> Any:
            if self.dead:
                raise Killed
            if self._busy:  # what `before` does is no step of ours
                return call(*args, **more)
            self.steps += 1
            if self.steps == self.kill_at:
                self.dead = True
                raise Killed
            if self.before is not None:
                self._busy = True
                try:
                    self.before(self.steps)
                finally:
                    self._busy = False
            return call(*args, **more)

        return step


@contextmanager
def breakable_disk() -> Iterator[Disk]:
    """A disk for the stores of this process."""
    disk = Disk()

    class Os:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    stepping = Os()
    for name in ("replace", "rename", "link", "unlink"):
        setattr(stepping, name, disk.stepped(getattr(os, name)))
    stepping.fsync = disk.stepped(lambda _: None)  # type: ignore[attr-defined] # the disk itself is not under test
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "os", stepping)
        patch.setattr(Path, "unlink", disk.stepped(Path.unlink))
        yield disk
