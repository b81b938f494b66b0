"""The plain way and ours are the same step: equal losses, gradients and weights after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from sefar.config import TrainConfig
from sefar.models.granularity import SefarNet
from sefar.models.timesformer import Block
from sefar.training.trainer import Trainer
from studies.benchmarks.plain import make_plain, plain_attention, plain_block, plain_logits, plain_tokens
from studies.benchmarks.synthetic import step_config, synthetic_batch, synthetic_trainer


class GivenDropout(nn.Dropout):
    """Dropout whose masks are given: both ways draw as many numbers, but not in the same portions."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__(0.5)
        self.masks, self.taken = masks, 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        rows = x.flatten(0, -2)
        mask = self.masks[self.taken : self.taken + len(rows)]
        assert len(mask) == len(rows)
        self.taken += len(rows)
        return x * (2 * mask).view_as(x)


def config_of(size: str, **changes: object) -> TrainConfig:
    small = {"loader.labelled": 2, "model.drop_path": 0.0, "optim.epochs": 4, "optim.clip_norm": 0.0}
    return step_config(size, small | changes)


def both(config: TrainConfig, folder: Path, steps: int = 1) -> list[tuple[Trainer, list[dict[str, float]]]]:
    """Ours and the plain trainer after the same steps with the same dropout masks, and what each step reported."""
    found = []
    for plain in (False, True):
        trainer = synthetic_trainer(config, folder, classes=7)
        assert trainer.teacher is not None
        if plain:
            make_plain(trainer)
        parts: list[dict[str, float]] = []
        criterion = trainer.criterion

        def noting(*args, criterion=criterion, parts=parts):
            found = criterion(*args)
            parts.append({name: float(value) for name, value in found.parts.items()})
            return found

        trainer.criterion = noting
        for step in range(steps):
            generator = torch.Generator().manual_seed(step)
            for net, rows in ((trainer.student, 2 + 6 + 6), (trainer.teacher, config.teacher.passes * 6)):
                net.dropout = GivenDropout(torch.randint(0, 2, (rows, net.fc.in_features), generator=generator).float())
                net.dropout.train(net is trainer.student)
            trainer.train_step([synthetic_batch(config, seed=step, classes=7)])
            assert trainer.student.dropout.taken == 14
            assert trainer.teacher.dropout.taken == (6 * config.teacher.passes if config.teacher.passes > 1 else 0)
        found.append((trainer, parts))
    return found


@pytest.mark.parametrize("changes", [{}, {"mixing.prediction": "logits"}, {"mixing.partner": "per_granularity"},
                                     {"teacher.passes": 1}, {"perturb.kind": "shuffle_all"}], ids=str)  # fmt: skip
def test_a_step_has_the_losses_and_gradients_of_the_plain_way(tmp_path: Path, changes: dict[str, object]) -> None:
    (ours, our_parts), (plain, plain_parts) = both(config_of("tiny", **changes), tmp_path)
    assert our_parts[0]["unlabelled_loss"] > 0.01 and our_parts[0]["mixed_loss"] > 0
    for name, value in plain_parts[0].items():
        assert our_parts[0][name] == pytest.approx(value, abs=1e-5), name
    for (name, mine), theirs in zip(ours.student.named_parameters(), plain.student.parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, theirs.grad, rtol=1e-3, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_losses_of_many_steps_follow_the_same_curve(tmp_path: Path) -> None:
    (ours, our_parts), (plain, plain_parts) = both(config_of("tiny", **{"teacher.passes": 3}), tmp_path, steps=6)
    curves = [[step["total_loss"] for step in parts] for parts in (our_parts, plain_parts)]
    assert len(curves[0]) == 6 and curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert ours.teacher is not None and plain.teacher is not None
    for mine, theirs in zip(ours.teacher.parameters(), plain.teacher.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_vit_s_step_has_the_losses_of_the_plain_way(tmp_path: Path) -> None:
    config = config_of("vit_s_112", **{"views.size": 64, "views.short_side": (72, 88)})
    (_, our_parts), (_, plain_parts) = both(config, tmp_path)
    for name, value in plain_parts[0].items():
        assert our_parts[0][name] == pytest.approx(value, abs=1e-5), name


@torch.no_grad()
def test_the_plain_network_is_the_network(tmp_path: Path) -> None:
    config = config_of("tiny")
    net: SefarNet = synthetic_trainer(config, tmp_path, classes=7).student.eval()
    frames = torch.randn(3, 8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(plain_logits(net, plain_tokens(net, frames)), net(frames), rtol=1e-4, atol=1e-5)
    block = net.encoder.blocks[1]
    x, cls = torch.randn(2, 4, 16, 96), torch.randn(2, 96)
    for got, expected in zip(plain_block(block, cls, x), block(cls, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls_only", [False, True])
@pytest.mark.parametrize("kernels", [False, True])
def test_drop_path_drops_what_it_drops_the_plain_way(cls_only: bool, kernels: bool) -> None:
    torch.manual_seed(0)
    block = Block(48, 3, 2, 0.5).train()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    cls, x = torch.randn(8, 48, requires_grad=True), torch.randn(8, 4, 16, 48, requires_grad=True)
    found = []
    for way in (plain_block, lambda *given: block(*given[1:], cls_only)):
        torch.manual_seed(1)
        with torch.backends.mkldnn.flags(enabled=kernels):
            cls_after, x_after = way(block, cls, x)
            out = cls_after if cls_only else torch.cat([cls_after[:, None], x_after.flatten(1, 2)], 1)
            weight = torch.arange(out.numel()).reshape(out.shape).sin()
            found.append([out.detach(), *torch.autograd.grad((out * weight).sum(), (cls, x))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_attention_written_out_by_hand() -> None:
    attention = synthetic_attention()
    x = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    # one head of width 2, q = k = v = x: scores x xᵀ / √2, rows [1, 0] / √2 and [0, 4] / √2
    first, second = (torch.tensor(row) / 2**0.5 for row in ([1.0, 0.0], [0.0, 4.0]))
    expected = torch.stack([first.softmax(0) @ x[0], second.softmax(0) @ x[0]])[None]
    torch.testing.assert_close(plain_attention(attention, x), expected)


def synthetic_attention():
    from sefar.models.timesformer import Attention

    attention = Attention(2, 1)
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.eye(2).repeat(3, 1))
        attention.qkv.bias.zero_()
        attention.proj.weight.copy_(torch.eye(2))
        attention.proj.bias.zero_()
    return attention


def test_drop_path_is_on_where_it_is_timed(tmp_path: Path) -> None:
    trainer = synthetic_trainer(step_config("tiny"), tmp_path)
    assert any(isinstance(m, DropPath) and m.drop_prob > 0 for m in trainer.student.modules())
