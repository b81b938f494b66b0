"""The clips that a trial has wrong, by what they were taken for."""

from __future__ import annotations

import pandas as pd

from studies.results.figures.predicted import class_table, predicted


def mistakes(predictions: pd.DataFrame, *, part: str = "test", network: str = "student") -> pd.DataFrame:
    """A row a clip that is wrong.

    Args:
        predictions: rows of ``predictions`` of one trial.
        part: of the data.
        network: ``student`` or ``teacher``.

    Returns:
        ``clip_id``, ``true`` and ``said`` (names of classes), ``within_set`` (whether both are of one set; None where
        sets are not recorded), ``confidence``.

    Raises:
        NothingToDraw: there are no such predictions.
    """
    rows = predicted(predictions, part=part, network=network)
    classes = class_table(rows)
    wrong = rows[~rows.right.astype(bool)]
    sets = classes["set"].to_dict()
    names = classes["name"].to_dict()
    same = [
        sets[true] == sets[said] if sets.get(true) and sets.get(said) else None
        for true, said in zip(wrong.label, wrong.said, strict=True)
    ]
    return pd.DataFrame(
        {
            "clip_id": wrong.clip_id.to_numpy(),
            "true": [names.get(label, str(label)) for label in wrong.label],
            "said": [names.get(said, str(said)) for said in wrong.said],
            "within_set": pd.Series(same, dtype=object).to_numpy(),
            "confidence": wrong.confidence.to_numpy(),
        }
    )


def confused_pairs(wrong: pd.DataFrame, most: int = 5) -> pd.DataFrame:
    """The pairs of classes taken for one another most often.

    Args:
        wrong: of `mistakes`.
        most: pairs.

    Returns:
        ``true``, ``said``, ``clips``.
    """
    counts = wrong.groupby(["true", "said"]).size().rename("clips").reset_index()
    return counts.sort_values(["clips", "true", "said"], ascending=[False, True, True], ignore_index=True).head(most)
