"""Labels that training must not see change nothing when they are permuted."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import torch

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.training.trainer import Trainer

JUDGED_BY_HIDDEN_LABELS = {"pseudo_label_accuracy", "weighted_pseudo_label_accuracy"}


def permuted(clips: pd.DataFrame) -> pd.DataFrame:
    label = clips.label.to_numpy()
    other = np.random.default_rng(0).permutation(label)
    assert (other != label).any()
    return clips.assign(label=other)


def train(config: TrainConfig, scope: Scope) -> tuple[list[dict[str, float]], Trainer]:
    """Everything reported that is no time, epoch by epoch."""
    trainer = Trainer(config, scope, device="cpu")
    reports = [
        {k: v for k, v in report.to_dict().items() if not k.endswith(("seconds", "per_second")) and not math.isnan(v)}
        for report in trainer
    ]
    return reports, trainer


def assert_same_weights(a: torch.nn.Module, b: torch.nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_hidden_labels_only_judge(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    config = tiny_config.override({"optim.epochs": 2})
    other_scope = dataclasses.replace(tiny_scope, unlabelled=permuted(tiny_scope.unlabelled))
    reports, trainer = train(config, tiny_scope)
    others, other = train(config, other_scope)
    assert "mixed_loss" in reports[-1] and set(reports[-1]) >= JUDGED_BY_HIDDEN_LABELS
    for report, changed in zip(reports, others, strict=True):
        for values in (report, changed):
            for name in JUDGED_BY_HIDDEN_LABELS:
                values.pop(name, None)
        assert report == changed
    assert_same_weights(trainer.student, other.student)
    assert trainer.teacher is not None and other.teacher is not None
    assert_same_weights(trainer.teacher, other.teacher)


def test_test_labels_choose_nothing(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    config = tiny_config.override({"optim.epochs": 2})
    other_scope = dataclasses.replace(tiny_scope, test=permuted(tiny_scope.test))
    reports, trainer = train(config, tiny_scope)
    others, other = train(config, other_scope)
    assert reports == others
    assert trainer.evaluate("dev").metrics == other.evaluate("dev").metrics
    assert_same_weights(trainer.student, other.student)
    # the predictions too are the same; only how right they are is not
    one, two = trainer.evaluate("test").predictions, other.evaluate("test").predictions
    pd.testing.assert_frame_equal(one.drop(columns="label"), two.drop(columns="label"))
