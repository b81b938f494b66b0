"""How the machines' cores, GPUs and memory are shared out among trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sefar.errors import ConfigError

TRIAL_MEMORY_BYTES = 2**30  # of a trial with its interpreter, roughly


@dataclass(frozen=True)
class Node:
    """A machine of the cluster: its cores, GPUs and free memory."""

    cpus: int
    gpus: float = 0.0
    memory_bytes: float = math.inf

    def trials(self, cpus: int, gpus: float) -> int:
        """Trials of so many cores and GPUs that fit at once; a trial lives on one node."""
        fit = self.cpus // cpus
        if gpus > 1:
            fit = min(fit, int(self.gpus // gpus))
        elif gpus:
            fit = min(fit, int(self.gpus) * int(1 / gpus + 1e-9))
        return fit


@dataclass(frozen=True)
class Share:
    """What one trial gets, and how many run at once."""

    cpus: int
    gpus: float
    concurrency: int


def share_out(
    nodes: list[Node], trials_left: int, *, concurrency: int | None = None, gpus_per_trial: float | None = None
) -> Share:
    """Share out a cluster.

    Args:
        nodes: its machines.
        trials_left: trials to run.
        concurrency: trials at once that were asked for; None: as many as fit, a core each (on two cores two trials of
            one thread finish more epochs a minute than one of two).
        gpus_per_trial: GPUs a trial, possibly a fraction; None: one where there are GPUs.

    Raises:
        ConfigError: it cannot be had.
    """
    cpus, gpus = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
    if not cpus:
        raise ConfigError("the Ray cluster has no CPUs; start a node with --num-cpus of at least 1")
    per_trial = gpus_per_trial if gpus_per_trial is not None else 1.0 if any(n.gpus >= 1 for n in nodes) else 0.0
    if per_trial < 0 or (per_trial > 1 and not float(per_trial).is_integer()):
        raise ConfigError(f"--gpus-per-worker: expected a share of one GPU or a whole number, got {gpus_per_trial}")
    if per_trial > gpus:
        raise ConfigError(
            f"--gpus-per-worker {per_trial:g}: the cluster has {gpus:g} GPUs; leave the flag out or start with GPUs"
        )
    most = sum(n.trials(1, per_trial) for n in nodes)
    if not most:
        raise ConfigError(
            f"--gpus-per-worker {per_trial:g}: no node has a CPU and so many GPUs for a trial (the most on a node: "
            f"{max(n.gpus for n in nodes):g}); give a smaller --gpus-per-worker or start nodes with CPUs"
        )
    if concurrency is not None and concurrency > most:
        raise ConfigError(
            f"--concurrency {concurrency}: at most {most} trials run at once on {cpus} CPUs"
            + (f" and {gpus:g} GPUs at {per_trial:g} a trial" if per_trial else "")
        )
    fits_memory = sum(int(min(n.trials(1, per_trial), n.memory_bytes / TRIAL_MEMORY_BYTES)) for n in nodes)
    at_once = max(1, min(concurrency or fits_memory, trials_left))
    each = next(c for c in range(cpus // at_once, 0, -1) if sum(n.trials(c, per_trial) for n in nodes) >= at_once)
    return Share(cpus=each, gpus=per_trial, concurrency=at_once)


def free_memory_bytes() -> float:
    """What this machine can still give without swapping; infinity where that cannot be told."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, IndexError, ValueError):
        return math.inf
