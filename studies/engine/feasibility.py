"""What a run asks of the cluster, said before anything starts."""

from __future__ import annotations

import math

from sefar.config import TrainConfig
from sefar.errors import ConfigError
from studies.engine.resources import Node, Share

INLINE_SECONDS = (
    0.7  # of a trial beyond its training, in a warm process; `studies/throughput.py --only trial` measures it
)
GROUP_SECONDS = 15.0  # the same with workers, whose processes are started anew for every trial


def forecast(
    nodes: list[Node], share: Share, trials_left: int, epochs: int, seconds_per_epoch: float | None = None
) -> str:
    """What the cluster has, what a trial takes of it, and how long all of it may take.

    Args:
        nodes: the cluster's machines.
        share: what a trial gets.
        trials_left: trials to run.
        epochs: of a whole trial.
        seconds_per_epoch: of earlier trials; None: not known.

    Returns:
        One or two lines.
    """
    cpus, gpus = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
    has = f"{_counted(len(nodes), 'node')}, {_counted(cpus, 'CPU')}, {_counted(gpus, 'GPU')}"
    each = _counted(share.cpus, "CPU") + (f" and {_counted(share.gpus, 'GPU')}" if share.gpus else "")
    takes = f"a trial takes {each}" if share.workers == 1 else f"a trial takes {share.workers} workers of {each}"
    overhead = INLINE_SECONDS if share.workers == 1 else GROUP_SECONDS
    lines = [f"cluster: {has}; {takes}, {share.concurrency} at once"]
    ahead = f"each trial takes about {overhead:g} s beyond its training"
    if seconds_per_epoch is not None:
        rounds = math.ceil(trials_left / share.concurrency)
        hours = rounds * (epochs * seconds_per_epoch + overhead) / 3600
        ahead += f"; {trials_left} trials of {epochs} epochs at most {hours:.1f} h, less what is stopped early"
    return "\n".join([*lines, ahead])


def check_workers(config: TrainConfig, workers: int) -> None:
    """See to it that the workers of a trial can share its batch.

    Raises:
        ConfigError: they cannot.
    """
    if config.loader.labelled % workers:
        fits = [n for n in range(1, config.loader.labelled + 1) if config.loader.labelled % n == 0]
        raise ConfigError(
            f"--workers {workers}: {config.loader.labelled} labelled clips of a batch do not divide among them; give "
            f"one of {', '.join(map(str, fits))}, or another --set loader.labelled"
        )


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("" if number == 1 else "s")
