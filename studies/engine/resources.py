"""How the machines' cores, GPUs and memory are shared out among trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sefar.errors import ConfigError

TRIAL_MEMORY_BYTES = 2**30  # of a worker with its interpreter, roughly
DRIVER_MEMORY_BYTES = 2**30  # of what drives a trial's workers, all of it on the head node
HEAD = "node:__internal_head__"  # Ray gives the head node 1 of it: drivers stay off nodes that come and go
NO_CPUS = (
    "the Ray cluster has no CPUs; start a node with --num-cpus of at least 1 (where an autoscaler brings nodes it may "
    "have none yet: keep those up that a run needs, with min_workers or minReplicas)"
)


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        cpus: its cores.
        gpus: its GPUs.
        memory_bytes: its free memory.
        is_head: drivers of distributed trials live there.
        is_here: this process runs there.
    """

    cpus: int
    gpus: float = 0.0
    memory_bytes: float = math.inf
    is_head: bool = False
    is_here: bool = False

    def fits(self, cpus: int, gpus: float) -> int:
        """Workers of so many cores and GPUs that fit at once; a worker lives on one node."""
        fit = self.cpus // cpus
        if gpus > 1:
            fit = min(fit, int(self.gpus // gpus))
        elif gpus:
            fit = min(fit, int(self.gpus) * int(1 / gpus + 1e-9))
        return fit


@dataclass(frozen=True)
class Share:
    """What one trial gets, and how many run at once.

    Attributes:
        cpus: cores of a worker.
        gpus: GPUs of a worker, possibly a fraction.
        concurrency: trials at once.
        workers: of a trial; one trains in the trial's own process.
    """

    cpus: int
    gpus: float
    concurrency: int
    workers: int = 1


def share_out(
    nodes: list[Node],
    trials_left: int,
    *,
    concurrency: int | None = None,
    gpus_per_worker: float | None = None,
    workers: int = 1,
) -> Share:
    """Share out a cluster; the workers of a trial may live on several nodes.

    Args:
        nodes: its machines.
        trials_left: trials to run.
        concurrency: trials at once that were asked for; None: as many as fit, a core a worker (on two cores two trials
            of one thread finish more epochs a minute than one of two).
        gpus_per_worker: GPUs a worker, possibly a fraction; None: one where there are GPUs.
        workers: of a trial.

    Raises:
        ConfigError: it cannot be had.
    """
    cpus, gpus = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
    if not cpus:
        raise ConfigError(NO_CPUS)
    each_gpus = gpus_per_worker if gpus_per_worker is not None else 1.0 if any(n.gpus >= 1 for n in nodes) else 0.0
    _check_gpus(each_gpus, workers, nodes)
    slots = sum(n.fits(1, each_gpus) for n in nodes)
    has = f"{cpus} CPUs" + (f" and {gpus:g} GPUs at {each_gpus:g} a worker" if each_gpus else "")
    most = slots // workers
    if not most:
        raise ConfigError(
            f"--workers {workers}: only {slots} workers run at once on {has}; give --workers {slots} or start nodes"
        )
    if concurrency is not None and concurrency > most:
        of_workers = f" of {workers} workers" if workers > 1 else ""
        raise ConfigError(
            f"--concurrency {concurrency}: at most {most} trials{of_workers} run at once on {has}, which is what is up "
            "now; leave the flag out or start nodes"
        )
    fits_memory = sum(int(min(n.fits(1, each_gpus), n.memory_bytes / TRIAL_MEMORY_BYTES)) for n in nodes)
    at_once = max(1, min(concurrency or _trials_in_memory(fits_memory, workers, nodes), trials_left))
    needed = at_once * workers
    each = next(c for c in range(cpus // needed, 0, -1) if sum(n.fits(c, each_gpus) for n in nodes) >= needed)
    return Share(cpus=each, gpus=each_gpus, concurrency=at_once, workers=workers)


def _trials_in_memory(slots: int, workers: int, nodes: list[Node]) -> int:
    """Trials at once for which there is memory, where so many workers would find theirs."""
    if workers == 1:
        return slots
    of_trial = workers * TRIAL_MEMORY_BYTES + DRIVER_MEMORY_BYTES
    drivers = min((n.memory_bytes for n in nodes if n.is_head), default=math.inf) / DRIVER_MEMORY_BYTES
    return int(min(slots // workers, sum(n.memory_bytes for n in nodes) / of_trial, drivers))


def _check_gpus(each: float, workers: int, nodes: list[Node]) -> None:
    """See to it that some node can hold a worker with its GPUs."""
    gpus, flag = sum(n.gpus for n in nodes), f"--gpus-per-worker {each:g}"
    if each < 0 or (each > 1 and not float(each).is_integer()):
        raise ConfigError(f"--gpus-per-worker: expected a share of one GPU or a whole number, got {each:g}")
    if workers > 1 and 0 < each < 1:
        raise ConfigError(f"{flag}: the workers of a trial cannot share a GPU (NCCL); give 1, or --workers 1")
    if each > gpus:
        raise ConfigError(f"{flag}: the cluster has {gpus:g} GPUs; leave the flag out or start with GPUs")
    if not any(n.fits(1, each) for n in nodes):
        raise ConfigError(
            f"{flag}: no node has a CPU and so many GPUs for a {'worker' if workers > 1 else 'trial'} (the most on a "
            f"node: {max(n.gpus for n in nodes):g}); give a smaller --gpus-per-worker or start nodes with CPUs"
        )


def free_memory_bytes() -> float:
    """What this machine can still give without swapping; infinity where that cannot be told."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, IndexError, ValueError):
        return math.inf
