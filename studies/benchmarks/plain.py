"""The plain way to take a step: what the released code does, for comparison and as a test oracle.

Labelled, strong and mixed clips go through the student one after another, each granularity by itself; the teacher runs
whole for each of its S passes; attention is an explicit softmax; every patch token is carried to the end; all in
float32. Draws are those of `Criterion`, from the same generator in the same order, so that losses can be compared.

Shape suffixes: B clips, G granularities, T frames, C channels, H, W pixels, N patches, D width, K classes, S passes,
L labelled clips, M sequences of a flat batch.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sefar.data.augment import drop_channels
from sefar.data.batch import Batch
from sefar.models.granularity import SefarNet, normalise
from sefar.models.timesformer import Attention, Block
from sefar.ssl import objective
from sefar.ssl.mixing import Mix, draw_mix
from sefar.ssl.perturb import perturb
from sefar.ssl.teacher import PseudoLabels, stochastic_mode
from sefar.training.step import Criterion, StepLoss
from sefar.training.trainer import Trainer
from studies.benchmarks.arithmetic import count_flops


def plain_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """X wᵀ + b as torch has it."""
    return F.linear(x, layer.weight, layer.bias)


def plain_attention(attention: Attention, x_MTD: Tensor) -> Tensor:
    """Multi-head self-attention as softmax(q kᵀ / √d) v, written out."""
    length, width = x_MTD.shape[1:]
    heads = attention.heads
    qkv = plain_linear(attention.qkv, x_MTD).reshape(-1, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    probs = ((q @ k.transpose(-2, -1)) * (width // heads) ** -0.5).softmax(-1)
    return plain_linear(attention.proj, (probs @ v).transpose(1, 2).reshape(-1, length, width))


def plain_block(block: Block, cls_BD: Tensor, x_BTND: Tensor) -> tuple[Tensor, Tensor]:
    """Time, space and MLP of a divided block, with all tokens."""
    batch, frames, patches, width = x_BTND.shape
    t = x_BTND.transpose(1, 2).reshape(batch * patches, frames, width)
    t = block.drop_path(plain_attention(block.temporal_attn, block.temporal_norm1(t)))
    x_BTND = x_BTND + plain_linear(block.temporal_fc, t).view(batch, patches, frames, width).transpose(1, 2)
    s = torch.cat([cls_BD[:, None, None].expand(-1, frames, -1, -1), x_BTND], 2).flatten(0, 1)
    s = block.drop_path(plain_attention(block.attn, block.norm1(s))).unflatten(0, (batch, frames))
    z_BLD = torch.cat([(cls_BD + s[:, :, 0].mean(1))[:, None], (x_BTND + s[:, :, 1:]).flatten(1, 2)], 1)
    hidden = F.gelu(plain_linear(block.mlp.fc1, block.norm2(z_BLD)))
    z_BLD = z_BLD + block.drop_path(plain_linear(block.mlp.fc2, hidden))
    return z_BLD[:, 0], z_BLD[:, 1:].unflatten(1, (frames, patches))


def plain_tokens(net: SefarNet, frames_BTCHW: Tensor) -> list[Tensor]:
    """Patch tokens (B, T_g, N, D), one granularity after another."""
    return [net.encoder.embed(part) for part in frames_BTCHW.split(net.frames_per_granularity, 1)]


def plain_logits(net: SefarNet, tokens: list[Tensor]) -> Tensor:
    """Logits (B, K) of patch tokens."""
    encoder, cls_GBD = net.encoder, []
    for g, x in enumerate(tokens):
        cls_BD = (encoder.cls_token[:, 0] + encoder.pos_embed[:, 0]).expand(len(x), -1)
        x_BTND = x + encoder.pos_embed[:, None, 1:] + encoder.time_embed[g][:, :, None]
        for block in encoder.blocks:
            cls_BD, x_BTND = plain_block(cast(Block, block), cls_BD, x_BTND)
        cls_GBD.append(encoder.norm(cls_BD))
    return net.fc(net.dropout(net.fuse(torch.stack(cls_GBD))))


def plain_mixed(net: SefarNet, strong_BTCHW: Tensor, clean_BTCHW: Tensor, mix: Mix) -> Tensor:
    """Logits (B, K) of clips whose tokens outside the tube mask are those of their partner."""
    tokens = []
    for g, (own, other) in enumerate(zip(plain_tokens(net, strong_BTCHW), plain_tokens(net, clean_BTCHW), strict=True)):
        mask_N1 = mix.tube_mask_GN[g].to(own)[:, None]
        tokens.append(own * mask_N1 + other[mix.partner_GB[g].to(own.device)] * (1 - mask_N1))
    return plain_logits(net, tokens)


class PlainCriterion(Criterion):
    """The loss of a micro-batch, the plain way; one process, float32."""

    def ask_plainly(self, teacher: SefarNet, weak_BTCHW: Tensor) -> PseudoLabels:
        """What the teacher says, from S passes of all of it."""
        passes = self.config.teacher.passes
        with torch.no_grad(), stochastic_mode(teacher, self.config.teacher):
            probs_SBK = torch.stack(
                [plain_logits(teacher, plain_tokens(teacher, weak_BTCHW)).softmax(-1) for _ in range(passes)]
            )
        probs_BK = probs_SBK.mean(0)
        confidence_B, label_B = probs_BK.max(1)
        of_label_SB = probs_SBK[:, torch.arange(len(label_B), device=label_B.device), label_B]
        spread_B = of_label_SB.std(0) if passes > 1 else torch.zeros_like(confidence_B)
        return PseudoLabels(probs_BK, label_B, confidence_B, spread_B)

    def __call__(self, batch: Batch, teacher: SefarNet | None, epoch: int, generator: torch.Generator) -> StepLoss:
        """As `Criterion`; only with unlabelled clips and a teacher."""
        assert teacher is not None and batch.weak_BTCHW is not None and batch.strong_BTCHW is not None
        config, student = self.config, self.student
        student.train()
        said = self.ask_plainly(teacher, normalise(batch.weak_BTCHW))
        weight_B = self.weighting.weights(said.confidence_B, said.spread_B, said.label_B)
        mix = draw_mix(config.mixing, len(weight_B), len(self.frames), student.encoder.patches, generator)
        clean = perturb(normalise(batch.strong_BTCHW), self.frames, config.perturb, generator)
        strong = drop_channels(clean, self.frames, config.views.channel_dropout, generator)
        logits_LK = plain_logits(student, plain_tokens(student, normalise(batch.labelled_LTCHW)))
        strong_BK = plain_logits(student, plain_tokens(student, strong))
        mixed_BK = plain_mixed(student, strong, clean, mix)
        supervised = F.cross_entropy(logits_LK, batch.label_L)
        unlabelled = (weight_B * F.cross_entropy(strong_BK, said.label_B, reduction="none")).mean()
        r, partner_B = mix.ratio, mix.partner_GB[-1].to(weight_B.device)
        q_BK = mixed_BK.softmax(-1) if config.mixing.prediction == "probs" else mixed_BK
        target_BK = r * said.probs_BK + (1 - r) * said.probs_BK[partner_B]
        mixed_weight_B = r * weight_B + (1 - r) * weight_B[partner_B]
        mixed = (mixed_weight_B * ((q_BK - target_BK) ** 2).mean(1)).mean()
        ramp = objective.ramp(epoch, config.optim.epochs, config.objective.warmup_epochs)
        gammas = config.objective
        total = supervised + ramp * (gammas.gamma_unlabelled * unlabelled + gammas.gamma_mix * mixed)
        losses = {"total": total, "supervised": supervised, "unlabelled": unlabelled, "mixed": mixed}
        parts = {f"{name}_loss": loss.detach() for name, loss in losses.items()}
        parts["labelled_top1"] = 100 * (logits_LK.detach().argmax(1) == batch.label_L).float().mean()
        return StepLoss(total, parts, said, weight_B)


def plain_flops(trainer: Trainer) -> int:
    """FLOPs of a step, the plain way, counted on tensors without values: it would take long, and slowly at that."""
    config, net = trainer.config, copy.deepcopy(trainer.student).to("meta")
    labelled, unlabelled = config.loader.labelled, config.loader.unlabelled
    size = config.views.size

    def frames(clips: int) -> Tensor:
        return torch.empty(clips, sum(net.frames_per_granularity), 3, size, size, device="meta")

    def student() -> None:
        for clips in (labelled, unlabelled):
            plain_logits(net, plain_tokens(net, frames(clips))).sum().backward()
        strong, clean = (plain_tokens(net, frames(unlabelled)) for _ in range(2))
        plain_logits(net, [own + other for own, other in zip(strong, clean, strict=True)]).sum().backward()

    @torch.no_grad()
    def teacher() -> None:
        plain_logits(net, plain_tokens(net, frames(unlabelled)))

    return count_flops(student) + config.teacher.passes * count_flops(teacher)


def make_plain(trainer: Trainer) -> Trainer:
    """Let a trainer take its steps the plain way."""
    old = trainer.criterion
    trainer.criterion = PlainCriterion(
        trainer.config, old.student, cast(nn.Module, old.student), old.weighting, autocast=old.autocast, world=old.world
    )
    for group in trainer.optimiser.param_groups:
        group["fused"] = group["foreach"] = False
    return trainer
