"""The network and the objective against numbers from the released code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sefar.models.granularity import SefarNet
from sefar.models.pretrained import load_weights
from sefar.models.timesformer import ARCHITECTURES, Architecture, ModelConfig
from sefar.ssl import objective
from sefar.ssl.mixing import Mix, mix_targets, mix_tokens
from sefar.ssl.teacher import pseudo_labels
from sefar.ssl.weighting import WeightingConfig, build_weighting

FRAMES = (2, 2, 4)


@pytest.fixture()
def release(parity_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    monkeypatch.setitem(ARCHITECTURES, "parity", Architecture(width=48, depth=2, heads=3))
    return dict(np.load(parity_dir / "model.npz"))


def network(release: dict[str, np.ndarray], size: int) -> SefarNet:
    config = ModelConfig(name="parity", pretrained="none", position_resize="nearest")
    model = SefarNet(config, image_size=size, frames_per_granularity=FRAMES, num_classes=7)
    state = {k.removeprefix("state/"): torch.from_numpy(v) for k, v in release.items() if k.startswith("state/")}
    report = load_weights(model, state, position_resize="nearest")
    assert not report.missing and not report.unexpected
    assert report.resized == ([] if size == 224 else ["vit.model.pos_embed"])
    return model.eval()


def clips(batch: int, size: int, offset: float) -> torch.Tensor:
    """The release's inputs, (B, C, T, H, W) per granularity, as our (B, T, C, H, W)."""
    parts = []
    for g, t in enumerate(FRAMES):
        n = batch * 3 * t * size * size
        clip = np.sin(0.37 * np.arange(n, dtype=np.float64) + offset + g).reshape(batch, 3, t, size, size)
        parts.append(torch.from_numpy(clip.astype(np.float32)).transpose(1, 2))
    return torch.cat(parts, 1)


@pytest.mark.parametrize("size", [224, 96])
@torch.no_grad()
def test_class_tokens_and_logits(release: dict[str, np.ndarray], size: int) -> None:
    model = network(release, size)
    frames = clips(2, size, 0)
    cls_tokens = model.encoder.encode(model.embed(frames))
    np.testing.assert_allclose(cls_tokens.numpy(), release[f"cls_tokens_{size}"], atol=1e-5)
    np.testing.assert_allclose(model(frames).numpy(), release[f"logits_{size}"], atol=1e-5)


@torch.no_grad()
def test_mixed_logits(release: dict[str, np.ndarray]) -> None:
    model = network(release, 96)
    partner = torch.from_numpy(release["mix_partner_B"]).expand(3, -1)
    mix = Mix(0.5, torch.from_numpy(release["mix_masks_GN"]).bool(), partner)
    logits = model(clips(3, 96, 10), lambda tokens: [mix_tokens(own, own, mix, g) for g, own in enumerate(tokens)])
    np.testing.assert_allclose(logits.numpy(), release["mix_logits_96"], atol=1e-5)


def test_objective(parity_dir: Path) -> None:
    z = {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(parity_dir / "objective.npz").items()}
    said = pseudo_labels(z["teacher_probs_SBK"])
    assert said.label_B.tolist() == z["pseudo_label_B"].tolist()
    np.testing.assert_allclose(said.confidence_B, z["confidence_B"], atol=1e-6)
    np.testing.assert_allclose(said.spread_B, z["spread_B"], atol=1e-6)
    weight = build_weighting(WeightingConfig(), 7).weights(said.confidence_B, said.spread_B, said.label_B)
    np.testing.assert_allclose(weight, z["weight_B"], atol=1e-6)
    mix = Mix(float(z["mix_ratio"]), torch.zeros(1, 1, dtype=torch.bool), z["mix_partner_B"][None])
    target, mixed_weight = mix_targets(said.probs_BK, weight, mix)
    np.testing.assert_allclose(target, z["mixed_target_BK"], atol=1e-6)
    np.testing.assert_allclose(mixed_weight, z["mixed_weight_B"], atol=1e-6)
    supervised = objective.supervised_loss(z["labelled_logits_LK"], z["labels_L"])
    unlabelled = objective.unlabelled_loss(z["student_logits_BK"], said.label_B, weight)
    mixed = objective.mixed_loss(z["mixed_logits_BK"], target, mixed_weight, "logits")
    for ours, name in ((supervised, "supervised"), (unlabelled, "unsupervised"), (mixed, "mixed")):
        np.testing.assert_allclose(ours, z[f"loss_{name}"], atol=1e-6, rtol=1e-6)
    ramps = [objective.ramp(e, 30, 5) for e in range(5, 30)]
    np.testing.assert_allclose(ramps, z["ramp_epochs_5_to_29_of_30"], atol=1e-6)
    config = objective.ObjectiveConfig(gamma_unlabelled=2, gamma_mix=2)
    total = objective.total_loss(supervised, unlabelled, mixed, config, objective.ramp(17, 30, 5))
    np.testing.assert_allclose(total, z["total_loss_at_epoch_17"], atol=1e-6, rtol=1e-6)


def test_regulation_weight_grid(parity_dir: Path) -> None:
    z = np.load(parity_dir / "objective.npz")
    confidence, spread = np.meshgrid(z["grid_confidence"], z["grid_spread"], indexing="ij")
    scheme = build_weighting(WeightingConfig(), 7)
    flat = [torch.from_numpy(a.ravel()) for a in (confidence, spread)]
    weight = scheme.weights(*flat, torch.zeros(flat[0].shape, dtype=torch.int64))
    np.testing.assert_allclose(weight.view(confidence.shape), z["grid_weight"], atol=1e-6)


def test_vit_s_has_the_published_size() -> None:
    model = SefarNet(
        ModelConfig(name="vit_s", pretrained="none"),
        image_size=224,
        frames_per_granularity=FRAMES,
        num_classes=99,
    )
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 31.26


def test_tiny_encoder_is_tiny() -> None:
    model = SefarNet(ModelConfig(name="vit_tiny"), image_size=64, frames_per_granularity=FRAMES, num_classes=12)
    assert 0.35e6 < sum(p.numel() for p in model.encoder.parameters()) < 0.5e6
    assert not [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
