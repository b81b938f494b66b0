"""Learning rates: of a layer, of what starts untrained, of a step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sefar.errors import ConfigError
from sefar.models.granularity import SefarNet
from sefar.models.pretrained import FRESH_AFTER_IMAGE
from sefar.models.timesformer import ModelConfig
from sefar.training.schedule import OptimConfig, build_optimiser, layer_of, set_learning_rate

# depth 3, so four layers above the embeddings; decay ½; what image weights lack learns ten times as fast
FACTORS = {
    "vit.model.cls_token": 1 / 16,
    "vit.model.pos_embed": 1 / 16,
    "vit.model.patch_embed.layers.0.weight": 1 / 16,
    "vit.model.time_embed.2": 10 / 16,
    "vit.model.blocks.0.attn.qkv.weight": 1 / 8,
    "vit.model.blocks.0.temporal_fc.bias": 10 / 8,
    "vit.model.blocks.1.norm2.weight": 1 / 4,
    "vit.model.blocks.2.mlp.fc1.weight": 1 / 2,
    "vit.model.blocks.2.temporal_norm1.bias": 10 / 2,
    "vit.model.norm.weight": 1,
    "post_fusion1.weight": 10,
    "global_fusion.bias": 10,
    "ln3.weight": 10,
    "fc.weight": 10,
}


def network() -> SefarNet:
    config = ModelConfig(name="vit_tiny", pretrained="none", fusion_width=8)
    return SefarNet(config, image_size=32, frames_per_granularity=(2, 2, 4), num_classes=3)


def rates(config: OptimConfig, model: nn.Module) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter by name."""
    fresh = [n for n, _ in model.named_parameters() if any(part in n for part in FRESH_AFTER_IMAGE)]
    optimiser = build_optimiser(config, model, fresh=fresh)
    set_learning_rate(optimiser, config, 0, 10)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        names[id(p)]: (group["lr"], group["weight_decay"]) for group in optimiser.param_groups for p in group["params"]
    }
    assert set(found) == set(names.values())
    return found


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_layer_decay_by_hand(optimiser: str) -> None:
    config = OptimConfig(optimiser=optimiser, learning_rate=0.016, layer_decay=0.5, fresh_rate=10.0, weight_decay=0.3)
    found = rates(config, network())
    for name, factor in FACTORS.items():
        assert found[name][0] == pytest.approx(0.016 * factor), name
    # the decay of weights does not hang on the layer
    undecayed = {
        "vit.model.cls_token",
        "vit.model.pos_embed",
        "vit.model.time_embed.2",
        "ln3.weight",
        "global_fusion.bias",
    }
    for name in FACTORS:
        spared = optimiser == "adamw" and (name in undecayed or name.endswith("bias") or "norm" in name)
        assert found[name][1] == (0 if spared else 0.3), name


def test_without_layer_decay_there_are_two_rates() -> None:
    found = rates(OptimConfig(fresh_rate=10.0), network())
    assert {lr for lr, _ in found.values()} == {0.005, 0.05}
    assert {lr for lr, _ in rates(OptimConfig(), network()).values()} == {0.005}


def test_a_step_moves_each_layer_by_its_rate() -> None:
    model = network()
    config = OptimConfig(learning_rate=0.1, layer_decay=0.5, momentum=0.0, weight_decay=0.0)
    optimiser = build_optimiser(config, model, fresh=())
    set_learning_rate(optimiser, config, 9, 10)  # past both milestones of the paper's schedule
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    for name, parameter in model.named_parameters():
        expected = 0.1 * 0.1 * 0.5 ** (4 - layer_of(name, 3))
        torch.testing.assert_close(before[name] - parameter, torch.full_like(parameter, expected), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, -0.5, 1.01])
def test_layer_decay_has_a_range(value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^optim\.layer_decay: expected a number in \(0, 1\], got {value}$"):
        OptimConfig(layer_decay=value)
