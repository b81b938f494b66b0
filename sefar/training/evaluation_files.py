"""A final evaluation as files of a run folder and as text.

``evaluation-<part>.json`` (what was evaluated, metrics in percent), ``per_class-<part>.csv``, ``confusion-<part>.csv``,
``reliability-<part>.csv``, ``pseudo_labels-<part>.csv`` and ``predictions-<part>.parquet``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sefar.files import write_whole
from sefar.training.diagnostics import confusion_table, per_class_table, pseudo_label_table, reliability_table
from sefar.training.evaluate import Evaluation
from sefar.training.run_folder import to_json, writing
from sefar.training.trainer import Trainer

ROWS = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class", "ece": "calibration error"}


def describe(trainer: Trainer, part: str) -> dict[str, Any]:
    """What is evaluated: scope, hashes, epochs and steps trained, clips, classes; how the networks are asked.

    ``missing_<part>`` are the clips that were absent or quarantined and left out.
    """
    scope, config = trainer.scope, trainer.config
    return {
        "scope": scope.name,
        "split_hash": scope.split_hash,
        "config_hash": config.content_hash(),
        "epoch": trainer.epoch,
        "step": trainer.step,
        "clips": len({"dev": scope.dev, "test": scope.test}[part]),
        "classes": scope.num_classes,
        **{f"missing_{part}": count for part, count in scope.missing.items()},
        "views": config.evaluation.views,
        "crops": config.evaluation.crops,
        "passes": config.teacher.passes,
        "stochastic": config.teacher.stochastic,
        "precision": str(trainer.dtype).removeprefix("torch."),
    }


def write_evaluation(
    evaluation: Evaluation, folder: Path, part: str, *, classes: Sequence[str], about: Mapping[str, Any]
) -> None:
    """Write all files of a final evaluation; the JSON comes last, so where it lies the others lie too.

    Args:
        evaluation: of the whole part.
        folder: made if missing.
        part: ``test`` or ``dev``.
        classes: class names by label.
        about: what was evaluated; stands in the JSON before the metrics.

    Raises:
        DataError: the folder cannot be written.
    """
    label_N = evaluation.predictions.label.to_numpy()
    tables = {
        "per_class": per_class_table(evaluation.answers, label_N, classes),
        "confusion": confusion_table(evaluation.answers, label_N, classes),
        "reliability": reliability_table(evaluation.answers, label_N),
        "pseudo_labels": pseudo_label_table(evaluation.answers, label_N),
    }
    parquet = io.BytesIO()
    clip_table(evaluation, classes).to_parquet(parquet, index=False)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            write_whole(folder / f"{name}-{part}.csv", table.to_csv(index=False, float_format="%.6g"))
        write_whole(folder / f"predictions-{part}.parquet", parquet.getvalue())
        content = {"part": part, **about, "metrics": evaluation.metrics}
        write_whole(folder / f"evaluation-{part}.json", to_json(content, indent=1) + "\n")


def clip_table(evaluation: Evaluation, classes: Sequence[str]) -> pd.DataFrame:
    """`Evaluation.predictions` with the class name and, for each network, how sure it is.

    Returns:
        A row a clip: the columns of the predictions and class_name; for each network ``<network>_top1_prob`` (averaged
        over the views), ``<network>_pseudo_label``, ``<network>_confidence`` and ``<network>_spread``.
    """
    table = evaluation.predictions.assign(class_name=[classes[k] for k in evaluation.predictions.label])
    for network, said in evaluation.answers.items():
        table[f"{network}_top1_prob"] = said.probs_NK.max(1)
        table[f"{network}_pseudo_label"] = said.pseudo_label_N
        table[f"{network}_confidence"] = said.confidence_N
        table[f"{network}_spread"] = said.spread_N
    return table


def summary(metrics: Mapping[str, float]) -> str:
    """Metrics in percent as a small table: a row a metric, student and teacher side by side."""
    networks = [n for n in ("student", "teacher") if f"{n}_top1" in metrics]
    lines = [" " * 18 + "".join(f"{n:>10}" for n in networks)]
    for key, name in ROWS.items():
        lines.append(f"{name:18}" + "".join(f"{metrics[f'{n}_{key}']:8.1f} %" for n in networks))
    return "\n".join(lines)
