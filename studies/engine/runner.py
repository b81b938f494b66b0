"""Starts Ray and runs trials: the only module that does."""

from __future__ import annotations

import logging
import math
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

QUIET = {
    "RAY_raylet_start_wait_time_s": "120",  # the default gives up on a busy two-core machine
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data roots keep their meaning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C shall end the run, not ask Tune to save a state nobody reads
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
for _name, _value in QUIET.items():  # Ray reads some of these when it is imported
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.exceptions import RayError  # noqa: E402
from ray.tune.error import TuneError  # noqa: E402

from sefar.errors import ConfigError, SefarError  # noqa: E402
from studies.engine.bookkeeping import Bookkeeper  # noqa: E402
from studies.engine.history import PastTrial  # noqa: E402
from studies.engine.progress import ProgressLine  # noqa: E402
from studies.engine.pruning import ScopedASHA  # noqa: E402
from studies.engine.resources import Node, Share, free_memory_bytes, share_out  # noqa: E402
from studies.engine.search import SweepSearch  # noqa: E402
from studies.engine.spec import Study  # noqa: E402
from studies.engine.trial import InlineTrial  # noqa: E402
from studies.engine.trial_run import RunSettings  # noqa: E402

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
OBJECT_STORE_BYTES = 200 * 2**20  # trials exchange nothing but short results
WORKER_DEATHS = 2  # times a trial is taken up again after its worker died


class RayFailure(SefarError, RuntimeError):
    """Ray, Tune or the connection to the cluster failed under a running sweep."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where and how widely to run.

    Attributes:
        address: ``local`` or ``auto`` (the cluster of RAY_ADDRESS, or the one that runs on this machine).
        concurrency: trials at once; None: as many as fit.
        gpus_per_worker: GPUs a trial; None: one where there are any.
    """

    address: str = "local"
    concurrency: int | None = None
    gpus_per_worker: float | None = None


def run_trials(
    study: Study, planned: dict[str, int], history: list[PastTrial], settings: RunSettings, cluster: Cluster
) -> None:
    """Run what is left of a study.

    Raises:
        StoreError: a trial could not write its results.
        ConfigError: the cluster cannot give what was asked for.
        RayFailure: Ray or the cluster gave up.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; finished epochs are in the store.
    """
    settings = replace(settings, versions=settings.versions | {"ray_version": ray.__version__})
    # in this order: ray.init sets a SIGTERM handler too
    with _explained(), _connected(cluster.address), _interruptible():
        searcher = SweepSearch(study, planned, history)
        share = _share(cluster, searcher.left)
        settings = replace(settings, threads=share.cpus, gpus=share.gpus)
        progress = ProgressLine(planned, study.epochs, history)
        log.info("%d trials at once, %d threads and %g GPUs each", share.concurrency, share.cpus, share.gpus)
        tune_files = tempfile.mkdtemp(prefix="sefar-tune-")
        try:
            tuner = tune.Tuner(
                tune.with_resources(InlineTrial, {"cpu": share.cpus, "gpu": share.gpus}),
                param_space={"settings": settings.to_json()},
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=ScopedASHA(study, history),
                    num_samples=searcher.left,
                    max_concurrent_trials=share.concurrency,
                    reuse_actors=True,
                    trial_name_creator=lambda trial: trial.trial_id,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name=study.name,
                    storage_path=tune_files,
                    verbose=0,
                    callbacks=[Bookkeeper(settings), progress],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
                ),
            )
            tuner.fit()
        finally:
            shutil.rmtree(tune_files, ignore_errors=True)


def _share(cluster: Cluster, trials_left: int) -> Share:
    nodes = []
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            memory = has.get("memory", math.inf)  # what Ray may give away; how much of it is free, only we know of ours
            if node.get("NodeManagerHostname") == platform.node():
                memory = min(memory, free_memory_bytes())
            nodes.append(Node(int(has.get("CPU", 0)), has.get("GPU", 0.0), memory))
    return share_out(nodes, trials_left, concurrency=cluster.concurrency, gpus_per_trial=cluster.gpus_per_worker)


@contextmanager
def _explained() -> Iterator[None]:
    """Bring what Ray and Tune raise into one line; an error of ours among the causes counts as it is."""
    try:
        yield
    except (TuneError, RayError, ConnectionError) as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, SefarError):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RayFailure(
            f"Ray gave up ({type(error).__name__}: {lines[-1][:300] if lines else 'no message'}); finished epochs are "
            "kept: run the same command again, or with --traceback to see where"
        ) from error


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Ray started or joined, and left again unless the caller had started it."""
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    started = time.perf_counter()
    try:
        if address == "local":
            ray.init(
                address="local",
                num_cpus=len(os.sched_getaffinity(0)),
                # there is no nested run whose placement group only the dashboard would free
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                runtime_env={"env_vars": {"PYTHONPATH": paths, **QUIET}},
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        mend = "start one with `ray start --head`, or run with --address local"
        if "token" in str(error).lower() or "auth" in str(error).lower():
            mend = "the cluster wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN if ~/.ray has none"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"--address {address}: no Ray cluster could be joined ({reason}); {mend}") from error
    log.info("Ray is up after %.1f s", time.perf_counter() - started)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM (`ray job stop`, a batch system) ends the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
