"""A written model of a step on 8, 64 and 512 GPUs. Nothing here is measured on a GPU.

Compute: the FLOPs of a step, counted, over a share of a card's nominal rate. Communication: a ring all-reduce moves
2 (n − 1) / n of the gradients' bytes through every link; it starts with the backward pass, which hides it up to its own
length (two thirds of the compute).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sefar.models.granularity import SefarNet
from studies.benchmarks.arithmetic import count_flops
from studies.benchmarks.findings import Case
from studies.benchmarks.synthetic import CLASSES, step_config

GPUS = (8, 64, 512)
INSIDE = 8  # GPUs of a node, joined by a fast link


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the model takes for granted; `docs/performance.md` says where from.

    Attributes:
        flops_per_clip: of a whole step, per labelled or unlabelled clip.
        gradient_bytes: that cross in a step.
        views_per_clip: that a process reads for each of its clips: of unlabelled ones the weak and the strong view, and
            the strong view of the clip that it is mixed with, which is mostly another process's.
        clips: per GPU and step, labelled and unlabelled.
        rate: FLOP/s that a GPU reaches.
        inside_bytes_per_second: of the link within a node, each way.
        between_bytes_per_second: of a GPU's share of the network between nodes, each way.
        latency_seconds: of a hop of the ring.
    """

    flops_per_clip: float
    gradient_bytes: float
    views_per_clip: float
    clips: int = 64
    rate: float = 0.35 * 990e12
    inside_bytes_per_second: float = 400e9
    between_bytes_per_second: float = 50e9
    latency_seconds: float = 5e-6


def compute_seconds(assumed: Assumptions) -> float:
    """A step's arithmetic on one GPU."""
    return assumed.flops_per_clip * assumed.clips / assumed.rate


def exchange_seconds(assumed: Assumptions, gpus: int) -> float:
    """A ring all-reduce of the gradients; the slowest link of the ring sets its pace."""
    bandwidth = assumed.inside_bytes_per_second if gpus <= INSIDE else assumed.between_bytes_per_second
    return 2 * (gpus - 1) / gpus * assumed.gradient_bytes / bandwidth + 2 * (gpus - 1) * assumed.latency_seconds


def step_seconds(assumed: Assumptions, gpus: int) -> float:
    """A step with what of the exchange the backward pass does not hide."""
    compute = compute_seconds(assumed)
    return compute + max(0.0, exchange_seconds(assumed, gpus) - 2 / 3 * compute)


def counted(size: str = "vit_b_224") -> Assumptions:
    """The work and the bytes of a network, counted on tensors without values.

    Args:
        size: a key of `SIZES`.
    """
    config = step_config(size)
    net = SefarNet(
        config.model,
        image_size=config.views.size,
        frames_per_granularity=config.sampling.frames_per_granularity,
        num_classes=CLASSES,
    ).to("meta")
    labelled, unlabelled = config.loader.labelled, config.loader.unlabelled

    def frames(clips: int) -> Tensor:
        return torch.empty(clips, sum(net.frames_per_granularity), 3, *2 * (config.views.size,), device="meta")

    def step() -> None:
        with torch.no_grad():
            net(frames(unlabelled))
        net(frames(labelled + 2 * unlabelled)).sum().backward()  # labelled, strong, mixed

    work = count_flops(step) / (labelled + unlabelled)
    return Assumptions(
        flops_per_clip=work,
        gradient_bytes=4 * sum(p.numel() for p in net.parameters()),
        views_per_clip=(labelled + 3 * unlabelled) / (labelled + unlabelled),
    )


def model_case(assumed: Assumptions | None = None) -> Case:
    """The model at 8, 64 and 512 GPUs, as a table beside the measured ones; of ViT-B at 224 px by default."""
    assumed = assumed or counted()
    names = {gpus: f"{gpus} GPUs" for gpus in GPUS}
    seconds = {name: [step_seconds(assumed, gpus)] for gpus, name in names.items()}
    efficiency = {n: f"{compute_seconds(assumed) / step_seconds(assumed, g):.0%}" for g, n in names.items()}
    exchange = {n: f"{1000 * exchange_seconds(assumed, g):.1f} ms" for g, n in names.items()}
    rate = {n: f"{g * assumed.clips / step_seconds(assumed, g):.0f}" for g, n in names.items()}
    views = {n: f"{assumed.views_per_clip * assumed.clips / step_seconds(assumed, g):.0f}" for g, n in names.items()}
    return Case(
        "MODEL, not measured: a step of ViT-B at 224 px with 64 clips a GPU",
        seconds,
        "step",
        names[GPUS[0]],
        notes=(
            f"Counted: {assumed.flops_per_clip / 1e9:.0f} GFLOP a clip and step, gradients of "
            f"{assumed.gradient_bytes / 1e6:.0f} MB. Assumed: {assumed.clips} clips a GPU, {assumed.rate / 1e12:.0f} "
            f"TFLOP/s of a GPU, {assumed.inside_bytes_per_second / 1e9:.0f} GB/s within a node of {INSIDE} and "
            f"{assumed.between_bytes_per_second / 1e9:.0f} GB/s a GPU between nodes.",
        ),
        columns={
            "clips/s": rate,
            "exchange of gradients": exchange,
            "efficiency": efficiency,
            "views read/s by a GPU": views,
        },
    )
