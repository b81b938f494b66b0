"""The loss of one micro-batch (METHOD.md §5): pseudo-labels, weights, strong view, mixing, one student forward pass.

Shape suffixes: L labelled clips, B unlabelled clips, T frames of all granularities, N patches, D width, K classes.
Small l and b: those of this process, where several train together.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sefar.config import TrainConfig
from sefar.data.augment import drop_channels
from sefar.data.loaders import Batch
from sefar.models.granularity import SefarNet, normalise
from sefar.ssl import objective
from sefar.ssl.mixing import Mix, draw_mix, mix_targets, mix_tokens
from sefar.ssl.perturb import perturb
from sefar.ssl.teacher import PseudoLabels, ask
from sefar.ssl.weighting import Weighting
from sefar.training.distributed import World, partners_of_share, places_of


@dataclass(frozen=True)
class StepLoss:
    """The loss of a micro-batch and what is reported of it.

    Attributes:
        total: what is minimised: scalar, float32, with gradient; of this process's clips.
        parts: scalars without gradient, named as in `EpochReport`; of this process's clips.
        said: the teacher's word on all B unlabelled clips; None in a supervised step.
        weight_B: their weights.
    """

    total: Tensor
    parts: dict[str, Tensor]
    said: PseudoLabels | None = None
    weight_B: Tensor | None = None


class Criterion:
    """Computes the loss of micro-batches.

    Args:
        config: the run.
        student: the network; its patches are mixed.
        forward: how it is called: the network itself, or wrapped for several processes.
        weighting: of the pseudo-labels; its running state moves with every call.
        autocast: makes the context of the networks' calls.
        world: the processes that train together.
    """

    def __init__(
        self,
        config: TrainConfig,
        student: SefarNet,
        forward: nn.Module,
        weighting: Weighting,
        *,
        autocast: Callable[[], AbstractContextManager[object]],
        world: World,
    ) -> None:
        self.config, self.student, self.forward = config, student, forward
        self.weighting, self.autocast, self.world = weighting, autocast, world
        self.frames = config.sampling.frames_per_granularity

    def __call__(self, batch: Batch, teacher: SefarNet | None, epoch: int, generator: torch.Generator) -> StepLoss:
        """The loss of a joined micro-batch; without a teacher or unlabelled clips the supervised one alone.

        Args:
            batch: on the device of the networks; of several processes, the share that this one needs.
            teacher: asked for pseudo-labels.
            epoch: 0-based, for the ramp.
            generator: of perturbation, channel dropout and mixing; dropout and drop path draw from the global stream.
        """
        self.student.train()
        labelled, label_l = normalise(batch.labelled_LTCHW), self.world.share(batch.label_L)
        if batch.weak_BTCHW is None or batch.strong_BTCHW is None or teacher is None:
            self.world.spread_seeds()
            with self.autocast():
                logits_lK = self.forward(labelled)
            loss = objective.supervised_loss(logits_lK, label_l)
            return StepLoss(
                loss, _detached(total_loss=loss, supervised_loss=loss, labelled_top1=_top1(logits_lK, label_l))
            )
        with self.autocast():
            said = ask(self.world.joint(teacher), normalise(batch.weak_BTCHW), self.config.teacher)
        weight_B = self.weighting.weights(said.confidence_B, said.spread_B, said.label_B)
        mix = self.draw_mix(len(weight_B), generator)
        clips = len(weight_B)
        strong, clean, rows_S = self.strong_views(batch, batch.strong_BTCHW, clips, generator)
        logits = self.student_logits(labelled, strong, clean, mix, rows_S)
        logits_lK, strong_bK = logits[: len(labelled)], logits[len(labelled) : len(labelled) + len(strong)]
        supervised = objective.supervised_loss(logits_lK, label_l)
        unlabelled = objective.unlabelled_loss(strong_bK, self.world.share(said.label_B), self.world.share(weight_B))
        mixed = torch.zeros_like(supervised)
        if mix is not None:
            target_bK, mixed_weight_b = map(self.world.share, mix_targets(said.probs_BK, weight_B, mix))
            mixed = objective.mixed_loss(
                logits[-len(strong) :], target_bK, mixed_weight_b, self.config.mixing.prediction
            )
        ramp = objective.ramp(epoch, self.config.optim.epochs, self.config.objective.warmup_epochs)
        total = objective.total_loss(supervised, unlabelled, mixed, self.config.objective, ramp)
        parts = _detached(
            total_loss=total,
            supervised_loss=supervised,
            unlabelled_loss=unlabelled,
            mixed_loss=mixed,
            labelled_top1=_top1(logits_lK, label_l),
        )
        return StepLoss(total, parts, said, weight_B)

    def strong_views(
        self, batch: Batch, strong_STCHW: Tensor, clips: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Own strong frames (b, T, C, H, W); all at hand without channel dropout, and which of `clips` they are of."""
        rows_S = own_b = torch.arange(clips)
        if batch.share is not None:
            rows_S, own_b = torch.from_numpy(batch.share.strong), self.world.share(own_b)
        clean = perturb(normalise(strong_STCHW), self.frames, self.config.perturb, generator, part=(rows_S, clips))
        # strong views of other processes' clips are there for the mixing alone
        own = clean if batch.share is None else clean[places_of(rows_S, clips)[own_b].to(clean.device)]
        strong = drop_channels(own, self.frames, self.config.views.channel_dropout, generator, part=(own_b, clips))
        return strong, clean, rows_S

    def draw_mix(self, clips: int, generator: torch.Generator) -> Mix | None:
        """Draw the mixing of the joined unlabelled clips; None where nothing is mixed."""
        if self.config.objective.gamma_mix == 0:
            return None
        return draw_mix(self.config.mixing, clips, len(self.frames), self.student.encoder.patches, generator)

    def student_logits(
        self, labelled: Tensor, strong: Tensor, clean_STCHW: Tensor, mix: Mix | None, rows_S: Tensor
    ) -> Tensor:
        """Logits of labelled, strong and, where there is a mix, mixed clips, from one forward pass.

        Args:
            labelled: own labelled frames (l, T, C, H, W).
            strong: own strong frames (b, T, C, H, W).
            clean_STCHW: strong frames without channel dropout, which partners are taken from.
            mix: the joined draw.
            rows_S: which of the joined clips they are of.
        """
        self.world.spread_seeds()
        if mix is None:
            with self.autocast():
                return self.forward(torch.cat([labelled, strong]))
        clips = len(strong)
        partners, own_mix = partners_of_share(clean_STCHW, rows_S, mix, self.frames, self.world)

        def mixed(tokens: list[Tensor]) -> list[Tensor]:
            out = []
            for g, tokens_BTND in enumerate(tokens):
                kept, own, other = tokens_BTND[:-clips], tokens_BTND[-2 * clips : -clips], tokens_BTND[-clips:]
                out.append(torch.cat([kept, mix_tokens(own, other, own_mix, g)]))
            return out

        with self.autocast():
            return self.forward(torch.cat([labelled, strong, partners]), mixed)


def _detached(**values: Tensor) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in values.items()}


def _top1(logits_BK: Tensor, label_B: Tensor) -> Tensor:
    return 100 * (logits_BK.detach().argmax(1) == label_B).float().mean()
