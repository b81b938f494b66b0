"""Float32 kernels for CPUs: matrix products by oneDNN, and attention over few frames without moving tokens.

torch multiplies float32 matrices on a CPU through MKL, which keeps to AVX2 on processors of other makers; oneDNN, which
torch has on board as well, takes what instructions there are. The results are those of `torch.nn.functional` up to the
order in which float32 sums are taken. GPUs, other precisions and compiled graphs never come here.

Shape suffixes: M rows, D width, K and O inputs and outputs of a linear map, B clips, T frames, N patches, H heads,
E width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def takes(x: Tensor) -> bool:
    """Whether these kernels are for the tensor: float32 on a CPU, eager, outside autocast, oneDNN at hand."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and bool(torch.backends.mkldnn.enabled)
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def product(x_MK: Tensor, weight_OK: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """X wᵀ + b; contiguous operands or transposes of such, for other strides oneDNN has but a slow reference."""
    return torch.ops.mkldnn._linear_pointwise(x_MK, weight_OK, bias_O, "none", [], "")


class _Linear(torch.autograd.Function):
    """`torch.nn.functional.linear` of rows."""

    @staticmethod
    def forward(ctx: Any, x_MK: Tensor, weight_OK: Tensor, bias_O: Tensor) -> Tensor:
        ctx.save_for_backward(x_MK, weight_OK)
        return product(x_MK, weight_OK, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MO: Tensor) -> tuple[Tensor | None, ...]:
        x_MK, weight_OK = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_MO, grad_weight = grad_MO.contiguous(), None
        if needs_weight:
            # the first operand is copied where it is a transpose: let it be the smaller
            narrow = x_MK.shape[1] < grad_MO.shape[1]
            grad_weight = product(x_MK.t(), grad_MO.t()).t() if narrow else product(grad_MO.t(), x_MK.t())
        return (
            product(grad_MO, weight_OK.t()) if needs_x else None,
            grad_weight,
            grad_MO.sum(0) if needs_bias else None,
        )


def linear(x: Tensor, weight_OK: Tensor, bias_O: Tensor) -> Tensor:
    """`torch.nn.functional.linear` over the last axis, for what `takes` takes."""
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    return _Linear.apply(rows, weight_OK.contiguous(), bias_O).view(*x.shape[:-1], -1)


class _FrameAttention(torch.autograd.Function):
    """Softmax attention among the frames of each patch; a loop over key frames, each a pass over all tokens."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: float) -> Tensor:
        q, k, v = qkv.unbind(3)  # (B, T, N, H, E) each
        frames = q.shape[1]
        scores = torch.stack([(q * k[:, j : j + 1]).sum(-1) for j in range(frames)])  # (key frame, B, T, N, H)
        probs = scores.mul_(scale).softmax(0)
        out = probs[0, ..., None] * v[:, :1]
        for j in range(1, frames):
            out.addcmul_(probs[j, ..., None], v[:, j : j + 1])
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
        torch.mul(grad_scores[0, ..., None], k[:, :1], out=grad_q)
        for j in range(frames):
            if j:
                grad_q.addcmul_(grad_scores[j, ..., None], k[:, j : j + 1])
            torch.sum(grad_scores[j, ..., None] * q, 1, out=grad_k[:, j])
            torch.sum(probs[j, ..., None] * grad, 1, out=grad_v[:, j])
        return grad_qkv, None


def frame_attention(qkv_BTN3HE: Tensor) -> Tensor:
    """Attention of each patch and head among its T frames, (B, T, N, H, E), tokens where they are."""
    return _FrameAttention.apply(qkv_BTN3HE, qkv_BTN3HE.shape[-1] ** -0.5)
