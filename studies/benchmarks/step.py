"""One SeFAR step, the plain way against ours: clips/s, memory, and how near it comes to what the machine multiplies."""

from __future__ import annotations

import math
import statistics
from contextlib import ExitStack
from pathlib import Path

import torch

from sefar.config import TrainConfig
from sefar.training.heap import keep_heap
from sefar.training.trainer import Trainer
from studies.benchmarks.arithmetic import count_flops, matrix_rate, peak_bytes
from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.benchmarks.on_gpu import SETTLED, late_compilations, most_within
from studies.benchmarks.plain import make_plain, plain_flops
from studies.benchmarks.synthetic import step_config, synthetic_batch, synthetic_trainer
from studies.benchmarks.turns import Side, apart, in_turns
from studies.benchmarks.where import costliest, profile_note

PLAIN, OURS, FAST = "plain float32", "ours", "ours, bfloat16, compiled"
REPEATS = {"tiny": (15, 3), "vit_s_112": (5, 1), "vit_s_224": (3, 0), "vit_b_224": (10, 3)}
"""Repetitions of each size, thorough and quick; 0: not in a quick run."""
TITLES = {
    "tiny": "tiny, 64 px",
    "vit_s_112": "ViT-S, 112 px",
    "vit_s_224": "ViT-S, 224 px",
    "vit_b_224": "ViT-B, 224 px",
}
COMPILED = {"optim.precision": "bfloat16", "optim.compile": True}
SPEEDUPS = {"tiny": 3.0, "vit_s_112": 2.3, "vit_s_224": 2.3}
ROOFLINES = {"tiny": 0.3, "vit_s_112": 0.55, "vit_s_224": 0.55}


def clips_of(config: TrainConfig) -> int:
    """Labelled and unlabelled clips of a step."""
    return config.loader.labelled + config.loader.unlabelled


def students_clips(config: TrainConfig) -> int:
    """Clips of the student's one forward pass: labelled, strong and mixed."""
    return config.loader.labelled + 2 * config.loader.unlabelled


def stepping(trainer: Trainer) -> Side:
    """Takes a step each time that it is called."""
    batch = synthetic_batch(trainer.config).to(trainer.device)
    return lambda: trainer.train_step([batch])


def plain_side(size: str, folder: Path) -> Side:
    """Takes plain steps on a CPU."""
    return stepping(make_plain(synthetic_trainer(step_config(size, {"optim.precision": "float32"}), folder)))


def run(options: Options) -> Findings:
    """Measure every size that the device is for."""
    sizes = ["vit_b_224"] if options.device.startswith("cuda") else ["tiny", "vit_s_112", "vit_s_224"]
    cases: list[Case] = []
    figures: list[Figure] = []
    for size in sizes:
        repeats = options.repeats(*REPEATS[size])
        if repeats:
            found, numbers = _size(size, repeats, options)
            cases += found
            figures += numbers
    return Findings("step", cases, figures)


def _size(size: str, repeats: int, options: Options) -> tuple[list[Case], list[Figure]]:
    config = step_config(size, {"optim.precision": "float32"})
    gpu = options.device.startswith("cuda")
    trainers = {PLAIN: make_plain(_made(config, options)), OURS: _made(config, options)}
    if gpu:
        trainers[FAST] = _made(step_config(size, COMPILED), options)
    sides = {way: stepping(trainer) for way, trainer in trainers.items()}
    timed, best = dict(sides), FAST if gpu else OURS
    again = late_compilations(sides[FAST]) if gpu else 0
    with ExitStack() as stack:
        if not gpu:  # ours keeps what memory it frees, which the plain way would gain from in the same process
            keep_heap()
            timed[PLAIN] = stack.enter_context(apart(plain_side, size, options.folder / f"{size}-plain"))
        seconds = in_turns(timed, repeats, device=options.device, warm=SETTLED if gpu else 1)
    found = costliest(sides[best], device=options.device)
    flops = {PLAIN: plain_flops(trainers[PLAIN]), OURS: count_flops(sides[OURS])}
    flops |= {way: flops[OURS] for way in sides if way not in flops}
    memory = {way: step_bytes(trainer) for way, trainer in trainers.items()}
    clips = students_clips(config)
    rate, square = matrix_rate(config, clips, repeats=7, device=options.device)
    rates = dict.fromkeys(sides, rate)
    if gpu:
        rates[FAST], _ = matrix_rate(config, clips, repeats=7, device=options.device, dtype=torch.bfloat16)
    medians = {way: statistics.median(s) for way, s in seconds.items()}
    case = Case(
        f"A step of {config.loader.labelled} + {config.loader.unlabelled} clips, S = "
        f"{config.teacher.passes}: {TITLES[size]}",
        seconds,
        "step",
        PLAIN,
        {FAST: 8.0} if gpu else {OURS: SPEEDUPS[size]},
        (
            f"Arithmetic alone gives {flops[PLAIN] / flops[OURS]:.2f}. Matrix products: {rate / 1e9:.0f} GFLOP/s in "
            f"the shapes of a block, {square / 1e9:.0f} GFLOP/s for a large square.",
            "",
            profile_note(found, best),
        ),
        {
            "clips/s": {way: f"{clips_of(config) / m:.3g}" for way, m in medians.items()},
            "memory beyond weights, MB": {way: f"{b / 1e6:.0f}" for way, b in memory.items()},
            "GFLOP": {way: f"{f / 1e9:.0f}" for way, f in flops.items()},
            "of the matrix rate": {way: f"{flops[way] / m / rates[way]:.0%}" for way, m in medians.items()},
        },
    )
    roofline = flops[best] / medians[best] / rates[best]
    if not gpu:
        return [case], _figures(size, case, flops[PLAIN] / flops[OURS], roofline)
    figures = [
        Figure(name="step_speedup_vit_b_gpu", value=case.ratio(FAST), least=8.0),
        Figure(name="step_roofline_vit_b_gpu", value=roofline, least=0.35),
        Figure(name="step_late_compilations_vit_b_gpu", value=again, most=0),
    ]
    equal, figure = equal_memory(trainers[PLAIN], trainers[FAST], FAST, repeats)
    return [case, equal], [*figures, figure]


def _made(config: TrainConfig, options: Options) -> Trainer:
    return synthetic_trainer(config, options.folder / "step", device=options.device)


def step_bytes(trainer: Trainer, labelled: int | None = None) -> int:
    """Most bytes beyond weights and optimiser that a step of so many labelled clips takes, frames and gradients too."""
    config = trainer.config.override({"loader.labelled": labelled or trainer.config.loader.labelled})
    batch = synthetic_batch(config)
    trainer.train_step([batch])  # compiled, where it is, and the optimiser has its state
    trainer.optimiser.zero_grad(set_to_none=True)
    return peak_bytes(lambda: trainer.train_step([batch]), str(trainer.device))


def equal_memory(plain: Trainer, ours: Trainer, way: str, repeats: int) -> tuple[Case, Figure]:
    """Clips/s of ours with as many clips a step as fit in the memory that the plain way takes."""

    def step(trainer: Trainer, labelled: int) -> Side:
        config = trainer.config.override({"loader.labelled": labelled})
        batch = synthetic_batch(config).to(trainer.device)
        return lambda: trainer.train_step([batch])

    few = plain.config.loader.labelled
    memory = step_bytes(plain)
    many = most_within(memory, lambda labelled: step_bytes(ours, labelled), few)
    torch.compiler.reset()  # graphs of batches that were only tried
    clips, held = {PLAIN: few, way: many}, {PLAIN: f"{memory / 1e6:.0f}", way: "–"}
    seconds = {side: [math.nan] * repeats for side in clips}
    if many:
        sides = {PLAIN: step(plain, few), way: step(ours, many)}
        timed = in_turns(sides, repeats, device=str(plain.device), warm=SETTLED)
        seconds = {side: [s / clips[side] for s in found] for side, found in timed.items()}
        held[way] = f"{step_bytes(ours, many) / 1e6:.0f}"  # by the graphs that were timed
    case = Case(
        f"As many clips a step as fit in the memory that the plain way takes for {few} labelled ones",
        seconds,
        "labelled clip and its unlabelled ones",
        PLAIN,
        {way: 4.0},
        columns={
            "labelled clips a step": {side: str(count) for side, count in clips.items()},
            "memory beyond weights, MB": held,
        },
    )
    return case, Figure(name="step_equal_memory_vit_b_gpu", value=case.ratio(way), least=4.0)


def _figures(size: str, case: Case, bound: float, roofline: float) -> list[Figure]:
    # ViT-S has its figures at 112 px, the size that every run measures; 224 px has names of its own
    name = {"tiny": "tiny", "vit_s_112": "vit_s", "vit_s_224": "vit_s_224"}[size]
    return [
        Figure(name=f"step_speedup_{name}", value=case.ratio(OURS), least=SPEEDUPS[size]),
        Figure(name=f"step_arithmetic_bound_{name}", value=bound),
        Figure(name=f"step_roofline_{name}", value=roofline if roofline > 0 else math.nan, least=ROOFLINES[size]),
    ]
