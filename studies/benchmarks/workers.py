"""One and two data-parallel workers with one thread each: what the second is worth, and what crosses between them.

Two processes of a gloo group take turns: rank 0 alone, then both, each with as many clips; and both with the clips of
one. Between turns the other waits at a barrier. How much longer both take where each is on its own is the machine's
doing: cores share caches, memory and a power limit.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sefar.training.distributed import World
from sefar.training.heap import keep_heap
from studies.benchmarks.children import Children
from studies.benchmarks.cost_model import model_case
from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.benchmarks.synthetic import share_of, step_config, synthetic_batch, synthetic_trainer

ALONE, WEAK, STRONG = "1 worker", "2 workers, each with as many clips", "2 workers that share the clips"
APART = "2 processes at once that share nothing"
COMMUNICATION = "what crosses in a step, by itself"
LABELLED = 6
TIMEOUT = timedelta(minutes=10)


def run(options: Options) -> Findings:
    """Measure, and work out what it would be with more of them."""
    repeats = options.repeats(11, 3)
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    arguments = (str(options.folder / "group"), options.folder, repeats, out)
    processes = [context.Process(target=_worker, args=(rank, *arguments)) for rank in range(2)]
    with Children(processes) as children:
        seconds, processor, gradient_bytes = children.get(out)
    clips = 4 * LABELLED
    case = Case(
        "A step at tiny by 1 and 2 data-parallel workers with one thread each",
        seconds,
        "step",
        ALONE,
        notes=(f"Gradients of {gradient_bytes / 1e6:.2f} MB cross between the workers in every step.",),
    )
    clips_per_second = {
        way: f"{n * clips / case.median(way):.3g}" for way, n in ((ALONE, 1), (APART, 2), (WEAK, 2), (STRONG, 1))
    }
    case.columns["clips/s"] = clips_per_second
    case.columns["processor ms of a worker"] = {w: f"{1000 * statistics.median(s):.3g}" for w, s in processor.items()}
    share = sum(seconds[COMMUNICATION]) / sum(seconds[WEAK])
    figures = [
        # as many clips a worker: the second doubles the work done where the step takes no longer
        Figure(name="workers_efficiency", value=case.ratio(WEAK), least=0.9),
        Figure(name="workers_machine_efficiency", value=case.ratio(APART)),
        Figure(name="workers_strong_efficiency", value=case.ratio(STRONG) / 2),
        # what a worker computes, whether or not the machine has a core for each
        Figure(
            name="workers_processor_efficiency",
            value=statistics.median(processor[ALONE]) / statistics.median(processor[WEAK]),
        ),
        Figure(name="workers_communication_share", value=share),
    ]
    return Findings("workers", [case, model_case()], figures)


def _worker(rank: int, meeting: str, folder: Path, repeats: int, out: Any) -> None:
    torch.set_num_threads(1)
    keep_heap()  # as training does
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=TIMEOUT)
    alone, joint = World(), World.current()
    trainers = {
        way: synthetic_trainer(step_config("tiny", {"loader.labelled": labelled}), folder, world=world)
        for way, labelled, world in ((ALONE, LABELLED, alone), (WEAK, 2 * LABELLED, joint), (STRONG, LABELLED, joint))
    }
    batches = {way: synthetic_batch(trainer.config) for way, trainer in trainers.items()}
    parameters = [p.numel() for p in trainers[WEAK].student.parameters()]
    gradients = torch.zeros(sum(parameters))
    features = torch.zeros(trainers[ALONE].config.loader.unlabelled, trainers[WEAK].student.fc.in_features)
    seconds: dict[str, list[float]] = {way: [] for way in (ALONE, APART, WEAK, STRONG, COMMUNICATION)}
    processor: dict[str, list[float]] = {way: [] for way in seconds}
    for repeat in range(-2, repeats):
        for way in seconds:
            # in training the loader's threads read it, meanwhile
            batch = share_of(trainers[way], batches[way]) if way in (WEAK, STRONG) else batches[ALONE]
            dist.barrier()
            started, working = time.perf_counter(), time.process_time()
            if way == COMMUNICATION:
                joint.join(features)
                joint.mean(gradients)
            elif way == APART or (way == ALONE and rank == 0):
                trainers[ALONE].train_step([batch])
            elif way != ALONE:
                trainers[way].train_step([batch])
            if way != ALONE:
                dist.barrier()  # a step has ended when both have
            if repeat >= 0:
                seconds[way].append(time.perf_counter() - started)
                processor[way].append(time.process_time() - working)
    if rank == 0:
        out.put((seconds, processor, 4 * sum(parameters)))
    with suppress(RuntimeError):  # whoever leaves first closes the other's connection
        dist.barrier()
        dist.destroy_process_group()
