"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sefar.errors import CheckpointError
from sefar.files import replacing

FORMAT = "sefar-checkpoint"
VERSION = 1


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, plain values, dicts and lists of them) under a temporary name, then rename.

    Raises:
        CheckpointError: the folder cannot be written or is full; an older checkpoint of the name stays whole.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as out:
            torch.save({"format": FORMAT, "version": VERSION, **state}, out)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise CheckpointError(f"{path}: cannot be written ({error}); make room or choose another folder") from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of ours onto the CPU, with ``weights_only=True``.

    Raises:
        CheckpointError: missing, truncated, foreign, or of a newer version.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, no error where the folder may not be entered
        raise CheckpointError(f"{path}: no such checkpoint; train at least one epoch first")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); ask its owner to let you") from error
    except Exception as error:  # torn zip files raise many kinds
        raise CheckpointError(
            f"{path}: truncated or not a checkpoint ({type(error).__name__}); restore it from a copy, or delete it and "
            "train anew"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this software; weights load through model.pretrained")
    version = state.get("version")
    if not isinstance(version, int):
        raise CheckpointError(f"{path}: expected a whole number as version, got {version!r}; restore it from a copy")
    if version > VERSION:
        raise CheckpointError(f"{path}: written by a newer version ({version} > {VERSION}); update sefar")
    return state


def remove_leftovers(path: str | Path) -> None:
    """Delete what killed writers of the checkpoint `path` have left beside it; only for a folder nobody else writes."""
    path = Path(path)
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        leftover.unlink(missing_ok=True)
