"""Methods side by side over label fractions and seeds, as Markdown in the shape of the paper's Table 6.

Each FixMatch has candidate thresholds; the one of greatest mean dev accuracy stands for it, at each fraction anew and
over the runs that all candidates have (`studies.results.best_on_dev`). Test accuracy chooses nothing.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from studies.results.fixmatch import FAMILIES, chosen_fixmatch, family_of, fixmatch_notes
from studies.results.published import published
from studies.results.schema import METRIC
from studies.results.scores import BASELINE, OURS, fraction_order, tidy_scores
from studies.results.stats.bootstrap import Interval, stratified_interval
from studies.results.stats.paired import PairedDifference, paired_difference

STUDENT, TEACHER = "test_student_top1", "test_teacher_top1"
ALL = "1"  # the fraction that labels every clip


@dataclass(frozen=True)
class Cell:
    """A method at a fraction.

    Attributes:
        method: as `tidy_scores` names it; of FixMatch the threshold chosen.
        runs: number of finished runs.
        interval: mean accuracy on test in percent, or the mean paired difference in points.
    """

    method: str
    runs: int
    interval: Interval


def contenders(scores: pd.DataFrame, fraction: str) -> dict[str, str]:
    """The methods at a fraction by the name of their row: SeFAR, supervised, FixMatch as chosen on dev, others."""
    here = [str(m) for m in scores[scores.fraction == fraction].method.unique()]
    rows = {name: name for name in (OURS, BASELINE) if name in here}
    rows |= {FAMILIES[family]: method for family, method in chosen_fixmatch(scores, fraction).items()}
    return rows | {name: name for name in sorted(here) if name not in rows and family_of(name) is None}


def fraction_cells(scores: pd.DataFrame, value: str = STUDENT) -> dict[str, dict[str, Cell]]:
    """Accuracy by row of the table and fraction, then SeFAR's paired differences to the others.

    Args:
        scores: of `tidy_scores`, of one study and one subset of the clips.
        value: column to show, percent.

    Returns:
        ``{"SeFAR": {"1pc": …}, …, "SeFAR − supervised": {"1pc": …}, …}``; what has not been run is left out.
    """
    cells: dict[str, dict[str, Cell]] = {}
    differences: dict[str, dict[str, Cell]] = {}
    for fraction in fractions_of(scores):
        here = scores[scores.fraction == fraction]
        rows = contenders(scores, fraction)
        for row, method in rows.items():
            values = here[here.method == method][value].dropna()
            if len(values):
                cell = Cell(method, len(values), over_runs(here[here.method == method], fraction, value))
                cells.setdefault(row, {})[fraction] = cell
        for row, method in rows.items():
            if row != OURS and OURS in rows:
                paired = paired_difference(here, OURS, method, value=value)
                if paired.pairs:
                    cell = Cell(method, paired.pairs, paired.interval)
                    differences.setdefault(f"{OURS} − {row}", {})[fraction] = cell
    return cells | differences


def over_runs(rows: pd.DataFrame, scope: str, value: str = STUDENT) -> Interval:
    """Mean accuracy of a method's runs at one scope, percent; runs that share a label split are resampled together.

    Bounds stay within 0 and 100, which those of few runs may leave.

    Args:
        rows: of `tidy_scores`, at least one with a value.
        scope: what the interval's reason calls it.
        value: column, percent.
    """
    known = rows[rows[value].notna()]
    shared = 1 < known.split_seed.nunique() < len(known)
    interval = stratified_interval({scope: known[value]}, clusters={scope: known.split_seed} if shared else None)
    if not interval.known:
        return interval
    return dataclasses.replace(interval, low=max(interval.low, 0.0), high=min(interval.high, 100.0))


def fractions_of(scores: pd.DataFrame) -> list[str]:
    """Label fractions in rising order, all labels last."""
    clips = scores.groupby("fraction").labelled_clips.max().fillna(math.inf)
    return [str(f) for f in sorted(clips.index, key=lambda f: (f == ALL, clips[f], fraction_order(str(f))))]


def fraction_title(scores: pd.DataFrame, fraction: str) -> str:
    """``3pc (36 clips)``; without the number where an old store does not say it."""
    clips = scores[scores.fraction == fraction].labelled_clips.dropna()
    name = "all" if fraction == ALL else fraction
    return f"{name} ({int(clips.max())} clips)" if len(clips) else name


def method_table(trials: pd.DataFrame, *, command: str) -> str:
    """Accuracy on the test clips by method and label fraction, with differences, and every run's number.

    Args:
        trials: finished trials of ``studies/label_efficiency.py`` on one subset; roles such as ``sefar @1pc``.
        command: what made them, for the heading.

    Returns:
        Markdown. Where there is one fraction (all labels apart), the runs' numbers alone.
    """
    scores = tidy_scores(trials)
    few = [f for f in fractions_of(scores) if f != ALL]
    lines = [
        "# Few labels: methods side by side",
        "",
        f"Made by `{command}` on {os.cpu_count()} {platform.machine()} cores, torch {torch.__version__}.",
    ]
    if len(few) > 1:
        lines += ["", *_by_fraction(scores), *paper_lines(), ""]
    lines += ["Percent top-1 on the test set; thresholds were chosen on dev: per seed, mean ± standard deviation."]
    lines += [line for note in fixmatch_notes(scores, fractions_of(scores)) for line in ("", note)]
    for fraction in few if len(few) > 1 else [None]:
        shown = scores if fraction is None else scores[scores.fraction == fraction]
        lines += ["", *([f"## {fraction_title(scores, fraction)}", ""] if fraction is not None else [])]
        lines += _runs(trials[trials.trial_id.isin(shown.trial_id)], scores)
    if len(few) > 1 and (scores.fraction == ALL).any():
        whole = trials[trials.trial_id.isin(scores[scores.fraction == ALL].trial_id)]
        lines += ["", f"## {fraction_title(scores, ALL)}", "", *_runs(whole, scores)]
    for fraction in few:
        lines += _differences(scores[scores.fraction == fraction], contenders(scores, fraction), fraction)
    return "\n".join(lines) + "\n"


def _by_fraction(scores: pd.DataFrame) -> list[str]:
    """The table of fractions, as in the paper's Table 6."""
    fractions, cells = fractions_of(scores), fraction_cells(scores)
    seeds = scores.groupby(["method", "fraction"]).size()
    runs = f"{seeds.min()} runs" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()} runs"
    lines = [
        "Student's top-1 on the test clips in percent: mean and 95 % interval over seeds (label splits and training "
        f"seeds together), {runs} a cell. The threshold of each FixMatch is the best on dev at each fraction. "
        "Differences are paired by seed, in points.",
        "",
        _line(["method", *(fraction_title(scores, f) for f in fractions)]),
        _line(["---"] * (len(fractions) + 1)),
    ]
    for row, by_fraction in cells.items():
        shown = [_shown(by_fraction.get(f), signed="−" in row) for f in fractions]
        lines.append(_line([row, *shown]))
    reasons = {cell.interval.reason for row in cells.values() for cell in row.values()} - {""}
    return [
        *lines,
        "",
        *(f"Where an interval is missing: {reason}." for reason in sorted(reasons)),
        *([""] if reasons else []),
    ]


def paper_lines() -> list[str]:
    """The paper's numbers by label fraction, on real data, as a table apart: no run here is expected to meet them."""
    small = published("main").query("method == 'SeFAR-S'")
    regulation = published("regulation")
    regulation = regulation.assign(method=regulation.method + " regulation")
    rows = pd.concat([small, regulation])
    fractions = sorted(rows.fraction.unique(), key=float)
    lines = [
        "The paper's numbers (ViT-S, pretrained, on real data), to see how accuracy grows with labels there:",
        "",
        _line(["data set", "method", *(f"{100 * float(f):g} %" for f in fractions)]),
        _line(["---"] * (len(fractions) + 2)),
    ]
    for (data_set, method), group in rows.groupby(["data_set", "method"], sort=False):
        values = dict(zip(group.fraction, group.value, strict=True))
        lines.append(
            _line([str(data_set), str(method), *(f"{values[f]:g}" if f in values else "–" for f in fractions)])
        )
    return lines


def _shown(cell: Cell | None, *, signed: bool) -> str:
    if cell is None:
        return "–"
    text = cell.interval.text(signed=signed)
    _, mark, threshold = cell.method.partition(" τ=")
    return f"{text}, τ={threshold}" if mark and not signed else text


def _runs(trials: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Every run's number, a line a method."""
    lines = [
        "| method | student, per seed | student | teacher, per seed | teacher | dev student | seconds a run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    chosen = {(m, f) for f in scores.fraction.unique() for m in chosen_fixmatch(scores, f).values()}
    names = scores.set_index("trial_id")
    for role in sorted(trials.role.unique()):
        rows = trials[trials.role == role].sort_values("number")
        first = names.loc[rows.trial_id.iloc[0]]
        name = f"{role} (chosen on dev)" if (first.method, first.fraction) in chosen else role
        cells = [cell for column in (STUDENT, TEACHER) for cell in _per_seed(rows[column].dropna())]
        lines.append(_line([name, *cells, f"{rows[METRIC].mean():.1f}", f"{rows.seconds.max():.0f}"]))
    return lines


def _per_seed(values: pd.Series) -> list[str]:
    each = ", ".join(f"{v:.1f}" for v in values) or "–"
    return [each, f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(values) > 1 else each]


def _differences(scores: pd.DataFrame, rows: dict[str, str], fraction: str) -> list[str]:
    """SeFAR minus each baseline of the same labels, seed by seed; a blank line before, where there are any."""
    others = [method for row, method in rows.items() if row != OURS] if OURS in rows else []
    lines = []
    for method in others:
        paired = paired_difference(scores, OURS, method)
        if paired.pairs:
            lines.append(f"{OURS} − {method} @{fraction}, student, per seed: {_said(paired)}")
    return ["", *lines] if lines else []


def _said(paired: PairedDifference) -> str:
    each = ", ".join(f"{v:+.1f}" for v in paired.per_pair.sort_values("train_seed").difference)
    interval = paired.interval
    bounds = f" (95 % interval {interval.low:+.1f} to {interval.high:+.1f})" if interval.known else ""
    return f"{each}; mean {interval.value:+.1f} points{bounds}."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
