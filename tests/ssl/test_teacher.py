from __future__ import annotations

import pytest
import torch
from torch import nn

from sefar.models.granularity import SefarNet
from sefar.models.timesformer import ModelConfig
from sefar.ssl.teacher import TeacherConfig, ask, ema_update, make_teacher, pseudo_labels, stochastic_mode


def tiny_net(seed: int = 0) -> SefarNet:
    torch.manual_seed(seed)
    config = ModelConfig(name="vit_tiny", pretrained="none", fusion_width=32)
    model = SefarNet(config, image_size=32, frames_per_granularity=(1, 1, 2), num_classes=4)
    nn.init.normal_(model.fc.weight, std=0.3)
    return model.eval()


def test_pseudo_labels_by_hand() -> None:
    probs = torch.tensor([[[0.7, 0.3], [0.4, 0.6]], [[0.9, 0.1], [0.2, 0.8]]])
    said = pseudo_labels(probs)
    assert said.label_B.tolist() == [0, 1]
    torch.testing.assert_close(said.confidence_B, torch.tensor([0.8, 0.7]))
    torch.testing.assert_close(said.spread_B, torch.tensor([0.1 * 2**0.5, 0.1 * 2**0.5]))  # unbiased: n − 1


def test_one_pass_is_deterministic_and_has_no_spread() -> None:
    model, frames = tiny_net(), torch.randn(3, 4, 3, 32, 32)
    first = ask(model, frames, TeacherConfig(passes=1))
    second = ask(model, frames, TeacherConfig(passes=1))
    assert torch.equal(first.probs_BK, second.probs_BK)
    assert first.spread_B.eq(0).all()
    torch.testing.assert_close(first.probs_BK, model(frames).softmax(1).detach())


def test_head_passes_have_the_distribution_of_full_passes() -> None:
    model, frames, passes = tiny_net(), torch.randn(2, 4, 3, 32, 32), 3000
    config = TeacherConfig(passes=2)
    with torch.no_grad(), stochastic_mode(model, config):
        torch.manual_seed(1)
        cheap = model.head_passes(model.features(model.embed(frames)), passes).softmax(-1)
        torch.manual_seed(2)
        full = torch.stack([model(frames) for _ in range(300)]).softmax(-1)
    error = 4 * full.std(0) / 300**0.5
    assert ((cheap.mean(0) - full.mean(0)).abs() < error).all()
    torch.testing.assert_close(cheap.std(0), full.std(0), rtol=0.25, atol=0.01)


def test_backbone_mode_lets_drop_path_act() -> None:
    config = ModelConfig(name="vit_tiny", pretrained="none", fusion_width=32, drop_path=0.9, dropout=0.0)
    model = SefarNet(config, image_size=32, frames_per_granularity=(1, 1, 2), num_classes=4).eval()
    nn.init.normal_(model.fc.weight, std=0.3)
    frames = torch.randn(4, 4, 3, 32, 32)
    assert ask(model, frames, TeacherConfig(passes=5)).spread_B.max() < 1e-6
    assert ask(model, frames, TeacherConfig(passes=5, stochastic="backbone")).spread_B.max() > 1e-6
    assert not any(m.training for m in model.modules())


def test_backbone_mode_embeds_once_and_equals_whole_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(name="vit_tiny", pretrained="none", fusion_width=32, drop_path=0.5)
    model = SefarNet(config, image_size=32, frames_per_granularity=(1, 1, 2), num_classes=4).eval()
    nn.init.normal_(model.fc.weight, std=0.3)
    frames, teacher = torch.randn(4, 4, 3, 32, 32), TeacherConfig(passes=5, stochastic="backbone")
    with torch.no_grad(), stochastic_mode(model, teacher):
        torch.manual_seed(0)
        expected = pseudo_labels(torch.stack([model(frames) for _ in range(5)]).softmax(-1))
    calls, embed = [], model.embed
    monkeypatch.setattr(model, "embed", lambda x: calls.append(1) or embed(x))
    torch.manual_seed(0)
    said = ask(model, frames, teacher)
    assert torch.equal(said.probs_BK, expected.probs_BK) and torch.equal(said.spread_B, expected.spread_B)
    assert len(calls) == 1


def test_stochastic_mode_knows_modules_by_kind_not_by_name() -> None:
    class OurDropout(nn.Dropout):
        pass

    class DropPath(nn.Module):  # a stranger's, which may mean anything
        pass

    model = tiny_net()
    ours, stranger = OurDropout(0.5), DropPath()
    model.dropout, model.extra = ours, stranger
    model.eval()
    with stochastic_mode(model, TeacherConfig(stochastic="backbone")):
        assert ours.training and not stranger.training
    assert not ours.training
    with stochastic_mode(model, TeacherConfig(passes=1)):
        assert not ours.training


def test_ema_by_hand_and_independence_from_the_student() -> None:
    student = tiny_net()
    teacher = make_teacher(student)
    before = teacher.fc.weight.clone()
    with torch.no_grad():
        student.fc.weight.add_(1.0)
    assert torch.equal(teacher.fc.weight, before)
    ema_update(teacher, student, 0.75)
    torch.testing.assert_close(teacher.fc.weight, before + 0.25)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_decay_from_the_horizon() -> None:
    assert TeacherConfig(horizon_epochs=2).decay_per_step(50) == 1 - 1 / 100
    assert TeacherConfig(horizon_epochs=0).decay_per_step(50) == 0
    assert TeacherConfig(decay=0.9999).decay_per_step(50) == 0.9999
