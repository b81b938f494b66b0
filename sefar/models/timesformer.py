"""Divided space-time encoder: TimeSformer blocks (arXiv 2102.05095) over patch or convolutional tokens.

Parameter names are the release's (``model.blocks.0.temporal_attn.qkv.weight``), so that its checkpoints, and ImageNet
ViT weights, load by name.

Shape suffixes: B clips, M frames of a flat batch, T frames, C channels, H, W pixels, N patches, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sefar.errors import ConfigError, nearest
from sefar.models import cpu_kernels
from sefar.models.linear import Linear, Mlp, linear


@dataclass(frozen=True)
class Architecture:
    """Size of an encoder: width D, depth, heads, patch in pixels, stem (``patch`` or ``conv``), MLP width over D."""

    width: int
    depth: int
    heads: int
    patch: int = 16
    stem: str = "patch"
    mlp_ratio: int = 4


ARCHITECTURES = {
    "vit_tiny": Architecture(width=96, depth=3, heads=3, stem="conv", mlp_ratio=2),
    "vit_s": Architecture(width=384, depth=12, heads=6),
    "vit_b": Architecture(width=768, depth=12, heads=12),
}
RESIZES = ("bicubic", "nearest")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network.

    Attributes:
        name: a key of `ARCHITECTURES`.
        pretrained: ``embedded`` (shipped weights of vit_tiny), ``imagenet`` (timm), a local file, or ``none``.
        fusion_width: width of the granularity fusion.
        dropout: of the classifier; what is stochastic in the teacher's head passes.
        drop_path: of the last block; rises linearly from 0 over the depth.
        position_resize: how position embeddings of another grid are resized: ``bicubic``, or ``nearest`` (release).
        checkpoint_activations: recompute activations in the backward pass to save memory.
        freeze_patch_embed: keep the patch embedding as it starts (MoCo v3, arXiv 2104.02057), which steadies training
            and saves its backward pass.
    """

    name: str = "vit_s"
    pretrained: str = "imagenet"
    fusion_width: int = 256
    dropout: float = 0.5
    drop_path: float = 0.1
    position_resize: str = "bicubic"
    checkpoint_activations: bool = False
    freeze_patch_embed: bool = False

    def __post_init__(self) -> None:
        if self.name not in ARCHITECTURES:
            raise ConfigError(f"model.name: '{self.name}' is unknown{nearest(self.name, ARCHITECTURES)}")
        if self.position_resize not in RESIZES:
            raise ConfigError(
                f"model.position_resize: '{self.position_resize}' is unknown{nearest(self.position_resize, RESIZES)}"
            )
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: expected a probability in [0, 1), got {getattr(self, name)}")
        if self.fusion_width < 1:
            raise ConfigError(f"model.fusion_width: expected an integer ≥ 1, got {self.fusion_width}")


class PatchEmbed(nn.Module):
    """Non-overlapping patches, linearly projected: frames (M, C, H, W) → tokens (M, N, D)."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, frames_MCHW: Tensor) -> Tensor:
        """Project each patch."""
        return self.proj(frames_MCHW).flatten(2).transpose(1, 2)


class ConvStem(nn.Module):
    """Four strided 3 × 3 convolutions (arXiv 2106.14881, without batch norm): (M, C, H, W) → (M, N, D), patch 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [3, width // 6, width // 3, 2 * width // 3, width]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(channels):
            layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.GELU()]
        # channels last: more than twice as fast forward on a CPU, and tokens come out without a copy
        self.layers = nn.Sequential(*layers[:-1])
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames_MCHW: Tensor) -> Tensor:
        """Embed each frame by itself."""
        frames_MCHW = frames_MCHW.contiguous(memory_format=torch.channels_last)
        return self.layers(frames_MCHW).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over the last but one axis of (…, T, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Attend among the T tokens of each sequence."""
        return self.proj(self.mix(x_BTD))

    def mix(self, x_BTD: Tensor) -> Tensor:
        """What the heads gather (B, T, D), before the projection."""
        batch, length, width = x_BTD.shape
        qkv = self.qkv(x_BTD).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind()  # its gradient is one stack; that of three indices is three arrays of zeros, added up
        return attend(q, k, v).transpose(1, 2).reshape(batch, length, width)

    def first_token(self, x_BTD: Tensor) -> Tensor:
        """The first token's row (B, 1, D) of `forward`, without the work for the others."""
        batch, length, width = x_BTD.shape
        split = (width, 2 * width)
        (w_q, w_kv), (b_q, b_kv) = self.qkv.weight.split(split), self.qkv.bias.split(split)
        q = linear(x_BTD[:, :1], w_q, b_q).view(batch, 1, self.heads, -1).transpose(1, 2)
        kv = linear(x_BTD, w_kv, b_kv).view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        k, v = kv.unbind()
        out = attend(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(batch, 1, width))

    def mix_frames(self, x_BTND: Tensor) -> Tensor:
        """`mix` among the frames of each patch, (B, T, N, D)."""
        batch, frames, patches, width = x_BTND.shape
        if cpu_kernels.takes(x_BTND):
            qkv = self.qkv(x_BTND).view(batch, frames, patches, 3, self.heads, width // self.heads)
            return cpu_kernels.frame_attention(qkv).flatten(-2)
        mixed = self.mix(x_BTND.transpose(1, 2).reshape(batch * patches, frames, width))
        return mixed.view(batch, patches, frames, width).transpose(1, 2)


def attend(q_BHTE: Tensor, k_BHTE: Tensor, v_BHTE: Tensor) -> Tensor:
    """Scaled dot-product attention of each head, (B, H, T, E)."""
    attention = cpu_kernels.attention if cpu_kernels.takes(q_BHTE) else F.scaled_dot_product_attention
    return attention(q_BHTE, k_BHTE, v_BHTE)


class Block(nn.Module):
    """Temporal attention per patch, spatial attention per frame, MLP; each residual (TimeSformer, divided)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.temporal_norm1 = nn.LayerNorm(width, eps=1e-6)
        self.temporal_attn = Attention(width, heads)
        self.temporal_fc = Linear(width, width)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, mlp_ratio * width)

    def forward(self, cls_BD: Tensor, x_BTND: Tensor, cls_only: bool = False) -> tuple[Tensor, Tensor]:
        """Update class token and patch tokens; with `cls_only` the patch tokens come back as they are, unread."""
        batch, frames = x_BTND.shape[:2]
        x_BTND = self._time(x_BTND)
        # space: class token and patches of each frame; the class token's update is averaged over frames
        s = torch.cat([cls_BD[:, None, None].expand(-1, frames, -1, -1), x_BTND], 2)
        s = self.norm1(s).flatten(0, 1)
        s = (self.attn.first_token(s) if cls_only else self.attn(s)).unflatten(0, (batch, frames))
        keep_BT = self._keep(x_BTND, batch * frames)
        keep_BT = None if keep_BT is None else keep_BT.view(batch, frames, 1, 1)
        cls_BT1D, s_BTND = s.split((1, s.shape[2] - 1), 2)  # one concatenation backward, not two arrays of zeros
        moved = cls_BT1D if keep_BT is None else cls_BT1D * keep_BT
        cls_BD = cls_BD + moved.mean((1, 2))
        # drop path spares or drops a whole clip
        keep_B = self._keep(x_BTND, batch)
        cls_BD = add(cls_BD, self.mlp(self.norm2(cls_BD)), None if keep_B is None else keep_B[:, None])
        if cls_only:
            return cls_BD, x_BTND
        x_BTND = add(x_BTND, s_BTND, keep_BT)
        keep_B = None if keep_B is None else keep_B[:, None, None, None]
        return cls_BD, add(x_BTND, self.mlp(self.norm2(x_BTND)), keep_B)

    def _time(self, x_BTND: Tensor) -> Tensor:
        """Time: the T tokens of each patch among themselves."""
        batch, _, patches, _ = x_BTND.shape
        t = self.temporal_attn.mix_frames(self.temporal_norm1(x_BTND))
        # two linear maps with nothing but drop path between them are one: a sixteenth of the block's work less
        fc, proj = self.temporal_fc, self.temporal_attn.proj
        weight, bias = fc.weight @ proj.weight, fc.weight @ proj.bias
        keep_BN = self._keep(x_BTND, batch * patches)
        if keep_BN is None:
            return x_BTND + linear(t, weight, bias + fc.bias)
        return add(x_BTND, linear(t, weight, bias), keep_BN.view(batch, 1, patches, 1)) + fc.bias

    def _keep(self, x: Tensor, rows: int) -> Tensor | None:
        """Drop path's factor of each row, 0 where it is dropped; None where all are kept."""
        drops = isinstance(self.drop_path, DropPath) and self.drop_path.training and self.drop_path.drop_prob > 0
        return self.drop_path(x.new_ones(rows)) if drops else None


def add(x: Tensor, update: Tensor, keep: Tensor | None) -> Tensor:
    """X + keep · update, in one pass where the types allow it."""
    if keep is None:
        return x + update
    return torch.addcmul(x, update, keep) if x.dtype == update.dtype else x + keep * update


class DividedSpaceTimeViT(nn.Module):
    """One encoder for all granularities; only the time embedding is each granularity's own.

    Args:
        config: the network.
        image_size: side of the square input in pixels, a multiple of the patch size.
        frames_per_granularity: frames T_g.

    Raises:
        ConfigError: `image_size` is not a multiple of the patch size.
    """

    def __init__(self, config: ModelConfig, image_size: int, frames_per_granularity: tuple[int, ...]) -> None:
        super().__init__()
        arch = ARCHITECTURES[config.name]
        if image_size % arch.patch:
            raise ConfigError(f"views.size: expected a multiple of the patch size {arch.patch}, got {image_size}")
        self.arch, self.config = arch, config
        self.grid = image_size // arch.patch
        self.frames_per_granularity = frames_per_granularity
        self.cls_token = nn.Parameter(torch.zeros(1, 1, arch.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, arch.width))
        self.patch_embed = ConvStem(arch.width) if arch.stem == "conv" else PatchEmbed(arch.patch, arch.width)
        self.time_embed = nn.ParameterList(torch.zeros(1, t, arch.width) for t in frames_per_granularity)
        drop_paths = torch.linspace(0, config.drop_path, arch.depth).tolist()
        self.blocks = nn.ModuleList(Block(arch.width, arch.heads, arch.mlp_ratio, p) for p in drop_paths)
        self.norm = nn.LayerNorm(arch.width, eps=1e-6)
        self._init_weights()
        self.patch_embed.requires_grad_(not config.freeze_patch_embed)

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(cast(Tensor, module.bias))
        trunc_normal_(self.cls_token, std=0.02)
        trunc_normal_(self.pos_embed, std=0.02)
        for block in self.blocks:  # time starts as the identity: a fresh model is an image ViT, frame by frame
            fc = cast(Block, block).temporal_fc
            nn.init.zeros_(fc.weight)
            nn.init.zeros_(cast(Tensor, fc.bias))

    @property
    def patches(self) -> int:
        """Patches N of a frame."""
        return self.grid**2

    def embed(self, frames_BTCHW: Tensor) -> Tensor:
        """Patch tokens (B, T, N, D) of normalised frames, without position or time."""
        batch, frames = frames_BTCHW.shape[:2]
        return self.patch_embed(frames_BTCHW.flatten(0, 1)).unflatten(0, (batch, frames))

    def run_blocks(self, x_BTND: Tensor, *, cls_only: bool = False) -> tuple[Tensor, Tensor]:
        """Class token (B, D) and patch tokens (B, T, N, D) after all blocks, before the final norm.

        With `cls_only` the last block leaves out what only the patch tokens need; they are then not to be read.
        """
        cls_BD = (self.cls_token[:, 0] + self.pos_embed[:, 0]).expand(len(x_BTND), -1)
        for number, block in enumerate(self.blocks, 1):
            last = cls_only and number == len(self.blocks)
            if self.config.checkpoint_activations and self.training:
                cls_BD, x_BTND = checkpoint(block, cls_BD, x_BTND, last, use_reentrant=False)
            else:
                cls_BD, x_BTND = block(cls_BD, x_BTND, last)
        return cls_BD, x_BTND

    def encode(self, tokens: list[Tensor]) -> Tensor:
        """Class tokens of all granularities after the final norm.

        Args:
            tokens: per granularity (B, T_g, N, D), as `embed` gives them.

        Returns:
            (G, B, D).
        """
        out: list[Tensor | None] = [None] * len(tokens)
        for length in dict.fromkeys(self.frames_per_granularity):
            # granularities of equal length share one pass through the blocks
            group = [g for g, t in enumerate(self.frames_per_granularity) if t == length]
            x = torch.cat([tokens[g] + self.pos_embed[:, None, 1:] + self.time_embed[g][:, :, None] for g in group])
            cls, _ = self.run_blocks(x, cls_only=True)
            for g, cls_BD in zip(group, self.norm(cls).chunk(len(group)), strict=True):
                out[g] = cls_BD
        return torch.stack(cast(list[Tensor], out))

    def forward(self, tokens: list[Tensor]) -> Tensor:
        """`encode` as a call of the module, which `torch.nn.Module.compile` acts on."""
        return self.encode(tokens)


def resize_position_embedding(pos_embed: Tensor, grid: int, mode: str) -> Tensor:
    """Resize (1, 1 + n², D) to (1, 1 + grid², D); the class token's row stays. `mode`: ``bicubic`` or ``nearest``."""
    old = round((pos_embed.shape[1] - 1) ** 0.5)
    if old == grid:
        return pos_embed
    patches = pos_embed[:, 1:].transpose(1, 2).unflatten(2, (old, old))
    extra = {"align_corners": False, "antialias": grid < old} if mode == "bicubic" else {}
    patches = F.interpolate(patches, size=(grid, grid), mode=mode, **extra)
    return torch.cat([pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], 1)


def resize_time_embedding(time_embed: Tensor, frames: int) -> Tensor:
    """Resize (1, T, D) to (1, frames, D), linearly between the middles of T equal intervals of the clip."""
    if time_embed.shape[1] == frames:
        return time_embed
    return F.interpolate(time_embed.transpose(1, 2), size=frames, mode="linear", align_corners=False).transpose(1, 2)
