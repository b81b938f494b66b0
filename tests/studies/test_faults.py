"""A cluster of three nodes on this machine, through the loss of a node, of a worker, of the driver and of itself.

Each sweep must end as an undisturbed one does. Its trials are such that their configurations do not depend on the order
in which others end: four a scope, of which the two searched ones are still random, and none is stopped early.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from studies.results.store import ResultStore
from tests.studies.sweeps import ROOT, SCRIPT

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(420)]

EPOCHS = 5
FLAGS = ["--address", "auto", "--trials", "4", "--epochs", str(EPOCHS), "--set", "objective.warmup_epochs=3"]
ENVIRONMENT = {
    "TOY_EPOCH_SECONDS": "0.6",
    "TOY_WORKLOAD": "tests.studies.stateful:StatefulWorkload",
    "PYTHONPATH": str(ROOT),
    "RAY_raylet_start_wait_time_s": "120",
    # seconds until a node that has fallen silent counts as dead, and until a driver gives its cluster up
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}


class ThreeNodes:
    """A head that runs nothing and two nodes of one core."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]

    def kill_node(self) -> None:
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def mend(self) -> None:
        while len(self.nodes) < 2:
            self.nodes.append(self.cluster.add_node(num_cpus=1))

    def start(self, store: Path, *flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*SCRIPT, *FLAGS, "--store", str(store), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=os.environ | {"RAY_ADDRESS": self.cluster.address},
        )


@pytest.fixture(scope="module")
def pids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where workers leave their process ids."""
    return tmp_path_factory.mktemp("pids")


@pytest.fixture(scope="module")
def environment(pids: Path) -> Iterator[None]:
    """Nodes hand the environment they were started in to their workers."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"TOY_PIDS": str(pids)}).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def three_nodes(environment: None) -> Iterator[ThreeNodes]:
    nodes = ThreeNodes()
    yield nodes
    nodes.cluster.shutdown()


def end(process: subprocess.Popen[str], seconds: float = 200) -> str:
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"the sweep did not end:\n{process.communicate()[0][-3000:]}") from None


@pytest.fixture(scope="module")
def undisturbed(three_nodes: ThreeNodes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "store"
    process = three_nodes.start(path)
    said = end(process)
    assert process.returncode == 0, said
    return path


def epochs_in(store: Path) -> pd.DataFrame:
    return ResultStore(str(store)).epochs() if (store / "_sefar_store.json").exists() else pd.DataFrame()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    until = time.time() + seconds
    while not condition():
        assert process.poll() is None, f"the sweep ended too soon:\n{process.communicate()[0][-3000:]}"
        assert time.time() < until, "the sweep does not get going"
        time.sleep(0.05)


def assert_as_undisturbed(store: Path, undisturbed: Path, reported: pd.DataFrame) -> None:
    """Every trial finished exactly once with the same losses, and nothing that was `reported` is gone."""
    ours, theirs = ResultStore(str(store)), ResultStore(str(undisturbed))
    columns = ["trial_id", "scope", "role", "status", "parameters", "epochs_done"]
    columns += ["dev_student_top1", "test_student_top1"]
    pd.testing.assert_frame_equal(ours.trials()[columns], theirs.trials()[columns])
    assert ours.trials().status.eq("finished").all() and len(ours.trials()) == 8
    curve = ["trial_id", "epoch", "dev_student_top1", "total_loss"]
    pd.testing.assert_frame_equal(ours.epochs()[curve], theirs.epochs()[curve])
    assert ours.epochs().groupby("trial_id").epoch.apply(list).map(lambda e: e == list(range(1, EPOCHS + 1))).all()
    assert not ours.predictions().duplicated(["trial_id", "part", "clip_id"]).any()
    assert ours.predictions().groupby("trial_id").size().eq(2).all()
    kept = reported.merge(ours.epochs(all_attempts=True), on=["trial_id", "attempt", "epoch", "total_loss"])
    assert len(kept) == len(reported)
    assert ours.problems() == [] and not list(store.with_name("store.work").rglob("*.pt"))


def test_the_reference_is_no_accident(undisturbed):
    """Losses differ between trials, so the comparison can fail."""
    epochs = ResultStore(str(undisturbed)).epochs()
    assert epochs[epochs.epoch == EPOCHS].total_loss.nunique() >= 3


def test_a_node_is_killed(three_nodes, undisturbed, tmp_path):
    store = tmp_path / "store"
    process = three_nodes.start(store)
    wait_for(lambda: len(epochs_in(store)) >= 5, process)
    reported = epochs_in(store)
    three_nodes.kill_node()
    try:
        said = end(process)
    finally:
        three_nodes.mend()
    assert process.returncode == 0, said
    assert_as_undisturbed(store, undisturbed, reported)
    assert ResultStore(str(store)).trials().attempt.max() > 1, "no trial was on the node that died"


def test_a_trials_worker_is_killed(three_nodes, undisturbed, pids, tmp_path):
    store = tmp_path / "store"
    for path in pids.iterdir():
        path.unlink()
    process = three_nodes.start(store)
    wait_for(lambda: len(epochs_in(store)) >= 5 and any(pids.iterdir()), process)
    reported = epochs_in(store)
    os.kill(int(next(pids.iterdir()).name), signal.SIGKILL)
    said = end(process)
    assert process.returncode == 0, said
    assert_as_undisturbed(store, undisturbed, reported)
    assert sorted(ResultStore(str(store)).trials().attempt)[-1] == 2


def test_the_driver_is_killed_and_the_sweep_resumed(three_nodes, undisturbed, tmp_path):
    store = tmp_path / "store"
    process = three_nodes.start(store)
    wait_for(lambda: len(epochs_in(store)) >= 7, process)
    process.kill()
    process.communicate()
    time.sleep(3)  # the workers notice, and may still write an epoch
    reported = epochs_in(store)
    again = three_nodes.start(store, "--resume")
    said = end(again)
    assert again.returncode == 0, said
    assert "taken up where they stopped" in said
    assert_as_undisturbed(store, undisturbed, reported)


def test_the_cluster_is_lost_and_another_one_goes_on(three_nodes, undisturbed, tmp_path):
    """Last, for it ends the cluster of the others."""
    store = tmp_path / "store"
    process = three_nodes.start(store)
    wait_for(lambda: len(epochs_in(store)) >= 7, process)
    three_nodes.cluster.shutdown()
    end(process)
    assert process.returncode != 0
    reported = epochs_in(store)
    another = ThreeNodes()
    try:
        again = another.start(store, "--resume")
        said = end(again)
    finally:
        another.cluster.shutdown()
    assert again.returncode == 0, said
    assert_as_undisturbed(store, undisturbed, reported)
