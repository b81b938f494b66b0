"""The headline: what the study says, in sentences with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from studies.results.best_on_dev import DIGITS
from studies.results.leaderboard import MARKS, ranked, search_rows, short_scope
from studies.results.report.boards import what_it_is
from studies.results.report.parts import counted, listed
from studies.results.report.study import SWEEP, StudyView, short_method
from studies.results.report.variants import reference_notes
from studies.results.schema import FINISHED, METRIC
from studies.results.scores import BASELINE
from studies.results.stats.answers import answer, told_apart

MOST_TIED = 3  # trials that are named where several are equally good
MOST = 8  # sentences; what is told apart comes first


def answers(study: StudyView) -> list[str]:
    """Sentences, the most important first."""
    said = [*_searched(study), *_compared(study)]
    return said or ["Nothing can be said yet: no trial has finished."]


def _searched(study: StudyView) -> Iterator[str]:
    if study.kind != SWEEP:
        return
    rows = search_rows(study.trials)
    for scope in rows.scope.unique():
        finished = ranked(rows[(rows.scope == scope) & (rows.status == FINISHED)]).to_dict("records")
        if not finished:
            yield f"On {short_scope(str(scope))} no trial has finished."
            continue
        yield _best_found(short_scope(str(scope)), finished)
    if study.finished and not study.confirmed:
        yield "These are single runs: the search chose them by dev accuracy, and some of that is luck."


def _best_found(scope: str, finished: list[dict[Any, Any]]) -> str:
    """The best on dev of ranked trials, all that are equally good, and how the named configurations stand."""
    said = f"On {scope}, of {counted(len(finished), 'finished trial')}, "
    if finished[0][METRIC] != finished[0][METRIC]:
        return f"{said}none has an accuracy on dev."
    top = round(finished[0][METRIC], DIGITS)
    best = [row for row in finished if round(row[METRIC], DIGITS) == top]
    named = [row for row in finished[len(best) :] if row["role"] in MARKS and row[METRIC] == row[METRIC]]
    trials = [f"trial {int(row['number']):03d} ({what_it_is(row)})" for row in best]
    if len(best) == 1:
        said += f"best on dev is {trials[0]} with {top:.1f} %"
    else:
        said += f"{len(best)} are equally good on dev with {top:.1f} %: {listed(trials, MOST_TIED)}"
    return "; ".join([said, *(f"the {MARKS[row['role']]} has {row[METRIC]:.1f} %" for row in named)]) + "."


def _compared(study: StudyView) -> Iterator[str]:
    # the baseline without pseudo-labels is no candidate; it comes after what competes with it
    found = sorted(
        study.comparisons,
        key=lambda c: (
            not told_apart(c.paired.interval),
            BASELINE in (c.paired.method, c.paired.other),
            -abs(c.paired.interval.value),
        ),
    )
    for each in found[:MOST]:
        what = f"arm {each.paired.method}" if each.question else short_method(each.paired.method)
        adjusted = each.adjusted_p if each.adjusted_p == each.adjusted_p else None
        sentence = answer(each.paired, what=what, where=short_scope(each.scope), adjusted_p=adjusted)
        yield f"{sentence[:1].upper()}{sentence[1:]}."
    if len(found) > MOST:
        left = counted(len(found) - MOST, "comparison stands", "comparisons stand")
        yield f"{left} in the table of differences."
    if found:
        yield from reference_notes(study)
    elif study.finished and study.kind != SWEEP:
        yield from nothing_compared(study)


def nothing_compared(study: StudyView) -> list[str]:
    """Why a study that is no search has no comparison."""
    rows = [study.measured(question) for question in study.questions]
    finished = f"{counted(study.finished, 'trial')} finished, but "
    if not study.finished:
        return ["No trial has finished."]
    if not any(map(len, rows)):
        return [f"{finished}none was evaluated on the test clips, and accuracies on dev are not compared."]
    if different := reference_notes(study):
        return different
    if study.repeated:
        return [f"{finished}several are of one method, seed and label split: {listed(study.repeated, 3)}."]
    if all(scores.method.nunique() < 2 for scores in rows):
        return [f"{finished}of one method only: there is nothing to compare it with."]
    return [f"{finished}no method shares a label split and training seed with what it is compared with."]
