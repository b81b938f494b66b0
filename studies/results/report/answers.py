"""The headline: what the study says, in sentences with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator

from studies.results.leaderboard import MARKS, ranked, search_rows, short_scope
from studies.results.report.boards import what_it_is
from studies.results.report.parts import counted
from studies.results.report.study import SWEEP, StudyView, short_method
from studies.results.schema import FINISHED, METRIC
from studies.results.scores import BASELINE
from studies.results.stats.answers import answer, told_apart

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
        best = finished[0]
        named = [f"the {MARKS[r['role']]} has {r[METRIC]:.1f} %" for r in finished[1:] if r["role"] in MARKS]
        what = f"trial {int(best['number']):03d} ({what_it_is(best)})"
        said = f"On {short_scope(str(scope))}, of {counted(len(finished), 'finished trial')}, best on dev is {what}"
        yield "; ".join([f"{said} with {best[METRIC]:.1f} %", *named]) + "."
    if study.finished and not study.confirmed:
        yield "These are single runs: the search chose them by dev accuracy, and some of that is luck."


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
    if study.finished and not found and study.kind != SWEEP:
        yield f"{counted(study.finished, 'trial')} finished, but no two methods share a label split and training seed."
