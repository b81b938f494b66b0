"""The paper's numbers (arXiv 2501.01245) as one table, to lay beside ours.

Percent top-1 on real data with ImageNet or Kinetics weights as the paper used them: never to be read as the expected
result of a run on the embedded data set. Numbers that belong to an ablation's arm stand in `studies.arms`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from studies.arms import COMPONENTS, PASSES, PERTURBATIONS, THRESHOLDS, Ablation

COLUMNS = ["table", "data_set", "fraction", "method", "value", "unit"]
TABLES = ("main", "regulation", "components", "perturbations", "passes", "mllm")
TOP1 = "% top-1"

# data set and its label fractions, then SeFAR-S and SeFAR-B at each
_MAIN: tuple[tuple[str, tuple[str, ...], tuple[float, ...], tuple[float, ...]], ...] = (
    ("Gym99", ("0.05", "0.1"), (36.7, 56.3), (39.0, 56.9)),
    ("Gym288", ("0.05", "0.1"), (27.8, 46.9), (28.3, 48.1)),
    ("FineDiving", ("0.05", "0.1"), (72.2, 78.4), (72.8, 80.9)),
    ("UB", ("0.1", "0.2"), (56.9, 73.8), (58.5, 75.5)),
    ("FX", ("0.1", "0.2"), (23.8, 42.9), (27.6, 44.2)),
    ("10m", ("0.1", "0.2"), (85.5, 94.0), (87.4, 94.6)),
    ("UB-S1", ("0.1", "0.2"), (36.6, 55.3), (37.1, 56.8)),
    ("FX-S1", ("0.1", "0.2"), (19.2, 25.5), (20.1, 26.5)),
    ("5253B", ("0.1", "0.2"), (96.4, 97.3), (97.0, 97.8)),
    ("UCF101", ("0.01", "0.05", "0.1"), (46.0, 73.2, 84.3), (50.3, 77.6, 87.0)),
    ("HMDB51", ("0.4", "0.5"), (58.5, 62.9), (61.5, 65.7)),
)
# multimodal model (Vicuna-7B) on Gym-QA-99 and Gym-QA-288, by the features it is given
_MLLM = {
    "SeFAR": (49.0, 56.2),
    "CLIP ViT-L": (37.3, 41.0),
    "EVA-CLIP ViT-G": (43.7, 44.8),
    "ViT-L/14": (44.3, 46.0),
}


def published(table: str | None = None) -> pd.DataFrame:
    """The paper's numbers.

    Args:
        table: ``main`` (SeFAR-S and SeFAR-B by data set and label fraction), ``regulation`` (FineDiving by label
            fraction, methods ``with`` and ``without``), ``components``, ``perturbations`` and ``passes`` (method is the
            arm's name), ``mllm`` (features for a multimodal model); None: all.

    Returns:
        ``table``, ``data_set``, ``fraction`` (label share as scopes write it, empty where none applies), ``method``,
        ``value``, ``unit`` (``% top-1``, ``% accuracy`` or ``ms``).

    Raises:
        ValueError: no such table.
    """
    if table is not None and table not in TABLES:
        raise ValueError(f"table: expected one of {', '.join(TABLES)}, got '{table}'")
    frame = pd.DataFrame([*_main(), *_regulation(), *_arms(), *_mllm()], columns=COLUMNS)
    return frame if table is None else frame[frame.table == table].reset_index(drop=True)


def _main() -> Iterator[tuple[str, str, str, str, float, str]]:
    for data_set, fractions, small, base in _MAIN:
        for method, values in (("SeFAR-S", small), ("SeFAR-B", base)):
            for fraction, value in zip(fractions, values, strict=True):
                yield "main", data_set, fraction, method, value, TOP1


def _regulation() -> Iterator[tuple[str, str, str, str, float, str]]:
    for name, method in (("adaptive", "with"), ("tau_0", "without")):
        (arm,) = [arm for arm in THRESHOLDS.arms if arm.name == name]
        for column, value in arm.published.items():
            yield "regulation", *_place(column), method, value, TOP1


def _arms() -> Iterator[tuple[str, str, str, str, float, str]]:
    studies: dict[str, Ablation] = {"components": COMPONENTS, "perturbations": PERTURBATIONS, "passes": PASSES}
    for table, ablation in studies.items():
        for arm in ablation.arms:
            for column, value in arm.published.items():
                if column.endswith(" ms"):
                    yield table, "", "", f"{arm.name} {column.removesuffix(' ms')}", value, "ms"
                else:
                    yield table, *_place(column), arm.name, value, TOP1


def _mllm() -> Iterator[tuple[str, str, str, str, float, str]]:
    for method, values in _MLLM.items():
        for data_set, value in zip(("Gym-QA-99", "Gym-QA-288"), values, strict=True):
            yield "mllm", data_set, "", method, value, "% accuracy"


def _place(column: str) -> tuple[str, str]:
    """``Gym99 5 %`` → ``Gym99``, ``0.05``."""
    data_set, percent, _ = column.rsplit(" ", 2)
    return data_set, f"{float(percent) / 100:g}"
