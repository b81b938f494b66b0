"""Float32 kernels for CPUs: linear maps by oneDNN, and attention over few tokens.

torch multiplies float32 matrices on a CPU through MKL, which keeps to AVX2 on processors of other makers. Its
convolutions go through oneDNN, which takes what instructions there are; and a 1 × 1 convolution of tokens that lie one
behind the other (channels last) is a linear map of them. The results are those of `torch.nn.functional` up to the order
in which float32 sums are taken. GPUs, other precisions and compiled graphs never come here.

Shape suffixes: M rows, D width, K and O inputs and outputs of a linear map, B clips, T frames, N patches, H heads,
E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORT = 32  # tokens up to which softmax written out is the faster attention
FEW = 20480  # numbers of an input: torch keeps convolutions of a single picture of fewer from oneDNN


def takes(x: Tensor) -> bool:
    """Whether these kernels are for the tensor: float32 on a CPU, eager, outside autocast, oneDNN at hand."""
    return (
        not torch.compiler.is_compiling()  # first, for a compiler cannot look into what follows
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and bool(torch.backends.mkldnn.enabled)
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


def linear(x: Tensor, weight_OK: Tensor, bias_O: Tensor) -> Tensor:
    """`torch.nn.functional.linear` over the last axis, for what `takes` takes."""
    if x.numel() <= FEW:
        return F.linear(x, weight_OK, bias_O)
    rows_MK = x.reshape(-1, x.shape[-1]).contiguous()
    # as they lie, the rows are a channels-last picture (batch, channels, height, width) of one column
    pixels_1KM1 = rows_MK[None, :, None].permute(0, 3, 1, 2)
    # a kernel of one pixel has no gaps to widen, but torch takes undilated ones from oneDNN where it has one thread
    out_1OM1 = F.conv2d(pixels_1KM1, weight_OK[:, :, None, None], bias_O, dilation=(1, 2))
    return out_1OM1.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def attention(q_BHTE: Tensor, k_BHTE: Tensor, v_BHTE: Tensor) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`, (B, H, T, E), for what `takes` takes."""
    if k_BHTE.shape[-2] > SHORT:
        return F.scaled_dot_product_attention(q_BHTE, k_BHTE, v_BHTE)
    scores_BHTT = (q_BHTE @ k_BHTE.transpose(-2, -1)) * q_BHTE.shape[-1] ** -0.5
    return scores_BHTT.softmax(-1) @ v_BHTE


def _weighted_sum(weights: Sequence[Tensor], x_BTNHE: Tensor, out_BTNHE: Tensor) -> Tensor:
    """Fill `out` with the sum over frames t of weights[t] (B, T, N, H) · frame t of x, a pass over all of it each."""
    torch.mul(weights[0][..., None], x_BTNHE[:, :1], out=out_BTNHE)
    for frame, weight_BTNH in enumerate(weights[1:], 1):
        out_BTNHE.addcmul_(weight_BTNH[..., None], x_BTNHE[:, frame : frame + 1])
    return out_BTNHE


class _FrameAttention(torch.autograd.Function):
    """Softmax attention among the frames of each patch; a loop over key frames, each a pass over all tokens."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: float) -> Tensor:
        q, k, v = qkv.unbind(3)  # (B, T, N, H, E) each
        frames = q.shape[1]
        scores = torch.stack([(q * k[:, j : j + 1]).sum(-1) for j in range(frames)])  # (key frame, B, T, N, H)
        probs = scores.mul_(scale).softmax(0)
        out = _weighted_sum(probs.unbind(0), v, torch.empty_like(v, memory_format=torch.contiguous_format))
        ctx.save_for_backward(qkv, probs)
        ctx.scale = scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        qkv, probs = ctx.saved_tensors
        q, k, v = qkv.unbind(3)
        frames = q.shape[1]
        grad_qkv = torch.empty_like(qkv)
        grad_q, grad_k, grad_v = grad_qkv.unbind(3)
        grad_probs = torch.stack([(grad * v[:, j : j + 1]).sum(-1) for j in range(frames)])
        grad_scores = grad_probs.sub_((grad_probs * probs).sum(0)).mul_(probs).mul_(ctx.scale)
        _weighted_sum(grad_scores.unbind(0), k, grad_q)
        _weighted_sum([s.transpose(0, 1) for s in grad_scores.unbind(2)], q, grad_k)
        _weighted_sum([p.transpose(0, 1) for p in probs.unbind(2)], grad, grad_v)
        return grad_qkv, None


def frame_attention(qkv_BTN3HE: Tensor) -> Tensor:
    """Attention of each patch and head among its T frames, (B, T, N, H, E), tokens where they are."""
    return _FrameAttention.apply(qkv_BTN3HE, qkv_BTN3HE.shape[-1] ** -0.5)
