"""Two hundred inline trials in one run: what the driver's memory, its open files and /tmp grow by."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from studies.engine import session
from tests.studies.sweeps import make_study, sweep

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

TRIALS_PER_SCOPE = 100


@dataclass
class Samples:
    """The driver from the moment Ray is up."""

    rss: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    folder_megabytes: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def take(self) -> None:
        me = psutil.Process()
        while not self.over.wait(0.5):
            self.rss.append(me.memory_info().rss)
            self.files.append(me.num_fds())
            self.folder_megabytes.append(sum(session._megabytes(str(folder)) for folder in own_folders()))


def own_folders() -> list[Path]:
    return list(Path("/tmp").glob(f"sefar-*-{os.getpid()}n*"))


def test_two_hundred_trials_leave_nothing_behind(tmp_path, caplog):
    samples = Samples()
    sampler = threading.Thread(target=samples.take)
    said: list[float] = []
    study = make_study(trials=TRIALS_PER_SCOPE, epochs=2)
    gc.collect()
    with caplog.at_level(logging.INFO, logger="studies.engine.session"):
        started = time.perf_counter()
        sampler.start()
        try:
            store, _ = sweep(tmp_path / "store", study)
        finally:
            samples.over.set()
            sampler.join()
        said.append(time.perf_counter() - started)
    trials = store.trials()
    assert len(trials) == 2 * TRIALS_PER_SCOPE and trials.trial_id.is_unique
    assert trials.status.isin(["finished", "pruned"]).all() and (trials.attempt == 1).all()
    early = len(samples.rss) // 10  # Ray is up and the first trials have run
    growth = (max(samples.rss) - samples.rss[early]) / 2**20
    files = samples.files[-3] - samples.files[early]
    print(f"{said[0]:.0f} s; driver + {growth:.0f} MiB, + {files} files; /tmp {max(samples.folder_megabytes):.1f} MB")
    assert growth < 200
    assert files <= 5
    assert max(samples.folder_megabytes) < 200
    assert own_folders() == []
    assert any("Ray's own files came to" in record.getMessage() for record in caplog.records)
