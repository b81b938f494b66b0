"""Weights from elsewhere: what is loaded, resized, left alone or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sefar.errors import CheckpointError
from sefar.models.granularity import SefarNet
from sefar.models.pretrained import IMAGENET, export_weights, load_pretrained, load_weights, read_weights
from sefar.models.timesformer import (
    ARCHITECTURES,
    Architecture,
    ModelConfig,
    resize_position_embedding,
    resize_time_embedding,
)


def tiny(frames: tuple[int, ...] = (2, 2, 4), classes: int = 5, seed: int = 0, **config: object) -> SefarNet:
    """A network none of whose values is that of another seed."""
    values = {"name": "vit_tiny", "pretrained": "none", "fusion_width": 32, **config}
    model = SefarNet(
        ModelConfig(**values),  # type: ignore[arg-type]
        image_size=32,
        frames_per_granularity=frames,
        num_classes=classes,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1, generator=generator)
    return model


def values_of(model: SefarNet) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


# Image ViTs


@pytest.mark.parametrize("name", ["vit_s", pytest.param("vit_b", marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_image_vit_of_a_local_file(name: str, suffix: str, tmp_path: Path) -> None:
    image = timm.create_model(IMAGENET[name], pretrained=False)
    with torch.no_grad():
        for parameter in image.parameters():
            parameter.add_(0.01)  # nothing stays at a value that ours may start from too
    state, path = image.state_dict(), tmp_path / f"image{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    config = ModelConfig(name=name, pretrained=str(path))
    model = SefarNet(config, image_size=96, frames_per_granularity=(2, 2, 4), num_classes=7)
    before = values_of(model)
    report = load_pretrained(model, config)
    assert report is not None
    after = model.state_dict()
    body = {f"vit.model.{key}": value for key, value in state.items() if not key.startswith("head.")}
    assert set(report.matched) == set(body)
    assert report.unexpected == [] and report.resized == ["vit.model.pos_embed"]
    pos_embed = body.pop("vit.model.pos_embed")
    assert torch.equal(after["vit.model.pos_embed"], resize_position_embedding(pos_embed, 6, "bicubic"))
    assert all(torch.equal(after[key], value) for key, value in body.items())
    # what an image ViT cannot know is what it was: time adds nothing yet, so a clip is its frames
    assert all(torch.equal(after[key], before[key]) for key in report.missing if key not in report.copied)
    # temporal attention starts as the spatial one of its block, as TimeSformer's
    assert set(report.copied) == {key for key in after if "temporal_attn" in key or "temporal_norm1" in key}
    assert all(torch.equal(after[key], after[key.replace("temporal_", "")]) for key in report.copied)
    assert {key for key in after if "temporal" in key or "time_embed" in key} <= set(report.missing)
    assert all(after[key].eq(0).all() for key in after if "temporal_fc" in key or "time_embed" in key)


def test_an_image_vit_of_another_size_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    state = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=12).state_dict()
    model = SefarNet(ModelConfig(name="vit_s"), image_size=32, frames_per_granularity=(2,), num_classes=7)
    before = values_of(model)
    with pytest.raises(CheckpointError, match=r"expected shape \(1, 1, 384\), got \(1, 1, 192\); are model\.name"):
        load_weights(model, state)
    odd = {**state, "pos_embed": torch.zeros(1, 12, 384)}  # neither a square grid nor ours
    odd["cls_token"] = torch.zeros(1, 1, 384)
    with pytest.raises(CheckpointError, match=r"pos_embed: expected shape \(1, 5, 384\), got \(1, 12, 384\)"):
        load_weights(model, odd)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# Time embeddings


def test_time_is_resized_linearly_between_the_middles_of_equal_intervals() -> None:
    two = torch.tensor([0.0, 4.0])[None, :, None]
    # middles at 1/4 and 3/4; four frames have theirs at 1/8, 3/8, 5/8, 7/8
    assert resize_time_embedding(two, 4).flatten().tolist() == [0, 1, 3, 4]
    assert resize_time_embedding(two, 1).flatten().tolist() == [2]
    four = torch.tensor([0.0, 2.0, 10.0, 20.0])[None, :, None]
    assert resize_time_embedding(four, 2).flatten().tolist() == [1, 15]
    assert resize_time_embedding(four[:, :1], 3).flatten().tolist() == [0, 0, 0]
    assert resize_time_embedding(four, 4) is four


def test_other_frame_counts_resize_time_and_load_the_rest() -> None:
    source, model = tiny((2, 2, 4), seed=1), tiny((2, 3, 8), seed=2)
    report = load_weights(model, source.state_dict())
    assert report.resized == ["vit.model.time_embed.1", "vit.model.time_embed.2"]
    assert not report.missing and not report.unexpected
    ours, theirs = model.encoder.time_embed, source.encoder.time_embed
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1][:, 1], theirs[1].mean(1))  # the middle frame lies midway between the two
    assert torch.equal(ours[2], resize_time_embedding(theirs[2], 8))


@pytest.mark.parametrize(("frames", "sources"), [((4, 2), (0, 2)), ((3, 5, 2, 1), (0, 0, 0, 2)), ((8,), (2,))])
def test_another_number_of_granularities_takes_time_by_role(frames: tuple[int, ...], sources: tuple[int, ...]) -> None:
    source, model = tiny((2, 2, 4), seed=1), tiny(frames, seed=2)
    before, state = values_of(model), source.state_dict()
    report = load_weights(model, state)
    after = model.state_dict()
    for g, (length, chosen) in enumerate(zip(frames, sources, strict=True)):
        expected = resize_time_embedding(source.encoder.time_embed[chosen], length)
        assert torch.equal(after[f"vit.model.time_embed.{g}"], expected), g
    resized = [g for g, (t, chosen) in enumerate(zip(frames, sources, strict=True)) if t != (2, 2, 4)[chosen]]
    assert report.resized == [f"vit.model.time_embed.{g}" for g in resized]
    # the fusion of all parts has another input; it alone starts untrained, and the report says so
    fresh = {"global_fusion.weight", "global_fusion.bias"}
    assert set(report.missing) == set(report.unexpected) == fresh
    assert all(torch.equal(after[key], before[key]) for key in fresh)
    for key in set(after) - fresh:
        assert "time_embed" in key or torch.equal(after[key], state[key]), key


def test_weights_without_fine_elements_give_the_context_alone() -> None:
    source, model = tiny((4,), seed=1), tiny((2, 3), seed=2)
    before = values_of(model)
    load_weights(model, source.state_dict())
    assert torch.equal(model.encoder.time_embed[0], before["vit.model.time_embed.0"])
    assert torch.equal(model.encoder.time_embed[1], resize_time_embedding(source.encoder.time_embed[0], 3))


# Whole or not at all


@pytest.mark.parametrize(
    "lost",
    [
        "vit.model.blocks.1.temporal_attn.qkv.weight",
        "vit.model.blocks.2.mlp.fc1.bias",
        "vit.model.pos_embed",
        "post_fusion1.bias",
        "fc.bias",
    ],
)
def test_a_partial_load_is_refused_and_changes_nothing(lost: str) -> None:
    state, model = values_of(tiny(seed=1)), tiny(seed=2)
    before = values_of(model)
    del state[lost]
    with pytest.raises(CheckpointError, match=f"lack 1 keys of the network, first '{lost}'; nothing was loaded"):
        load_weights(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_another_fusion_width_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"expected shape \(48, 192\), got \(32, 192\); .*model\.fusion_width"):
        load_weights(tiny(fusion_width=48), tiny(seed=1).state_dict())


def test_another_number_of_classes_leaves_the_classifier() -> None:
    source, model = tiny(seed=1), tiny(classes=9, seed=2)
    before = values_of(model)
    report = load_weights(model, source.state_dict())
    assert report.missing == report.unexpected == ["fc.weight", "fc.bias"]
    assert torch.equal(model.fc.weight, before["fc.weight"])
    assert torch.equal(model.ln3.weight, source.ln3.weight)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no weights", r"not a readable weight file \(\w+\); fetch it anew or give another"),
        (slice(1), r"not a readable weight file \(UnpicklingError\)"),  # torch tells of it in several lines
        ([torch.ones(1)], "expected weights by name, got list; give another file"),
        (None, "no such weight file; give a .safetensors or .pt file"),
    ],
)
def test_a_file_without_weights_is_named_in_one_line(content: object, text: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=text) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


# Export


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_export_loses_nothing(suffix: str, tmp_path: Path) -> None:
    source = tiny(seed=1)
    released = {f"module.{key}": value for key, value in source.state_dict().items()}  # as data parallel saves it
    torch.save({"model_state": released}, tmp_path / "released.pth")
    model = tiny(seed=2)
    report = load_weights(model, read_weights(tmp_path / "released.pth"))
    assert not report.missing and not report.unexpected and not report.resized
    export_weights(model, tmp_path / f"ours{suffix}")
    exported = read_weights(tmp_path / f"ours{suffix}")
    assert set(exported) == {key.removeprefix("module.") for key in released}
    assert all(torch.equal(value, released[f"module.{key}"]) for key, value in exported.items())


def test_released_names_and_values_come_back_as_they_were(
    parity_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "parity", Architecture(width=48, depth=2, heads=3))
    arrays = np.load(parity_dir / "model.npz")
    released = {k.removeprefix("state/"): torch.from_numpy(arrays[k]) for k in arrays if k.startswith("state/")}
    config = ModelConfig(name="parity", pretrained="none")
    model = SefarNet(config, image_size=224, frames_per_granularity=(2, 2, 4), num_classes=7)
    report = load_weights(model, released)
    assert set(report.matched) == set(released) and not report.missing
    export_weights(model, tmp_path / "out.safetensors")
    exported = load_file(tmp_path / "out.safetensors")
    assert set(exported) == set(released)
    assert all(
        torch.equal(value, released[key]) and value.dtype == released[key].dtype for key, value in exported.items()
    )


def test_export_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected the suffix \.safetensors, \.pt or \.pth, got '\.bin'"):
        export_weights(tiny(), tmp_path / "a.bin")
    for name in ("a.pt", "a.safetensors"):
        with pytest.raises(CheckpointError, match=rf"{name}: cannot be written"):
            export_weights(tiny(), tmp_path / "none" / name)
