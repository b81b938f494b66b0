"""What the search chose, as columns: names short enough for an axis, values as numbers or words."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from studies.results.schema import text_of

SIGNS = {
    "perturb.kind": "perturb",
    "perturb.strength": "strength",
    "weighting.kind": "weighting",
    "weighting.threshold": "threshold τ",
    "weighting.kappa": "κ",
    "weighting.alpha": "α",
    "teacher.passes": "passes S",
    "objective.gamma_unlabelled": "γ₁",
    "objective.gamma_mix": "γ₂",
}
LOG_RATIO = 8.0  # greatest over least value from which a positive parameter is shown on a logarithmic axis


def parameter_sign(key: str) -> str:
    """A parameter's name for an axis; unknown ones keep the part behind the last dot."""
    return SIGNS.get(key, key.rpartition(".")[2].replace("_", " "))


def parameter_columns(trials: pd.DataFrame) -> pd.DataFrame:
    """One column a parameter, by dotted key in order of appearance; NaN where a trial has none.

    Args:
        trials: rows with ``parameters`` as JSON text.

    Returns:
        A frame with the index of `trials`; known keys first, in the order of `SIGNS`.
    """
    records: list[dict[str, Any]] = [json.loads(text_of(text) or "{}") for text in trials.parameters]
    seen = list(dict.fromkeys(key for record in records for key in record))
    keys = [key for key in SIGNS if key in seen] + [key for key in seen if key not in SIGNS]
    return pd.DataFrame({key: pd.Series([r.get(key, math.nan) for r in records], trials.index) for key in keys})


def is_numeric(column: pd.Series) -> bool:
    """Whether every value that is there is a number."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in column.dropna())


def is_logarithmic(column: pd.Series) -> bool:
    """Whether a numeric column spans so much that an axis should be logarithmic."""
    known = column.dropna().astype(float)
    return len(known) > 0 and bool(known.min() > 0) and bool(known.max() / known.min() >= LOG_RATIO)
