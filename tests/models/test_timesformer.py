"""What reaches what in the divided encoder, and in what order the fusion takes its parts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sefar.models.granularity import SefarNet
from sefar.models.timesformer import Block, ModelConfig, PatchEmbed

BATCH, FRAMES, PATCHES, WIDTH = 2, 3, 4, 12


def block(*, time: bool, space: bool) -> Block:
    """A block with random weights, one of its attentions without effect where it is off."""
    torch.manual_seed(0)
    made = Block(WIDTH, 3, 2, 0.0).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    for on, last in ((time, made.temporal_fc), (space, made.attn.proj)):
        if not on:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return made


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, WIDTH, generator=generator), torch.randn(
        BATCH, FRAMES, PATCHES, WIDTH, generator=generator
    )


@torch.no_grad()
def reached(made: Block) -> tuple[bool, set[tuple[int, ...]]]:
    """Whether the class token, and which (clip, frame, patch), move with clip 1, frame 0, patch 2."""
    cls_BD, x_BTND = inputs()
    other = x_BTND.clone()
    other[1, 0, 2] += torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))
    (cls_a, x_a), (cls_b, x_b) = made(cls_BD, x_BTND), made(cls_BD, other)
    assert torch.equal(cls_a[0], cls_b[0])
    moved = (x_a - x_b).abs().amax(-1) > 1e-5
    return bool((cls_a[1] - cls_b[1]).abs().max() > 1e-5), {tuple(place) for place in moved.nonzero().tolist()}


def test_time_reaches_the_same_patch_of_all_frames() -> None:
    cls_moves, moved = reached(block(time=True, space=False))
    assert moved == {(1, t, 2) for t in range(FRAMES)}
    assert not cls_moves


def test_space_reaches_all_patches_of_the_same_frame_and_the_class_token() -> None:
    cls_moves, moved = reached(block(time=False, space=True))
    assert moved == {(1, 0, n) for n in range(PATCHES)}
    assert cls_moves


@torch.no_grad()
def test_the_class_token_takes_the_mean_over_frames() -> None:
    made = block(time=False, space=True)
    cls_BD, x_BTND = inputs()
    expected = torch.stack(
        [made.attn(made.norm1(torch.cat([cls_BD[:, None], x_BTND[:, t]], 1)))[:, 0] for t in range(3)]
    )
    moved_BD = cls_BD + expected.mean(0)
    moved_BD = moved_BD + made.mlp(made.norm2(moved_BD))
    torch.testing.assert_close(made(cls_BD, x_BTND)[0], moved_BD)
    torch.testing.assert_close(made(cls_BD, x_BTND, cls_only=True)[0], moved_BD)


@torch.no_grad()
def test_patches_go_along_rows_first() -> None:
    embed, frame = PatchEmbed(16, WIDTH), torch.zeros(1, 3, 32, 48)
    before = embed(frame)
    frame[:, :, :16, 32:] = 1  # the last of the first row of three
    assert ((embed(frame) - before).abs().amax(-1) > 1e-5).tolist() == [[False, False, True, False, False, False]]


def network(frames: tuple[int, ...] = (2, 2, 4)) -> SefarNet:
    torch.manual_seed(0)
    config = ModelConfig(name="vit_tiny", pretrained="none", fusion_width=6)
    model = SefarNet(config, image_size=32, frames_per_granularity=frames, num_classes=5).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("g", range(3))
@torch.no_grad()
def test_each_granularity_has_its_time_embedding_and_its_frames(g: int) -> None:
    model, frames = network(), torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    before = model.encoder.encode(model.embed(frames))
    other = frames.clone()
    other[:, (0, 2, 4)[g]] += 1
    by_frame = (model.encoder.encode(model.embed(other)) - before).abs().amax((1, 2)) > 1e-5
    model.encoder.time_embed[g].add_(torch.randn(model.encoder.time_embed[g].shape))
    by_embedding = (model.encoder.encode(model.embed(frames)) - before).abs().amax((1, 2)) > 1e-5
    assert by_frame.tolist() == by_embedding.tolist() == [g == i for i in range(3)]


@torch.no_grad()
def test_fusion_takes_pairs_01_02_12_then_singles() -> None:
    model = network()
    x, y, z = cls_GBD = torch.randn(3, 2, 96, generator=torch.Generator().manual_seed(1))

    def pair(first: Tensor, second: Tensor) -> Tensor:
        return F.layer_norm(
            F.gelu(torch.cat([first, second], 1) @ model.post_fusion1.weight.T + model.post_fusion1.bias),
            (6,),
            model.ln1.weight,
            model.ln1.bias,
        )

    def single(one: Tensor) -> Tensor:
        inner = F.gelu(one @ model.post_fusion0.weight.T + model.post_fusion0.bias)
        return F.layer_norm(inner, (6,), model.ln2.weight, model.ln2.bias)

    parts = torch.cat([pair(x, y), pair(x, z), pair(y, z), single(x), single(y), single(z)], 1)
    inner = F.gelu(parts @ model.global_fusion.weight.T + model.global_fusion.bias)
    expected = F.layer_norm(inner, (6,), model.ln3.weight, model.ln3.bias)
    torch.testing.assert_close(model.fuse(cls_GBD), expected, rtol=1e-4, atol=1e-5)
