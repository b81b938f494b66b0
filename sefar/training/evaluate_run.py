"""Evaluating a run folder that training has left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from sefar.config import TrainConfig
from sefar.data.scopes import load_scope
from sefar.errors import CheckpointError, ConfigError, DataError, SefarError
from sefar.models.granularity import SefarNet
from sefar.ssl.teacher import make_teacher
from sefar.training.checkpoint import load_checkpoint
from sefar.training.device import choose_device
from sefar.training.evaluate import Evaluation
from sefar.training.evaluation_files import describe, write_evaluation
from sefar.training.precision import compile_encoder
from sefar.training.run_folder import CHECKPOINT, CONFIG, check_writable
from sefar.training.trainer import Trainer

CHANGEABLE = (
    "evaluation.",
    "teacher.passes",
    "teacher.stochastic",
    "optim.precision",
    "optim.compile",
    "scope.root",
    "scope.annotations",
    "scope.clips",
    "scope.path_prefix",
    "scope.quarantine",
    "scope.allow_missing",
    "loader.frame_store_gb",
    "loader.frame_store_folder",
)
"""Keys, or beginnings of keys, that may differ from the run's: how the networks are asked, never what they learnt."""


def evaluate_run(
    folder: Path,
    part: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
    out: Path | None = None,
) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate the checkpoint of a run folder and write the files of `evaluation_files`.

    Args:
        folder: as `train_in_folder` left it, finished or not.
        part: ``test`` or ``dev``, with all views and crops.
        overrides: dotted keys, those of `CHANGEABLE` only.
        device: ``cpu``, ``cuda``, …; None: a GPU where there is one.
        out: where the files go; None: into the folder.

    Returns:
        The evaluation, and what was evaluated (`describe`).

    Raises:
        ConfigError: ``config.json`` cannot be read, an override is not allowed, or there is no such device.
        CheckpointError: the checkpoint is missing, damaged, or of another configuration or split.
        DataError: no such folder, or the files cannot be written.
        ScopeError, DecodeError: the clips cannot be had.
    """
    trained = read_config(folder)
    config = trained.override(checked_overrides(overrides or {}))
    state = load_checkpoint(folder / CHECKPOINT)
    check_config(folder, trained, state)
    check_writable(out or folder)
    choose_device(device)  # before clips are rendered
    if part == "dev" and not config.scope.dev_fraction:
        raise ConfigError(f"--part dev: the run of {folder} has no dev clips (scope.dev_fraction=0); evaluate test")
    scope = load_scope(config.scope)
    if state.get("split_hash") != scope.split_hash:
        raise CheckpointError(
            f"{folder / CHECKPOINT}: trained on split {state.get('split_hash')} of '{scope.name}', but the clips and "
            f"labels there now make split {scope.split_hash}; restore them or name their folder with --set scope.root=…"
        )
    # the weights come from the checkpoint, not from where the run began
    with closing(Trainer(config.override({"model.pretrained": "none"}), scope, device=device)) as trainer:
        load_weights(trainer, state, folder / CHECKPOINT)
        evaluation = trainer.evaluate(part)
        about = describe(trainer, part) | {"config_hash": trained.content_hash()}
    write_evaluation(evaluation, out or folder, part, classes=scope.classes, about=about)
    return evaluation, about


def checked_overrides(overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """The overrides, all of which may be changed after training.

    Raises:
        ConfigError: one may not.
    """
    for key in overrides:
        if not any(key == name or (name.endswith(".") and key.startswith(name)) for name in CHANGEABLE):
            names = ", ".join(name + "…" if name.endswith(".") else name for name in CHANGEABLE)
            raise ConfigError(f"--set {key}: is fixed once a run is trained; what can be changed: {names}")
    return overrides


def read_config(folder: Path) -> TrainConfig:
    """The configuration of a run folder.

    Raises:
        DataError: no such folder, or none of a run.
        ConfigError: the file is damaged or of another version.
    """
    path = folder / CONFIG
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such run folder; `sefar train --out {folder}` makes one")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{folder}: not a run folder (no {CONFIG}); give a folder that `sefar train` has made"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); ask its owner to let you") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not JSON ({error.msg}); restore it from a copy") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text ({error.reason}); restore it from a copy") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected a table of settings, got {type(values).__name__}; restore it from a copy")
    try:
        return TrainConfig.from_dict(values)
    except SefarError as error:
        raise ConfigError(f"{path}: {error}") from error


def check_config(folder: Path, config: TrainConfig, state: Mapping[str, Any]) -> None:
    """Make sure that ``config.json`` and the checkpoint are of one run.

    Both are read by this version's rules, so a setting that is newer than the run takes its default in both.

    Raises:
        CheckpointError: they are not.
    """
    path, values = folder / CHECKPOINT, state.get("config")
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path}: holds no configuration, so it is not of `sefar train`; restore it from a copy")
    try:
        theirs = TrainConfig.from_dict(values)
    except SefarError as error:
        raise CheckpointError(f"{path}: its configuration cannot be read here ({error}); update sefar") from error
    if theirs.content_hash() == config.content_hash():
        return
    ours, was = config.flatten(), theirs.flatten()
    changed = [f"{key} {was[key]} there, {ours[key]} here" for key in ours if ours[key] != was[key]]
    raise CheckpointError(
        f"{path}: is not of the run of {CONFIG} beside it ({'; '.join(changed[:3])}); put the two of one run together"
    )


def load_weights(trainer: Trainer, state: Mapping[str, Any], path: Path) -> None:
    """Give the trainer the checkpoint's networks and its step; the rest is for training on.

    Raises:
        CheckpointError: something is missing or of another shape.
    """
    try:
        trainer.student.load_state_dict(state["student"])
        if state["teacher"] is not None:
            trainer.teacher = cast(SefarNet, make_teacher(trainer.student))
            trainer.teacher.load_state_dict(state["teacher"])
            if trainer.config.optim.compile:
                compile_encoder(trainer.teacher)
        trainer.step = int(state["step"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise CheckpointError(
            f"{path}: does not fit the network of {CONFIG} ({reason}); restore it from a copy"
        ) from error
