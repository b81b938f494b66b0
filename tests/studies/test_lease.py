"""A study's lock where storage has none: two runs never both hold it, and a dead one's ends by itself."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sefar.errors import StoreError
from studies.engine import lease
from studies.engine.lock import study_lock
from studies.results.storage import Location


@pytest.fixture
def work(bucket) -> Location:
    return Location(f"s3://{bucket}/store.work", patience_seconds=1.0)


def leave_behind(work: Location, **process: object) -> str:
    """The lease of a run that was killed."""
    says = {"holder": "pid 7 on host far-away", "holds": True, "process": process}
    work.write("s.lease/dead.json", json.dumps(says).encode())
    return "s.lease/dead.json"


def test_a_study_on_s3_is_run_by_one_process_at_a_time(work):
    with study_lock(work, "s"):
        said = rf"^study 's' is being run by pid {os.getpid()} on host \S+; wait for it or give another --name$"
        with pytest.raises(StoreError, match=said), study_lock(work, "s"):
            pass
        with study_lock(work, "other"):
            assert len(work.files()) == 2
    assert work.files() == []
    with study_lock(work, "s"):
        pass


def test_the_lease_of_a_run_elsewhere_is_respected_until_it_is_old(work, monkeypatch):
    monkeypatch.setattr(lease, "GRACE_SECONDS", 0.2)
    name = leave_behind(work, pid=7, started="1", boot="another machine", namespace="pid:[1]")
    with pytest.raises(StoreError, match=r"is being run by pid 7 on host far-away"), study_lock(work, "s"):
        pass
    assert work.files() == [name]
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    time.sleep(1.1)  # times of objects are whole seconds
    with (
        pytest.raises(StoreError, match=r"no sign for \d+ s; if it was killed, run again in 1\d\d s\)$"),
        study_lock(work, "s"),
    ):
        pass
    monkeypatch.setattr(lease, "DEAD_SECONDS", 0.5)
    with study_lock(work, "s"):
        assert name not in work.files() and len(work.files()) == 1


@pytest.mark.slow
def test_a_holder_that_was_cut_off_keeps_its_lease_if_it_gives_a_sign(work, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_SECONDS", 0.5)
    monkeypatch.setattr(lease, "GRACE_SECONDS", 3.0)
    name = leave_behind(work)
    time.sleep(1.1)
    sign = threading.Timer(1.2, lambda: work.write(name, work.read(name)))
    sign.start()
    with pytest.raises(StoreError, match="is being run by pid 7"), study_lock(work, "s"):
        pass
    sign.join()
    assert work.files() == [name]


def test_a_run_killed_on_this_machine_blocks_nobody(server, work):
    code = (
        "import os, sys\n"
        "from studies.engine.lock import study_lock\n"
        "from studies.results.storage import Location\n"
        "with study_lock(Location(sys.argv[1]), 's'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, work.uri], timeout=120, cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    assert len(work.files()) == 1
    with study_lock(work, "s"):
        assert len(work.files()) == 1
    assert work.files() == []


def _compete(uri: str, barrier, won) -> None:
    lease.CLAIMS = 20
    work = Location(uri)
    barrier.wait(60)
    try:
        with study_lock(work, "s"):
            won.put(os.getpid())
            time.sleep(3.0)
    except StoreError:
        won.put(0)


@pytest.mark.slow
def test_of_several_that_come_at_once_one_gets_it(work):
    context = multiprocessing.get_context("spawn")
    barrier, won = context.Barrier(4), context.Queue()
    runs = [context.Process(target=_compete, args=(work.uri, barrier, won)) for _ in range(4)]
    for run in runs:
        run.start()
    results = [won.get(timeout=90) for _ in runs]
    for run in runs:
        run.join(30)
    assert sum(pid > 0 for pid in results) == 1
    assert work.files() == []


@pytest.mark.slow
def test_the_holder_renews_and_sits_out_an_outage(server, work, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.2)
    with study_lock(work, "s"):
        ((name, before),) = work.modified().items()
        with server.away():
            time.sleep(1.0)
        time.sleep(1.5)
        assert work.written_at(name) > before
    assert work.files() == []


def test_a_run_whose_lease_was_taken_over_ends(work, monkeypatch):
    """Cut off for longer than it counted as alive, it finds another run at its study."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.3)
    said = r"taken over by pid 7 on host far-away.*finished epochs are kept"
    with pytest.raises(StoreError, match=said), study_lock(work, "s"):
        leave_behind(work)
        time.sleep(30)  # interrupted
    assert work.files() == ["s.lease/dead.json"]


def test_a_lost_lease_ends_a_run_that_ignores_ctrl_c(work, monkeypatch):
    """As one does that a script has started in the background."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.3)
    handler, before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGUSR2)
    try:
        with pytest.raises(StoreError, match="taken over"), study_lock(work, "s"):
            leave_behind(work)
            time.sleep(30)  # interrupted
    finally:
        signal.signal(signal.SIGINT, handler)
    assert signal.getsignal(signal.SIGUSR2) == before


def test_ctrl_c_stays_ctrl_c(work):
    with pytest.raises(KeyboardInterrupt), study_lock(work, "s"):
        raise KeyboardInterrupt
    assert work.files() == []


def test_a_folder_without_locks_gets_a_lease(tmp_path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("studies.engine.lock.fcntl.flock", no_locks)
    work = Location(tmp_path / "store.work")
    said = r"study 's' is being run by pid \d+"
    with study_lock(work, "s"), pytest.raises(StoreError, match=said), study_lock(work, "s"):
        pass
    with study_lock(work, "s"):
        assert len(work.files()) == 2  # the lock's file and the lease
