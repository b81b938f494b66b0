"""What a run would do, said without running it."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from studies.engine.feasibility import check_workers, forecast
from studies.engine.history import PastTrial, seconds_per_epoch
from studies.engine.resources import Node, free_memory_bytes, share_out
from studies.engine.spec import Study
from studies.engine.stages import split_scopes
from studies.engine.sweep import Plan, SweepOptions, plan_confirm, plan_sweep
from studies.results.store import NoStoreError, ResultStore


def describe(study: Study, options: SweepOptions, say: Callable[[str], None]) -> None:
    """Say which trials would run, whether the cluster can run them, and what is searched.

    Raises:
        SefarError: what the run itself would stop at: another study's store, other settings, nothing to resume, a
            request that the cluster cannot meet.
    """
    store = None
    try:
        store = ResultStore(options.store)
        plan = plan_sweep(study, store, options)
    except NoStoreError:
        if options.resume or options.extend:
            raise
        plan = Plan(dict.fromkeys(study.scopes.values, study.trials), [], study.trials * len(study.scopes.values))
    say(plan.summary(study))
    for scope, trials in plan.planned.items():
        say(f"  {scope}: {trials} trials of {study.epochs} epochs, none stopped before epoch {study.grace_epochs}")
    if options.confirm:
        counts = {options.confirm_seeds * len(split_scopes(s, options.confirm_splits)) for s in study.scopes.values}
        runs = " or ".join(map(str, sorted(counts)))
        say(f"then the {options.confirm} best and the named ones of each scope, {runs} runs each; only they are tested")
    if plan.left:
        say(_feasible(study, options, plan.left, plan.history))
    elif options.confirm and store is not None:
        confirm = plan_confirm(study, store, options)
        say(confirm.summary(options.confirm))
        if confirm.left:
            say(_feasible(study, options, len(confirm.left), plan.history + confirm.history))
    say(f"search space {study.space.hash}:")
    rows = study.space.table()
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, values, condition in rows:
        say(f"  {name.ljust(widths[0])}  {values.ljust(widths[1])}  {condition}")


def _feasible(study: Study, options: SweepOptions, trials_left: int, history: list[PastTrial]) -> str:
    """The forecast for this machine, or for the cluster that would be joined."""
    check_workers(study.base, options.workers)
    if options.address == "local":
        cores = len(os.sched_getaffinity(0))
        nodes = [Node(cores, torch.cuda.device_count(), free_memory_bytes())]
    else:
        from studies.engine.runner import cluster_nodes
        from studies.engine.session import connected

        with connected(options.cluster):
            nodes = cluster_nodes()
    share = share_out(
        nodes,
        trials_left,
        concurrency=options.concurrency,
        gpus_per_worker=options.gpus_per_worker,
        workers=options.workers,
    )
    return forecast(nodes, share, trials_left, study.epochs, seconds_per_epoch(history))
