"""Tables of accuracies: a search's leaderboard, methods over runs, label fractions, paired differences."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from studies.results.best_on_dev import DIGITS, order_on_dev
from studies.results.comparison import fraction_cells, fraction_title, fractions_of, over_runs
from studies.results.fixmatch import FAMILIES, chosen_fixmatch, threshold_of
from studies.results.leaderboard import MARKS, describe_parameters, ranked, search_rows, short_scope
from studies.results.report.parts import Cell, Column, Row, Table, ident, number, text
from studies.results.report.study import TEST, Comparison, StudyView, short_method
from studies.results.report.variants import apart
from studies.results.schema import FAILED, FINISHED, METRIC, PRUNED, TRANSFER, text_of
from studies.results.stats.answers import told_apart
from studies.results.stats.multiplicity import comparison_note

MOST_TRIALS = 2000  # rows of the table of every trial: past that a browser takes seconds to sort it
LOW, HIGH = "lower bound of the 95 % interval", "upper bound of the 95 % interval"


def listed_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that the page shows one by one: all, or of too many those that rank first in their scope.

    Args:
        trials: rows of ``trials`` of a study.
    """
    if len(trials) <= MOST_TRIALS:
        return trials
    ranks = pd.concat([ranked(rows).reset_index()[["index"]] for _, rows in trials.groupby("scope")])
    first = ranks.sort_index(kind="stable")["index"].head(MOST_TRIALS)
    return trials.loc[trials.index.isin(first)]


def search_board(study: StudyView, scope: str) -> Table:
    """The search of one scope, a row a trial, as `studies.results.leaderboard.ranked` orders them."""
    every = search_rows(study.trials[study.trials.scope == scope])
    rows = ranked(every[every.trial_id.isin(listed_trials(study.trials).trial_id)])
    finished = rows[METRIC].where(rows.status == FINISHED).round(DIGITS)
    tested = rows[TEST].notna().any()
    columns = [
        Column("rank", True, sorted="ascending"),
        Column("trial", True),
        Column("dev (%)", True, "top-1 of the student on the dev clips; trials are ranked by it"),
        Column("dev, teacher (%)", True, "top-1 of the teacher on the dev clips"),
        *([Column("test (%)", True, "top-1 of the student on the test clips; chooses nothing")] if tested else []),
        Column("epochs", True),
        Column("time (s)", True),
        Column("status"),
        Column("configuration", wide=True),
    ]
    shown = []
    # trials of equal accuracy share a rank
    for row, rank in zip(rows.to_dict("records"), finished.rank(method="min", ascending=False), strict=True):
        cells = [
            number(rank, 0),
            Cell(f"{int(row['number']):03d}", str(int(row["number"])), ident("trial", str(row["trial_id"]))),
            number(row[METRIC]),
            number(row["dev_teacher_top1"]),
            *([number(row[TEST])] if tested else []),
            Cell(f"{int(row['epochs_done'])}/{int(row['epochs_planned'])}", str(int(row["epochs_done"]))),
            number(row["seconds"], 0),
            text(row["status"]),
            text(what_it_is(row)),
        ]
        shown.append(Row(cells, "best" if rank == 1 else "dim" if row["status"] in (PRUNED, FAILED) else ""))
    notes = [f"{len(every)} trials on {short_scope(scope)}; pruned ones were stopped early and are not ranked."]
    notes += [f"The page shows the first {len(rows)} of them."] if len(rows) < len(every) else []
    return Table(ident("board", scope), f"Search on {scope}", columns, shown, notes)


def what_it_is(row: dict[Any, Any]) -> str:
    """A trial's configuration in short, named ones by name."""
    said = describe_parameters(json.loads(text_of(row["parameters"]) or "{}"))
    role = str(row["role"])
    if role in MARKS:
        return MARKS[role] + (f": {said}" if said else "")
    return f"{said} (from a cheaper scope)" if role == TRANSFER else said or role


def method_board(rows: pd.DataFrame, scope: str, question: str, *, confirmed: bool) -> Table:
    """Methods of one scope over their runs, best on dev first, as `order_on_dev` orders them.

    Args:
        rows: scores measured on test.
        scope: label scope without split seed.
        question: name of the ablation, or empty.
        confirmed: whether these are the runs that confirm a search.
    """
    order = order_on_dev(rows)
    means = rows.groupby("method")[METRIC].mean()
    names = [*order.dev, *sorted(set(means.index) - set(order.dev))]
    uneven = order.left_out or not order.shared  # then means over all runs may come in another order
    columns = [
        Column("method", wide=any(len(m) > 30 for m in rows.method)),
        Column("runs", True),
        Column("dev (%)", True, "mean top-1 of the student on the dev clips", "none" if uneven else "descending"),
        Column("test (%)", True, "mean top-1 of the student on the test clips"),
        Column("low", True, LOW),
        Column("high", True, HIGH),
        Column("test, teacher (%)", True, "mean top-1 of the teacher on the test clips"),
        Column("time (s)", True, "of a run, mean"),
    ]
    shown, reasons = [], set()
    for method in names:
        runs = rows[rows.method == method]
        interval = over_runs(runs, scope)
        reasons |= {interval.reason} - {""}
        cells = [
            text(method),
            number(len(runs), 0),
            number(means[method]),
            number(interval.value),
            number(interval.low),
            number(interval.high),
            number(runs.test_teacher_top1.mean()),
            number(runs.seconds.mean(), 0),
        ]
        shown.append(Row(cells, "best" if method in order.tied else ""))
    title = f"{question} on {scope}" if question else f"Confirmed on {scope}" if confirmed else f"Methods on {scope}"
    notes = [f"Where an interval is missing: {reason}." for reason in sorted(reasons)]
    notes += [f"Order of the rows: {said[:1].lower()}{said[1:]}" for said in order.notes(short_method)]
    return Table(ident("methods", question, scope), title, columns, shown, notes)


def fraction_board(study: StudyView) -> list[Table]:
    """Methods × label fractions, a table a subset of the clips."""
    tables = []
    for subset, scores in apart(study, study.measured()).groupby("subset"):
        fractions, cells = fractions_of(scores), fraction_cells(scores)
        columns = [Column("method"), *(Column(fraction_title(scores, f), True) for f in fractions)]
        shown = []
        for method, by_fraction in cells.items():
            row = [text(method)]
            for fraction in fractions:
                cell = by_fraction.get(fraction)
                said = "" if cell is None else cell.interval.text(signed="−" in method)
                row.append(Cell(said, "" if cell is None else repr(cell.interval.value)))
            shown.append(Row(row))
        notes = ["Percent of the test clips, mean and 95 % interval over runs; differences in points, paired by seed."]
        chosen = [(f, family, m) for f in fractions for family, m in chosen_fixmatch(scores, f).items()]
        for family in dict.fromkeys(family for _, family, _ in chosen):
            thresholds = ", ".join(f"{threshold_of(m)} at {f}" for f, of, m in chosen if of == family)
            notes.append(f"The threshold of {FAMILIES[family]} is the best on dev at each fraction: {thresholds}.")
        tables.append(Table(ident("fractions", str(subset)), f"Accuracy by labels on {subset}", columns, shown, notes))
    return tables


def is_gain(comparison: Comparison) -> bool:
    """Whether the method is better by more than chance explains, by its interval and by the adjusted p-value."""
    interval = comparison.paired.interval
    return told_apart(interval) and interval.value > 0 and comparison.adjusted_p <= 1 - interval.level


def _p_value(p: float) -> Cell:
    return Cell("< 0.001", repr(p)) if p < 0.001 else number(p, 3)


def difference_table(comparisons: list[Comparison]) -> Table:
    """Every comparison with interval and p-values."""
    asked = any(c.question for c in comparisons)
    columns = [
        Column("scope"),
        *([Column("ablation")] if asked else []),
        Column("method", wide=any(len(c.paired.method) > 30 for c in comparisons)),
        Column("against"),
        Column("pairs", True, "runs of both with the same label split and training seed"),
        Column("points", True, "mean of method − other on the test clips"),
        Column("low", True, LOW),
        Column("high", True, HIGH),
        Column("p", True, "two-sided t test over label splits or seeds"),
        Column("p (Holm)", True, "after Holm, over all rows"),
        Column("what limits it", wide=True),
    ]
    shown = []
    for each in comparisons:
        paired = each.paired
        cells = [
            text(short_scope(each.scope)),
            *([text(each.question)] if asked else []),
            text(paired.method),
            text(paired.other),
            number(paired.pairs, 0),
            number(paired.interval.value, signed=True),
            number(paired.interval.low, signed=True),
            number(paired.interval.high, signed=True),
            _p_value(paired.p_value),
            _p_value(each.adjusted_p),
            text("; ".join(said for said in (paired.interval.reason, paired.note) if said)),
        ]
        shown.append(Row(cells, "best" if is_gain(each) else ""))
    notes = [comparison_note(len(comparisons))] if len(comparisons) > 1 else []
    if any(row.kind for row in shown):
        notes.append("In colour: better by the interval and by the adjusted p-value.")
    return Table("differences-table", "Differences, paired by label split and training seed", columns, shown, notes)
