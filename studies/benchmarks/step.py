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
from studies.benchmarks.plain import make_plain, plain_flops
from studies.benchmarks.synthetic import step_config, synthetic_batch, synthetic_trainer
from studies.benchmarks.turns import Side, apart, in_turns

PLAIN, OURS, FAST = "plain float32", "ours", "ours, bfloat16, compiled"
REPEATS = {"tiny": (15, 3), "vit_s_112": (5, 1), "vit_s_224": (3, 0), "vit_b_224": (10, 3)}
"""Repetitions of each size, thorough and quick; 0: not in a quick run."""
TITLES = {
    "tiny": "tiny, 64 px",
    "vit_s_112": "ViT-S, 112 px",
    "vit_s_224": "ViT-S, 224 px",
    "vit_b_224": "ViT-B, 224 px",
}
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
    cases, figures = [], []
    for size in sizes:
        repeats = options.repeats(*REPEATS[size])
        if repeats:
            case, found = _size(size, repeats, options)
            cases.append(case)
            figures += found
    return Findings("step", cases, figures)


def _size(size: str, repeats: int, options: Options) -> tuple[Case, list[Figure]]:
    plain_config = step_config(size, {"optim.precision": "float32"})
    gpu = options.device.startswith("cuda")

    def made(config: TrainConfig) -> Trainer:
        return synthetic_trainer(config, options.folder / size, device=options.device)

    trainers = {PLAIN: make_plain(made(plain_config)), OURS: made(plain_config)}
    if gpu:
        trainers[FAST] = made(step_config(size, {"optim.precision": "bfloat16", "optim.compile": True}))
    sides = {way: stepping(trainer) for way, trainer in trainers.items()}
    timed = dict(sides)
    with ExitStack() as stack:
        if not gpu:  # ours keeps what memory it frees, which the plain way would gain from in the same process
            keep_heap()
            timed[PLAIN] = stack.enter_context(apart(plain_side, size, options.folder / f"{size}-plain"))
        seconds = in_turns(timed, repeats, device=options.device, warm=3 if gpu else 1)
    flops = {PLAIN: plain_flops(trainers[PLAIN]), OURS: count_flops(sides[OURS])}
    flops |= {way: flops[OURS] for way in sides if way not in flops}
    memory = {way: peak_bytes(side, options.device) for way, side in sides.items()}
    clips = students_clips(plain_config)
    rate, square = matrix_rate(plain_config, clips, repeats=7, device=options.device)
    rates = dict.fromkeys(sides, rate)
    if gpu:
        rates[FAST], _ = matrix_rate(plain_config, clips, repeats=7, device=options.device, dtype=torch.bfloat16)
    medians = {way: statistics.median(s) for way, s in seconds.items()}
    clips = clips_of(plain_config)
    case = Case(
        f"A step of {plain_config.loader.labelled} + {plain_config.loader.unlabelled} clips, S = "
        f"{plain_config.teacher.passes}: {TITLES[size]}",
        seconds,
        "step",
        PLAIN,
        {OURS: SPEEDUPS[size]} if size in SPEEDUPS else {FAST: 8.0},
        (
            f"Arithmetic alone gives {flops[PLAIN] / flops[OURS]:.2f}. Matrix products: {rate / 1e9:.0f} GFLOP/s in "
            f"the shapes of a block, {square / 1e9:.0f} GFLOP/s for a large square.",
        ),
        {
            "clips/s": {way: f"{clips / m:.3g}" for way, m in medians.items()},
            "memory beyond weights, MB": {way: f"{b / 1e6:.0f}" for way, b in memory.items()},
            "GFLOP": {way: f"{f / 1e9:.0f}" for way, f in flops.items()},
            "of the matrix rate": {way: f"{flops[way] / m / rates[way]:.0%}" for way, m in medians.items()},
        },
    )
    best = FAST if gpu else OURS
    return case, _figures(size, case, flops[PLAIN] / flops[OURS], flops[best] / medians[best] / rates[best])


def _figures(size: str, case: Case, bound: float, roofline: float) -> list[Figure]:
    if size == "vit_b_224":
        return [
            Figure(name="step_speedup_vit_b_gpu", value=case.ratio(FAST), least=8.0),
            Figure(name="step_roofline_vit_b_gpu", value=roofline, least=0.35),
        ]
    # ViT-S has its figures at 112 px, the size that every run measures; 224 px has names of its own
    name = {"tiny": "tiny", "vit_s_112": "vit_s", "vit_s_224": "vit_s_224"}[size]
    return [
        Figure(name=f"step_speedup_{name}", value=case.ratio(OURS), least=SPEEDUPS[size]),
        Figure(name=f"step_arithmetic_bound_{name}", value=bound),
        Figure(name=f"step_roofline_{name}", value=roofline if roofline > 0 else math.nan, least=ROOFLINES[size]),
    ]
