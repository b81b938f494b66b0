"""Runs trials on Ray: one Tune run a stage of a study."""

from __future__ import annotations

import logging
import math
import platform
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from studies.engine.bookkeeping import WORKER_DEATHS, Bookkeeper
from studies.engine.budget import Budget, WithinBudget
from studies.engine.history import PastTrial
from studies.engine.progress import ProgressLine
from studies.engine.resources import HEAD, Node, Share, free_memory_bytes, share_out
from studies.engine.session import Cluster
from studies.engine.temporary import make_folder, remove_folder
from studies.engine.trial import InlineTrial
from studies.engine.trial_run import RunSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Trials that run together.

    Attributes:
        name: of the Tune run.
        searcher: deals them.
        scheduler: stops the poor ones.
        trials: how many are left to deal.
        planned: trials of each scope in the end.
        epochs: of a whole trial.
        history: trials of the stage in the store.
    """

    name: str
    searcher: Searcher
    scheduler: TrialScheduler
    trials: int
    planned: dict[str, int]
    epochs: int
    history: list[PastTrial]


def run_stage(stage: Stage, settings: RunSettings, share: Share, budget: Budget, *, last_pass: bool = True) -> int:
    """Run the trials of a stage that are left; Ray must be connected.

    Returns:
        Trials that were lost with their node and are still to run; with `last_pass`, these are marked as failed.

    Raises:
        StoreError: a trial could not write its results.
        TuneError, RayError: Ray or the cluster gave up.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; finished epochs are in the store.
    """
    settings = replace(
        settings,
        threads=share.cpus,
        gpus=share.gpus,
        workers=share.workers,
        versions=settings.versions | {"ray_version": ray.__version__},
    )
    log.info("%d trials at once, %d threads and %g GPUs a worker", share.concurrency, share.cpus, share.gpus)
    bookkeeper = Bookkeeper(settings, budget, last_pass=last_pass)
    progress = ProgressLine(stage.planned, stage.epochs, stage.history, budget)
    tune_files = make_folder("tune")
    try:
        tuner = tune.Tuner(
            _trainable(share),
            param_space={"settings": settings.to_json()},
            tune_config=tune.TuneConfig(
                search_alg=WithinBudget(stage.searcher, budget),
                scheduler=stage.scheduler,
                num_samples=stage.trials,
                max_concurrent_trials=share.concurrency,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=stage.name,
                storage_path=tune_files,
                verbose=0,
                stop=budget,
                callbacks=[bookkeeper, progress],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
            ),
        )
        tuner.fit()
    finally:
        remove_folder(tune_files)
    return bookkeeper.lost


def _trainable(share: Share) -> Any:
    """What Tune makes an actor of."""
    if share.workers > 1:
        from studies.engine.distributed_trial import distributed_trainable

        return distributed_trainable(share)
    return tune.with_resources(InlineTrial, {"cpu": share.cpus, "gpu": share.gpus})


def cluster_nodes() -> list[Node]:
    """The machines of the connected cluster, and what they can give."""
    nodes = []
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            memory = has.get("memory", math.inf)  # what Ray may give away; how much of it is free, only we know of ours
            here = node.get("NodeManagerHostname") == platform.node()
            if here:
                memory = min(memory, free_memory_bytes())
            nodes.append(Node(int(has.get("CPU", 0)), has.get("GPU", 0.0), memory, HEAD in has, here))
    return nodes


def share_of(cluster: Cluster, nodes: list[Node], trials_left: int) -> Share:
    """What each trial of the run gets.

    Raises:
        ConfigError: the cluster cannot give what was asked for.
    """
    return share_out(
        nodes,
        trials_left,
        concurrency=cluster.concurrency,
        gpus_per_worker=cluster.gpus_per_worker,
        workers=cluster.workers,
    )
