"""Methods side by side over seeds, as a Markdown table."""

from __future__ import annotations

import os
import platform

import pandas as pd
import torch

CHOICE = "dev_student_top1"
SHOWN = ("test_student_top1", "test_teacher_top1")


def method_table(trials: pd.DataFrame, *, command: str) -> str:
    """One row a method: test top-1 of student and teacher per seed, mean ± standard deviation over seeds.

    Args:
        trials: finished trials; ``role`` is the method, ``number`` the seed. Roles that start with ``fixmatch`` differ
            in threshold alone: the one of greatest mean dev accuracy is marked as chosen.
        command: what made them, for the heading.

    Returns:
        Markdown.
    """
    lines = [
        "# Few labels: methods side by side",
        "",
        f"Made by `{command}` on {os.cpu_count()} {platform.machine()} cores, torch {torch.__version__}.",
        "Percent top-1 on the test set; thresholds were chosen on dev: per seed, mean ± standard deviation.",
        "",
        "| method | student, per seed | student | teacher, per seed | teacher | dev student | seconds a run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    dev = trials.groupby("role")[CHOICE].mean()
    fixmatch = dev[dev.index.str.startswith("fixmatch")]
    chosen = str(fixmatch.idxmax()) if len(fixmatch) else None
    for role in sorted(trials.role.unique()):
        rows = trials[trials.role == role].sort_values("number")
        name = f"{role} (chosen on dev)" if role == chosen else role
        cells = []
        for column in SHOWN:
            values = rows[column].dropna()
            cells += [", ".join(f"{v:.1f}" for v in values) or "–"]
            cells += [f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(values) > 1 else cells[-1]]
        lines.append(f"| {name} | {' | '.join(cells)} | {rows[CHOICE].mean():.1f} | {rows.seconds.max():.0f} |")
    return "\n".join([*lines, "", *_differences(trials, chosen)]) + "\n"


def _differences(trials: pd.DataFrame, fixmatch: str | None) -> list[str]:
    """SeFAR minus each baseline of the same labels, seed by seed."""
    few = [str(r) for r in trials.role.unique() if r.startswith("sefar")]
    if not few:
        return []
    ours = trials[trials.role == few[0]].set_index("number")["test_student_top1"]
    lines = []
    for role in (few[0].replace("sefar", "supervised"), fixmatch):
        theirs = trials[trials.role == role].set_index("number")["test_student_top1"]
        paired = (ours - theirs).dropna().sort_index()
        if len(paired):
            each = ", ".join(f"{v:+.1f}" for v in paired)
            lines.append(f"SeFAR − {role}, student, per seed: {each}; mean {paired.mean():+.1f} points.")
    return lines
