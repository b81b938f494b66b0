"""Ray started or joined, and left again: the only module that does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from ray.exceptions import RayError  # noqa: E402
from ray.tune.error import TuneError  # noqa: E402

from sefar.errors import ConfigError, SefarError  # noqa: E402
from studies.engine.temporary import make_folder, remove_abandoned, remove_folder  # noqa: E402

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
OBJECT_STORE_BYTES = 200 * 2**20  # trials exchange nothing but short results


class RayFailure(SefarError, RuntimeError):
    """Ray, Tune or the connection to the cluster failed under a running sweep."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where and how widely to run.

    Attributes:
        address: ``local`` or ``auto`` (the cluster of RAY_ADDRESS, or the one that runs on this machine).
        concurrency: trials at once; None: as many as fit.
        gpus_per_worker: GPUs a worker; None: one where there are any.
        workers: of a trial; above one, each trial is a TorchTrainer.
    """

    address: str = "local"
    concurrency: int | None = None
    gpus_per_worker: float | None = None
    workers: int = 1


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray, started or joined, and left again unless the caller had started it.

    Raises:
        ConfigError: no cluster can be joined.
        RayFailure: Ray or the cluster gave up.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    if ray.is_initialized():
        with explained(), _interruptible():
            yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    started = time.perf_counter()
    # in this order: ray.init sets a SIGTERM handler too
    local = cluster.address == "local"
    with explained(), _started(quiet) if local else _joined(quiet, cluster.address):
        log.info("Ray is up after %.1f s", time.perf_counter() - started)
        with _interruptible():
            yield


@contextmanager
def _started(quiet: dict[str, Any]) -> Iterator[None]:
    """Ray on this machine, with a folder of its own that goes when it ends."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    remove_abandoned()
    folder = make_folder("ray")
    try:
        try:
            ray.init(
                address="local",
                num_cpus=len(os.sched_getaffinity(0)),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                runtime_env={"env_vars": {"PYTHONPATH": paths, **QUIET}},
                _temp_dir=folder,
                **quiet,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"Ray does not start on this machine ({_first_line(error)}); see {folder}") from error
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        log.info("Ray's own files came to %.1f MB in %s, which is deleted", _megabytes(folder), folder)
        remove_folder(folder)


@contextmanager
def _joined(quiet: dict[str, Any], address: str) -> Iterator[None]:
    """A cluster that somebody else runs."""
    remove_abandoned()
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        mend = "start one with `ray start --head`, or run with --address local"
        if "token" in str(error).lower() or "auth" in str(error).lower():
            mend = "the cluster wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN if ~/.ray has none"
        raise ConfigError(
            f"--address {address}: no Ray cluster could be joined ({_first_line(error)}); {mend}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _megabytes(folder: str) -> float:
    total = 0
    for path in Path(folder).rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total / 1e6


@contextmanager
def explained() -> Iterator[None]:
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
