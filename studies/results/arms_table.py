"""Arms of an ablation side by side over seeds, with the paper's numbers beside, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

STUDENT, TEACHER, DEV = "test_student_top1", "test_teacher_top1", "dev_student_top1"


@dataclass(frozen=True, kw_only=True)
class ArmRow:
    """A row of the table.

    Attributes:
        name: of the arm.
        about: what it is.
        published: the paper's numbers by column.
    """

    name: str
    about: str
    published: Mapping[str, float] = field(default_factory=dict)


def arms_table(trials: pd.DataFrame, rows: Sequence[ArmRow], *, reference: str, columns: Sequence[str] = ()) -> str:
    """One scope's arms: top-1 on test over seeds, and the paired difference to the reference.

    Args:
        trials: finished trials, a row an arm and seed, with columns ``arm`` and ``number`` (the seed).
        rows: the arms in order.
        reference: name of the arm that the others are compared with, seed by seed.
        columns: of published numbers.

    Returns:
        A Markdown table: percent, mean ± standard deviation over seeds.
    """
    head = ["arm", "what", "seeds", "student", "teacher", f"student − {reference}", "dev", "seconds", *columns]
    lines = [_line(head), _line(["---"] * len(head))]
    base = _by_seed(trials, reference, STUDENT)
    for row in rows:
        student, dev = _by_seed(trials, row.name, STUDENT), _by_seed(trials, row.name, DEV)
        paired = (student - base).dropna()
        seconds = _by_seed(trials, row.name, "seconds")
        cells = [
            row.name,
            row.about,
            str(len(student)),
            spread(student),
            spread(_by_seed(trials, row.name, TEACHER)),
            "" if row.name == reference else spread(paired, signed=True),
            f"{dev.mean():.1f}" if len(dev) else "–",
            f"{seconds.max():.0f}" if len(seconds) else "–",
            *(f"{row.published[c]:g}" if c in row.published else "–" for c in columns),
        ]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def spread(values: pd.Series, *, signed: bool = False) -> str:
    """``70.1 ± 2.3``; without a deviation for one value, a dash for none."""
    if values.empty:
        return "–"
    mean = f"{values.mean():+.1f}" if signed else f"{values.mean():.1f}"
    return f"{mean} ± {values.std(ddof=1):.1f}" if len(values) > 1 else mean


def _by_seed(trials: pd.DataFrame, arm: str, column: str) -> pd.Series:
    return trials[trials.arm == arm].set_index("number")[column].dropna()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
