"""Processes that are killed for good, at any moment, while others read and compact."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from studies.results.compaction import compact
from studies.results.store import ResultStore
from studies.results.verify import verify
from tests.studies.stores import SCOPE, epoch

KILLS, WRITERS = 50, 4  # kills with and without compaction, 100 in all


def _write(uri: str, name: str, log: str, seed: int, spool: str) -> None:
    """Run trials of eight epochs one after another, each a few times taken up; note what `epoch` has returned from."""
    os.environ["SEFAR_SPOOL"] = spool
    rng, store = random.Random(seed), ResultStore(uri)
    with open(log, "a") as done:
        for number in range(1000):
            trial_id = f"{name}.{number:03d}"
            writer, first = store.writer("s", SCOPE, trial_id), 1
            for turn in range(rng.randint(1, 3)):
                if turn:
                    writer = store.writer("s", SCOPE, trial_id)
                writer.trial({"number": number, "status": "running", "epochs_done": first - 1})
                for one in range(first, 9):
                    writer.epoch(epoch(one, 1000.0 * writer.attempt + one))
                    done.write(f"{trial_id} {one} {writer.attempt}\n")
                    done.flush()
                    os.fsync(done.fileno())
                    first = max(first, one - 1)
                    if rng.random() < 0.1:
                        break
            writer.trial({"number": number, "status": "finished" if first > 6 else "failed", "epochs_done": first})


def _compact_for_ever(uri: str, spool: str) -> None:
    os.environ["SEFAR_SPOOL"] = spool
    while True:
        compact(ResultStore(uri), pause_seconds=0.2)


def _check(uri: str, reported: dict[tuple[str, int], int]) -> int:
    """Read all; what had been reported before must be there, each row whole, each epoch once."""
    store = ResultStore(uri)
    rows = store.epochs()
    assert not rows.duplicated(["trial_id", "epoch"]).any()
    assert (rows.dev_student_top1 == 1000.0 * rows.attempt + rows.epoch).all()
    assert rows.empty or (rows.total_loss == 1.5).all()
    seen = dict(zip(zip(rows.trial_id, rows.epoch, strict=True), rows.attempt, strict=True))
    missing = {key: attempt for key, attempt in reported.items() if seen.get(key, 0) < attempt}
    assert not missing
    trials = store.trials(columns=["status"])
    assert trials.trial_id.is_unique and store.problems() == []
    return len(rows)


def _reported(folder: Path) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for log in folder.glob("*.log"):
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                trial_id, one, attempt = line.split()
                key = (trial_id, int(one))
                found[key] = max(found.get(key, 0), int(attempt))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("compacting", [False, True], ids=["written", "written and compacted"])
def test_a_reader_of_a_store_whose_writers_are_killed(tmp_path, monkeypatch, compacting):
    """Never an exception, never half a row, every epoch that was reported is there."""
    spool = str(tmp_path / "spool")
    monkeypatch.setenv("SEFAR_SPOOL", spool)
    uri = ResultStore(str(tmp_path / "store"), create=True).uri
    context, rng = multiprocessing.get_context("forkserver"), random.Random(0)
    context.set_forkserver_preload(["tests.studies.test_store_killed"])
    started = 0

    def start_writer() -> BaseProcess:
        nonlocal started
        started += 1
        log = str(tmp_path / f"{started}.log")
        process = context.Process(target=_write, args=(uri, f"w{started}", log, started, spool), daemon=True)
        process.start()
        return process

    def start_compacting() -> BaseProcess:
        process = context.Process(target=_compact_for_ever, args=(uri, spool), daemon=True)
        process.start()
        return process

    def kill(process: BaseProcess) -> None:
        assert process.is_alive() and process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    writers = [start_writer() for _ in range(WRITERS)]
    compactor = start_compacting() if compacting else None
    reads = 0
    try:
        while len([log for log in tmp_path.glob("*.log") if log.stat().st_size]) < WRITERS:
            time.sleep(0.05)
        for number in range(KILLS):
            time.sleep(rng.uniform(0.0, 0.1))
            victim = rng.randrange(WRITERS)
            kill(writers[victim])
            writers[victim] = start_writer()
            if compactor is not None and number % 10 == 9:
                kill(compactor)
                compactor = start_compacting()
            if number % 3 == 0:
                reported = _reported(tmp_path)
                reads += _check(uri, reported) > 0
    finally:
        for process in [*writers, *([compactor] if compactor is not None else [])]:
            kill(process)
    rows = _check(uri, _reported(tmp_path))
    assert reads > 10 and rows >= len(_reported(tmp_path)) > 100
    store = ResultStore(uri)
    compact(store, pause_seconds=0.0)
    assert _check(uri, _reported(tmp_path)) == rows
    torn = [str(f) for f in verify(store) if "torn" in f.what or "twice" in f.what or "that lie in" in f.what]
    assert torn == []
