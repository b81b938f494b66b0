"""What the trainer tells of a finished epoch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

NAN = float("nan")


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch: flat scalars, means over the epoch's steps unless said otherwise.

    Accuracies are percent except ``pseudo_label_*`` and ``weighted_*``, which are shares in [0, 1]; NaN: not known.

    Attributes:
        epoch: epochs finished, from 1.
        step: optimiser steps finished.
        total_loss: the loss that was minimised.
        supervised_loss: cross-entropy of labelled clips.
        unlabelled_loss: weighted pseudo-label loss, before γ₁ and the ramp.
        mixed_loss: weighted mixed loss, before γ₂ and the ramp.
        weight_mean: mean weight of the unlabelled clips.
        confidence_mean: mean confidence of the teacher.
        spread_mean: mean spread of the teacher's passes.
        pseudo_label_accuracy: share of right pseudo-labels, where hidden labels exist.
        weighted_pseudo_label_accuracy: the same with the weights as counts.
        pseudo_label_coverage: share of clips with a weight above 0.
        labelled_top1: percent of labelled training clips classified right, as the step saw them.
        ramp: ξ of the epoch.
        learning_rate: of the last step.
        dev_student_top1: the metric to choose by.
        dev_student_mean_class: mean class accuracy of the student on dev.
        dev_teacher_top1: of the teacher; NaN before there is one.
        train_seconds: wall time of the steps.
        data_wait_seconds: part of `train_seconds` spent waiting for batches.
        eval_seconds: wall time of the dev evaluation.
        clips_per_second: labelled and unlabelled clips trained on per second.
        peak_memory_mib: peak GPU memory (CUDA only).
    """

    epoch: int
    step: int
    total_loss: float = NAN
    supervised_loss: float = NAN
    unlabelled_loss: float = NAN
    mixed_loss: float = NAN
    weight_mean: float = NAN
    confidence_mean: float = NAN
    spread_mean: float = NAN
    pseudo_label_accuracy: float = NAN
    weighted_pseudo_label_accuracy: float = NAN
    pseudo_label_coverage: float = NAN
    labelled_top1: float = NAN
    ramp: float = 0.0
    learning_rate: float = NAN
    dev_student_top1: float = NAN
    dev_student_mean_class: float = NAN
    dev_teacher_top1: float = NAN
    train_seconds: float = NAN
    data_wait_seconds: float = NAN
    eval_seconds: float = NAN
    clips_per_second: float = NAN
    peak_memory_mib: float = NAN

    def to_dict(self) -> dict[str, float | int]:
        """Field name to value."""
        return dataclasses.asdict(self)
