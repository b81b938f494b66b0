"""One step: what goes through the network together equals what goes through it one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch
from timm.layers import DropPath
from torch import nn

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.models.granularity import SefarNet, normalise
from sefar.models.timesformer import Block
from sefar.ssl.mixing import Mix, mix_tokens
from sefar.ssl.teacher import make_teacher
from sefar.training.trainer import Trainer, derived_seed


@pytest.fixture
def trainer(tiny_config: TrainConfig, tiny_scope: Scope) -> Trainer:
    """A trainer at the start of its second epoch, with a teacher, and weights under which every part matters."""
    config = tiny_config.override({"optim.accumulate": 2, "optim.clip_norm": 0})
    trainer = Trainer(config, tiny_scope, device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainer.student.named_parameters():
            if name.endswith(("temporal_fc.weight", "fc.weight", "pos_embed", "cls_token")) or "time_embed" in name:
                parameter.normal_(std=0.2, generator=generator)
    trainer.teacher = cast(SefarNet, make_teacher(trainer.student))
    trainer.step = trainer.steps_per_epoch
    return trainer


def drawn(trainer: Trainer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Mix]:
    batch = trainer.source.batch(0, with_unlabelled=True)
    assert batch.strong_BTCHW is not None
    labelled, clean = normalise(batch.labelled_LTCHW), normalise(batch.strong_BTCHW)
    strong = clean * torch.tensor([1.0, 0.0, 1.25])[:, None, None]  # as after channel dropout
    mix = trainer.criterion.draw_mix(len(clean), torch.Generator().manual_seed(1))
    assert mix is not None
    return labelled, strong, clean, mix


@torch.no_grad()
def test_slices_of_the_one_forward_pass_equal_three_of_their_own(trainer: Trainer) -> None:
    labelled, strong, clean, mix = drawn(trainer)
    net = trainer.student.eval()
    logits = trainer.criterion.student_logits(labelled, strong, clean, mix, torch.arange(len(strong)))
    assert len(logits) == len(labelled) + 2 * len(strong)
    own, other = net.embed(strong), net.embed(clean)
    tokens = [mix_tokens(a, b, mix, g) for g, (a, b) in enumerate(zip(own, other, strict=True))]
    mixed = net.fc(net.features(tokens))
    expected = [net(labelled), net(strong), mixed]
    for ours, alone in zip(logits.split([len(labelled), len(strong), len(strong)]), expected, strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-5)
    # each way of taking the partner's clip from elsewhere would be seen
    for first, second in ((own, own), (other, own), (other, other)):
        tokens = [mix_tokens(a, b, mix, g) for g, (a, b) in enumerate(zip(first, second, strict=True))]
        assert (net.fc(net.features(tokens)) - mixed).abs().max() > 1e-3
    assert torch.equal(
        trainer.criterion.student_logits(labelled, strong, clean, None, torch.arange(len(strong))),
        net(torch.cat([labelled, strong])),
    )


def gradients(net: nn.Module) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in net.parameters()]


def test_accumulated_gradients_are_the_mean_of_the_parts(trainer: Trainer) -> None:
    batches = [trainer.source.batch(number, with_unlabelled=True) for number in (0, 1)]
    step, alone = trainer.step, []
    for part, batch in enumerate(batches):
        seed = derived_seed(trainer.config.seed, step, part)
        torch.manual_seed(seed + 1)
        trainer.student.zero_grad()
        generator = torch.Generator().manual_seed(seed)
        trainer.criterion(batch, trainer.teacher, trainer.epoch, generator).total.backward()
        alone.append(gradients(trainer.student))
    trainer.train_step(batches)
    assert trainer.step == step + 1
    together = gradients(trainer.student)
    assert max(float((a - b).abs().max()) for a, b in zip(*alone, strict=True)) > 1e-3
    for got, first, second in zip(together, *alone, strict=True):
        torch.testing.assert_close(got, (first + second) / 2, rtol=1e-4, atol=1e-6)


def test_two_half_batches_give_the_gradients_of_the_whole_where_losses_are_plain_means(trainer: Trainer) -> None:
    # the supervised loss is; with unlabelled clips partners and running means are of a micro-batch
    batch = trainer.source.batch(0, with_unlabelled=False)
    half = len(batch.label_L) // 2
    first = replace(batch, labelled_LTCHW=batch.labelled_LTCHW[:half], label_L=batch.label_L[:half])
    second = replace(batch, labelled_LTCHW=batch.labelled_LTCHW[half:], label_L=batch.label_L[half:])
    for module in trainer.student.modules():
        if isinstance(module, nn.Dropout | DropPath):
            module.p = module.drop_prob = 0.0  # masks are drawn per forward pass
    begun, step = {k: v.clone() for k, v in trainer.student.state_dict().items()}, trainer.step
    trainer.train_step([first, second])
    halves = gradients(trainer.student)
    trainer.student.load_state_dict(begun)
    trainer.step = step
    trainer.train_step([batch])
    for got, expected in zip(halves, gradients(trainer.student), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_clipping_shortens_the_gradient_and_keeps_its_direction(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    found = []
    for clip_norm in (0.0, 0.01, 1e6):
        trainer = Trainer(tiny_config.override({"optim.clip_norm": clip_norm}), tiny_scope, device="cpu")
        trainer.train_step([trainer.source.batch(0, with_unlabelled=False)])
        found.append(torch.cat([g.flatten() for g in gradients(trainer.student)]))
    free, short, untouched = found
    assert free.norm() > 0.1
    assert short.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), free / free.norm(), rtol=1e-4, atol=1e-6)
    assert torch.equal(untouched, free)


def test_recomputed_activations_give_the_same_gradients(
    tiny_config: TrainConfig, tiny_scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    forward = Block.forward
    monkeypatch.setattr(Block, "forward", lambda *args: (calls.append(1), forward(*args))[1])
    found = []
    for recompute in (False, True):
        config = tiny_config.override({"model.drop_path": 0.5, "model.checkpoint_activations": recompute})
        trainer = Trainer(config, tiny_scope, device="cpu")
        with torch.no_grad():
            for name, parameter in trainer.student.named_parameters():
                if name.endswith("temporal_fc.weight"):
                    parameter.fill_(0.01)
        calls.clear()
        trainer.train_step([trainer.source.batch(0, with_unlabelled=False)])
        found.append((len(calls), gradients(trainer.student)))
    (calls_kept, kept), (calls_recomputed, recomputed) = found
    assert calls_recomputed == 2 * calls_kept > 0
    # a drop path drawn anew in the backward pass would show
    assert all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True))
    assert any(bool(g.abs().max() > 1e-4) for g in kept)
