"""The CPU's own kernels give what torch's functions give, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sefar.models import cpu_kernels
from sefar.models.linear import Linear, Mlp
from sefar.models.timesformer import Attention, Block, DividedSpaceTimeViT, ModelConfig
from studies.benchmarks.turns import threads


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(out: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Output and gradients under a fixed, uneven upstream gradient."""
    return [out.detach(), *torch.autograd.grad(out, inputs, random(*out.shape, seed=9))]


ROWS = 400  # enough for oneDNN, see cpu_kernels.FEW


@pytest.mark.parametrize("inside,outside", [(64, 96), (96, 64), (80, 80)])
@pytest.mark.parametrize("rows", [3, ROWS])
def test_linear_is_torchs_linear(rows: int, inside: int, outside: int) -> None:
    assert (4 * rows * inside > cpu_kernels.FEW) == (rows == ROWS)
    x, weight, bias = (random(*s).requires_grad_() for s in ((rows, 4, inside), (outside, inside), (outside,)))
    got = gradients(cpu_kernels.linear(x, weight, bias), x, weight, bias)
    assert got[0].is_contiguous()
    for ours, theirs in zip(got, gradients(F.linear(x, weight, bias), x, weight, bias), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_linear_of_many_rows_is_a_convolution_of_onednn(count: int) -> None:
    # a picture that torch does not take for channels last would be copied, and its products be made by a slower kernel
    x, weight, bias = random(ROWS, 64), random(96, 64).requires_grad_(), random(96)
    with threads(count), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        cpu_kernels.linear(x, weight, bias).sum().backward()
    names = {event.key for event in found.key_averages()}
    assert {"aten::mkldnn_convolution", "aten::convolution_backward"} <= names
    assert not names & {"aten::addmm", "aten::_slow_conv2d_forward", "aten::_slow_conv2d_backward"}


@pytest.mark.parametrize("length,width", [(17, 16), (1, 16), (cpu_kernels.SHORT + 1, 16)])
def test_attention_is_torchs_attention(length: int, width: int) -> None:
    q, k, v = (random(3, 2, length, width, seed=s).requires_grad_() for s in range(3))
    got = gradients(cpu_kernels.attention(q[:, :, :1], k, v), q, k, v)
    expected = gradients(F.scaled_dot_product_attention(q[:, :, :1], k, v), q, k, v)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_compiled_encoder_is_one_graph() -> None:
    torch.manual_seed(0)
    encoder = DividedSpaceTimeViT(ModelConfig(name="vit_tiny", pretrained="none"), 64, (2, 2, 4)).eval()
    tokens = [random(6, frames, 16, 96) for frames in (2, 2, 4)]
    assert tokens[0].numel() > cpu_kernels.FEW // 2
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), encoder(tokens), rtol=1e-4, atol=1e-5)


def test_linear_of_views_and_of_spread_out_gradients() -> None:
    whole, weight, bias = (random(*s).requires_grad_() for s in ((ROWS, 5, 64), (8, 64), (8,)))
    found = []
    for map_ in (cpu_kernels.linear, F.linear):
        out = map_(whole[:, :1], weight, bias)  # rows that lie apart; the mean's gradient has strides of zero
        found.append(torch.autograd.grad(out.mean((0, 1)).square().sum(), (whole, weight, bias)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_that_nobody_needs_are_not_made() -> None:
    x, weight, bias = random(ROWS, 64), random(2, 64).requires_grad_(), random(2)
    out = cpu_kernels.linear(x, weight, bias)
    out.sum().backward()
    assert x.grad is None and bias.grad is None and weight.grad is not None
    torch.testing.assert_close(weight.grad, x.sum(0).expand(2, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_attention_over_frames_is_softmax_attention(frames: int) -> None:
    qkv = random(2, frames, 5, 3, 2, 4).requires_grad_()
    q, k, v = (t.double() for t in qkv.permute(3, 0, 2, 4, 1, 5))  # (B, N, H, T, E)
    expected = ((q @ k.transpose(-2, -1) / 2).softmax(-1) @ v).permute(0, 3, 1, 2, 4).float()
    got = gradients(cpu_kernels.frame_attention(qkv), qkv)
    for ours, theirs in zip(got, gradients(expected, qkv), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_what_the_kernels_take() -> None:
    assert cpu_kernels.takes(random(2, 2))
    assert not cpu_kernels.takes(random(2, 2).double()) and not cpu_kernels.takes(random(2, 2).bfloat16())
    assert not cpu_kernels.takes(torch.empty(2, 2, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not cpu_kernels.takes(random(2, 2))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not cpu_kernels.takes(random(2, 2))


def test_a_linear_layer_takes_what_torchs_takes() -> None:
    torch.manual_seed(0)
    ours, theirs = Linear(4, 3), torch.nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    for x in (random(4), random(0, 4), random(2, 5, 4)):
        torch.testing.assert_close(ours(x), theirs(x))
    assert ours.double()(random(2, 4).double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert ours.float()(random(2, 4)).dtype == torch.bfloat16
    mlp = Mlp(4, 6)
    expected = F.linear(F.gelu(F.linear(random(5, 4), mlp.fc1.weight, mlp.fc1.bias)), mlp.fc2.weight, mlp.fc2.bias)
    torch.testing.assert_close(mlp(random(5, 4)), expected)


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_a_block_is_the_same_with_and_without_the_kernels(drop_path: float) -> None:
    torch.manual_seed(0)
    block = Block(48, 3, 2, drop_path)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    cls, x = random(8, 48).requires_grad_(), random(8, 4, 16, 48).requires_grad_()
    assert x.numel() > cpu_kernels.FEW
    found = []
    for enabled in (True, False):
        with torch.backends.mkldnn.flags(enabled=enabled):
            torch.manual_seed(1)
            cls_after, x_after = block(cls, x)
            inputs = (cls, x, *block.parameters())
            found.append(gradients(torch.cat([cls_after[:, None], x_after.flatten(1, 2)], 1), *inputs))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_temporal_projections_in_one_are_the_two_after_each_other() -> None:
    torch.manual_seed(0)
    block = Block(12, 3, 2, 0.5).train()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = random(4, 3, 5, 12)
    mixed = block.temporal_attn.mix_frames(block.temporal_norm1(x))
    torch.manual_seed(2)
    kept = block.drop_path(torch.ones(4 * 5)).view(4, 1, 5, 1)
    assert 0 < int((kept == 0).sum()) < kept.numel()
    expected = x + block.temporal_fc(kept * block.temporal_attn.proj(mixed))
    torch.manual_seed(2)
    torch.testing.assert_close(block._time(x), expected, rtol=1e-4, atol=1e-5)


def test_attention_gathers_frames_as_it_gathers_tokens() -> None:
    torch.manual_seed(0)
    attention, x = Attention(12, 3), random(2, 4, 5, 12)
    tokens = attention.mix(x.transpose(1, 2).reshape(10, 4, 12)).view(2, 5, 4, 12).transpose(1, 2)
    torch.testing.assert_close(attention.mix_frames(x), tokens, rtol=1e-5, atol=1e-6)
