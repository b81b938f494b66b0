"""Weights to start from → our keys, with a report of what was loaded.

``embedded``: the shipped weights of vit_tiny (`studies/pretrain_tiny.py` makes them). ``imagenet``: a ViT from timm, by
name. A path: a checkpoint of ours, of the release (its key names are ours), or of an image ViT, ``.safetensors`` or
``.pt``/``.pth``.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sefar.errors import CheckpointError, ConfigError
from sefar.models.granularity import SefarNet
from sefar.models.timesformer import ModelConfig, resize_position_embedding, resize_time_embedding

log = logging.getLogger(__name__)

EMBEDDED = {"vit_tiny": "vit_tiny_synthgym_frames.safetensors"}
IMAGENET = {"vit_s": "vit_small_patch16_224.augreg_in21k_ft_in1k", "vit_b": "vit_base_patch16_224.augreg_in21k_ft_in1k"}
# an image ViT has no notion of time, granularities or our classes
FRESH_AFTER_IMAGE = ("time_embed", "temporal_", "post_fusion", "global_fusion", "ln1", "ln2", "ln3", "fc.")
TIME = "vit.model.time_embed."
IGNORED = ("head.", "head_drist.", "fc_norm.", "pre_logits.")  # an image classifier's own head


@dataclass
class LoadReport:
    """What became of each key.

    Attributes:
        matched: loaded.
        missing: not among the weights; at initialisation, but for those `copied`.
        unexpected: among the weights, not used.
        resized: loaded into another grid or number of frames.
        copied: of the missing, those that start as a copy of their spatial counterpart.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.matched)} matched, {len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.resized)} resized, {len(self.copied)} copied"
        )


def load_pretrained(model: SefarNet, config: ModelConfig) -> LoadReport | None:
    """Load ``config.pretrained`` into `model`.

    Returns:
        What was loaded; None for ``none``.

    Raises:
        ConfigError: no such weights for this network.
        CheckpointError: the file is unreadable, or lacks more than an image ViT lacks.
    """
    source = config.pretrained
    if source == "none":
        return None
    if source == "embedded":
        if config.name not in EMBEDDED:
            raise ConfigError(f"model.pretrained: no embedded weights for {config.name}; use imagenet, a file or none")
        state = read_weights(_embedded(config.name))
    elif source == "imagenet":
        state = _imagenet(config)
    else:
        state = read_weights(Path(source))
    report = load_weights(model, state, position_resize=config.position_resize)
    log.info("pretrained %s: %s", source, report)
    return report


def _embedded(name: str) -> Path:
    return Path(str(files("sefar") / "weights" / EMBEDDED[name]))


@cache
def embedded_digest(name: str) -> str:
    """Twelve hex digits of the content of a network's shipped weights; empty: it has none."""
    return hashlib.sha256(_embedded(name).read_bytes()).hexdigest()[:12] if name in EMBEDDED else ""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weight file, unwrapping the usual ``model``/``state_dict``/``student`` nests.

    Raises:
        CheckpointError: missing or unreadable.
    """
    if not os.path.isfile(path):  # unlike Path.is_file, no error where the folder may not be entered
        raise CheckpointError(
            f"{path}: no such weight file; give a .safetensors or .pt file, imagenet, embedded or none"
        )
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torn files raise many kinds
        raise CheckpointError(
            f"{path}: not a readable weight file ({type(error).__name__}); fetch it anew or give another"
        ) from error
    for nest in ("student", "model_state", "state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(nest), Mapping):
            loaded = loaded[nest]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path}: expected weights by name, got {type(loaded).__name__}; give another file")
    return {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}


def _imagenet(config: ModelConfig) -> dict[str, Tensor]:
    if config.name not in IMAGENET:
        raise ConfigError(f"model.pretrained: no ImageNet weights for {config.name}; use embedded, a file or none")
    import timm

    try:
        return timm.create_model(IMAGENET[config.name], pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises many kinds
        raise CheckpointError(
            f"model.pretrained=imagenet: {IMAGENET[config.name]} could not be fetched ({type(error).__name__}); fetch "
            "the file elsewhere and give its path, or use model.pretrained=none"
        ) from error


def load_weights(model: SefarNet, state: Mapping[str, Tensor], *, position_resize: str = "bicubic") -> LoadReport:
    """Copy `state` into `model` by our keys (the release's), resizing embeddings of another grid or frame count.

    An image ViT's keys go to the encoder; what it cannot have (time, fusion, classifier) stays as initialised. Only
    temporal attention and its norm then start as copies of the spatial ones, as TimeSformer's do; their output is still
    zero, by `temporal_fc`. The classifier stays as initialised when the number of classes differs. Weights of another
    number of granularities give our context the time embedding of theirs, our fine elements that of the fine element of
    nearest length (the first of two as near), while the global fusion, whose input is another, stays as initialised.

    Raises:
        CheckpointError: anything else, or a part of what an image ViT lacks, is missing or of another shape; the model
            is then untouched.
    """
    own = model.state_dict()
    state = {k.removeprefix("module."): v for k, v in state.items()}
    if not any(k.startswith("vit.model.") for k in state):
        state = {f"vit.model.{k}": v for k, v in state.items() if not k.startswith(IGNORED)}
    report, chosen = LoadReport(), {}
    fresh: tuple[str, ...] = ()
    times = [state[k] for k in sorted(state, key=lambda k: (len(k), k)) if k.startswith(TIME)]
    if times and len(times) != len(model.frames_per_granularity):
        state = {k: v for k, v in state.items() if not k.startswith(TIME)}
        state |= _times_by_role(times, model)
        fresh = ("global_fusion.",)
    for key, value in state.items():
        if key not in own or key.startswith(fresh) or (key.startswith("fc.") and value.shape != own[key].shape):
            report.unexpected.append(key)
            continue
        fitted = _fitted(key, value, model, position_resize)
        if fitted.shape != own[key].shape:
            raise CheckpointError(
                f"{key}: expected shape {tuple(own[key].shape)}, got {tuple(value.shape)}; are model.name and "
                "model.fusion_width those of the weights?"
            )
        if fitted.shape != value.shape:
            report.resized.append(key)
        chosen[key] = fitted
        report.matched.append(key)
    report.missing = [k for k in own if k not in chosen]
    loaded = {_family(k) for k in chosen} - {None}
    lost = [k for k in report.missing if _family(k) is None or _family(k) in loaded]
    if lost:
        raise CheckpointError(
            f"the weights lack {len(lost)} keys of the network, first '{lost[0]}'; nothing was loaded"
        )
    if "temporal_" not in loaded:
        spatial = {k: v for k, v in chosen.items() if ".attn." in k or ".norm1." in k}
        copies = {
            k.replace(".attn.", ".temporal_attn.").replace(".norm1.", ".temporal_norm1."): v for k, v in spatial.items()
        }
        report.copied = list(copies)
        chosen |= copies
    model.load_state_dict(chosen, strict=False)
    return report


def _family(key: str) -> str | None:
    """Which of the things that image weights lack the key is part of; weights have each of them whole or not at all."""
    return next((part for part in FRESH_AFTER_IMAGE if part in key), None)


def _times_by_role(times: list[Tensor], model: SefarNet) -> dict[str, Tensor]:
    """The context's time embedding to our context; to each fine element that of the fine element of nearest length.

    Weights without fine elements leave ours at their start, zero.
    """
    *fine, context = times
    chosen = [
        min(fine, key=lambda time: abs(time.shape[1] - own.shape[1])) if fine else own.detach()
        for own in list(model.encoder.time_embed)[:-1]
    ]
    return {f"{TIME}{g}": time for g, time in enumerate([*chosen, context])}


def _fitted(key: str, value: Tensor, model: SefarNet, position_resize: str) -> Tensor:
    """An embedding of the network's length, everything else as it is; what cannot be resized keeps its shape."""
    if key.endswith("pos_embed") and value.ndim == 3 and math.isqrt(value.shape[1] - 1) ** 2 == value.shape[1] - 1:
        return resize_position_embedding(value, model.encoder.grid, position_resize)
    if key.startswith(TIME) and value.ndim == 3:
        return resize_time_embedding(value, model.frames_per_granularity[int(key.removeprefix(TIME))])
    return value


def export_weights(model: SefarNet, path: str | Path) -> None:
    """Write the network's weights under the release's key names, ``.safetensors`` or ``.pt``/``.pth``, values as is.

    Raises:
        CheckpointError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise CheckpointError(f"{path}: expected the suffix .safetensors, .pt or .pth, got '{path.suffix}'")
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    try:
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be written ({error}); make room or choose another folder") from error
