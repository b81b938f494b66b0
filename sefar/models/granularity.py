"""The whole network: encoder, fusion of the granularities (METHOD.md §4) and classifier.

Shape suffixes: B clips, G granularities, T frames, N patches, D width, F fusion width, K classes, S passes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sefar.models.linear import Linear
from sefar.models.timesformer import ARCHITECTURES, DividedSpaceTimeViT, ModelConfig

MEAN, STD = 0.45, 0.225  # of all colour channels, as in TimeSformer and the release


def normalise(frames: Tensor) -> Tensor:
    """Frames in [0, 255] to new float32 frames with mean 0.45 and standard deviation 0.225 taken off."""
    return frames.to(torch.float32, copy=True).mul_(1 / (255 * STD)).sub_(MEAN / STD)


class SefarNet(nn.Module):
    """Encoder over G granularities, pairwise and single fusion, classifier.

    Args:
        config: the network.
        image_size: side of the square input in pixels.
        frames_per_granularity: frames T_g; the context last.
        num_classes: classes K.
    """

    def __init__(
        self, config: ModelConfig, *, image_size: int, frames_per_granularity: tuple[int, ...], num_classes: int
    ) -> None:
        super().__init__()
        width, fused = ARCHITECTURES[config.name].width, config.fusion_width
        self.frames_per_granularity = frames_per_granularity
        self.num_classes = num_classes
        granularities = len(frames_per_granularity)
        self.pairs = list(combinations(range(granularities), 2))
        # the release's key names: vit.model.…, post_fusion0/1, global_fusion, ln1..3, fc
        self.vit = nn.ModuleDict({"model": DividedSpaceTimeViT(config, image_size, frames_per_granularity)})
        self.post_fusion1 = Linear(2 * width, fused)
        self.post_fusion0 = Linear(width, fused)
        self.global_fusion = Linear(fused * (len(self.pairs) + granularities), fused)
        self.ln1, self.ln2, self.ln3 = nn.LayerNorm(fused), nn.LayerNorm(fused), nn.LayerNorm(fused)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = Linear(fused, num_classes)
        nn.init.trunc_normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)

    @property
    def encoder(self) -> DividedSpaceTimeViT:
        """The divided space-time encoder."""
        encoder = self.vit["model"]
        assert isinstance(encoder, DividedSpaceTimeViT)
        return encoder

    def embed(self, frames_BTCHW: Tensor) -> list[Tensor]:
        """Patch tokens (B, T_g, N, D) of each granularity from all granularities' normalised frames."""
        return list(self.encoder.embed(frames_BTCHW).split(self.frames_per_granularity, 1))

    def fuse(self, cls_GBD: Tensor) -> Tensor:
        """Clip features (B, F) from the class tokens: pairs (01, 02, 12) first, then singles."""
        parts = [self.ln1(F.gelu(self.post_fusion1(torch.cat([cls_GBD[i], cls_GBD[j]], 1)))) for i, j in self.pairs]
        parts += [self.ln2(F.gelu(self.post_fusion0(cls_BD))) for cls_BD in cls_GBD]
        return self.ln3(F.gelu(self.global_fusion(torch.cat(parts, 1))))

    def features(self, tokens: list[Tensor]) -> Tensor:
        """Clip features (B, F) from patch tokens."""
        return self.fuse(self.encoder(tokens))

    def forward(
        self, frames_BTCHW: Tensor, edit_tokens: Callable[[list[Tensor]], list[Tensor]] | None = None
    ) -> Tensor:
        """Logits (B, K) of normalised frames.

        Args:
            frames_BTCHW: all granularities' frames, one granularity after another.
            edit_tokens: changes the patch tokens before the encoder (token mixing). It runs inside the forward pass so
                that a step is one call of the network, as DistributedDataParallel needs.
        """
        tokens = self.embed(frames_BTCHW)
        if edit_tokens is not None:
            tokens = edit_tokens(tokens)
        return self.fc(self.dropout(self.features(tokens)))

    def head_passes(self, features_BF: Tensor, passes: int) -> Tensor:
        """Logits (S, B, K) of S passes of dropout and classifier over the same features."""
        return self.fc(self.dropout(features_BF.expand(passes, -1, -1)))
