"""How the machines' cores and GPUs are shared out among trials."""

from __future__ import annotations

from dataclasses import dataclass

from sefar.errors import ConfigError

TRIAL_CPUS = 1  # measured on two cores: two trials of one thread finish more epochs a minute than one of two


@dataclass(frozen=True)
class Share:
    """What one trial gets, and how many run at once."""

    cpus: int
    gpus: float
    concurrency: int


def share_out(
    node_cpus: list[int], gpus: float, *, concurrency: int | None = None, gpus_per_trial: float | None = None
) -> Share:
    """Share out a cluster.

    Args:
        node_cpus: cores of each node.
        gpus: GPUs of all nodes.
        concurrency: trials at once that were asked for; None: as many as fit.
        gpus_per_trial: GPUs a trial, possibly a fraction; None: one where there are GPUs.

    Raises:
        ConfigError: it cannot be had.
    """
    cpus = sum(node_cpus)
    per_trial = (1.0 if gpus else 0.0) if gpus_per_trial is None else gpus_per_trial
    if per_trial < 0 or (per_trial > 1 and not float(per_trial).is_integer()):
        raise ConfigError(f"--gpus-per-worker: expected a share of one GPU or a whole number, got {gpus_per_trial}")
    if per_trial > gpus:
        raise ConfigError(
            f"--gpus-per-worker {per_trial:g}: the cluster has {gpus:g} GPUs; leave the flag out or start with GPUs"
        )
    most = cpus
    if per_trial:
        slots = int(gpus) * int(1 / per_trial) if per_trial <= 1 else int(gpus // per_trial)
        most = min(cpus, slots)
    if concurrency is not None and concurrency > most:
        raise ConfigError(
            f"--concurrency {concurrency}: at most {most} trials run at once on {cpus} CPUs"
            + (f" and {gpus:g} GPUs at {per_trial:g} a trial" if per_trial else "")
        )
    at_once = concurrency or (most if per_trial else max(1, most // TRIAL_CPUS))
    # a trial lives on one node, and each node is filled with whole trials
    fair = max(1, cpus // at_once)
    while fair > 1 and sum(n // fair for n in node_cpus) < at_once:
        fair -= 1
    return Share(cpus=fair, gpus=per_trial, concurrency=at_once)
