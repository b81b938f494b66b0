"""What cannot be trusted about a study, in sentences, each from its rows."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from studies.results.comparison import fractions_of
from studies.results.fixmatch import fixmatch_notes
from studies.results.leaderboard import failures, search_rows
from studies.results.report.facts import MISSING
from studies.results.report.parts import counted, listed
from studies.results.report.study import FRACTIONS, SWEEP, TEST, StudyView, short_method
from studies.results.report.variants import apart, other_notes
from studies.results.schema import FAILED, SCHEMA_VERSION, text_of

ENOUGH_RUNS = 5  # of a method, below which its interval is mostly a guess at the spread


def cautions(study: StudyView) -> list[str]:
    """What to doubt, the gravest first; empty when nothing was found."""
    return [*_state(study), *_runs(study), *_choice(study), *_data(study), *_software(study), *_store(study)]


def _state(study: StudyView) -> Iterator[str]:
    trials = study.trials
    if study.running:
        yield f"{counted(study.running, 'trial is', 'trials are')} still running: every number here may change."
    left = planned_left(trials)
    if left:
        yield f"{counted(left, 'planned trial of the search has', 'planned trials of the search have')} not started."
    failed = trials[trials.status == FAILED]
    if (reason := failures(trials)) is not None:
        yield f"The study has failed: {reason}."
    elif len(failed):
        yield f"{counted(len(failed), 'trial')} failed, the first with: {text_of(failed.iloc[0].error)}."


def planned_left(trials: pd.DataFrame) -> int:
    """Trials that a search has planned and not started; 0 for studies without a plan."""
    rows = search_rows(trials)
    if not rows.space_hash.fillna("").ne("").any():
        return 0
    return sum(max(int(group.planned.fillna(0).max()) - len(group), 0) for _, group in rows.groupby("scope"))


def _runs(study: StudyView) -> Iterator[str]:
    rows = [apart(study, study.measured(question)).assign(question=question) for question in study.questions]
    measured = pd.concat(rows)
    if measured.empty:
        yield "No finished trial was evaluated on the test clips: all accuracies are of the clips that chose."
        return
    counts = measured.groupby(["question", "base_scope", "method"]).size()
    if study.kind == SWEEP and not study.confirmed:
        yield (
            "Every configuration was run once: what is best may be best by luck with a seed and a label split. "
            "--confirm K runs the best anew over seeds and splits."
        )
    elif (counts < 2).any():
        names = listed(dict.fromkeys(short_method(str(key[2])) for key in counts[counts < 2].index), 4)
        yield f"One run only of {names}: nothing tells its spread, so no interval is given."
    elif (counts < ENOUGH_RUNS).any():
        runs = " to ".join(dict.fromkeys((str(counts.min()), str(counts.max()))))
        yield f"{runs} runs a method and scope: an interval from fewer than {ENOUGH_RUNS} is wide and rough."
    if study.kind == FRACTIONS:
        tested = study.scores[study.scores[TEST].notna()]
        yield from fixmatch_notes(tested, fractions_of(tested))
    yield from other_notes(study)
    for said in study.repeated[:3]:
        yield f"Several runs of one seed and label split: {said}. Nothing of its scope can be paired."
    for each in study.comparisons:
        if len(each.paired.unpaired):
            yield (
                f"Methods were not run on the same seeds everywhere ({short_method(each.paired.method)} and "
                f"{each.paired.other} on {each.scope}, perhaps others): differences leave out runs without a partner."
            )
            break


def _choice(study: StudyView) -> Iterator[str]:
    tested = search_rows(study.trials) if study.kind == SWEEP else study.trials.iloc[:0]
    count = int(tested[TEST].notna().sum())
    if count > 2:
        yield (
            f"{count} trials of the search were evaluated on the test clips. Ranks follow dev; whoever chooses by the "
            "test column has no test left."
        )


def _data(study: StudyView) -> Iterator[str]:
    trials = study.trials
    hashes = trials[trials.split_hash.notna()].groupby("scope").split_hash.nunique()
    for scope in hashes[hashes > 1].index[:3]:
        yield f"The clips of {scope} changed between trials ({hashes[scope]} split hashes): its trials are not alike."
    worst = trials[list(MISSING)].apply(pd.to_numeric).max().fillna(0)
    if worst.sum():
        parts = [f"{int(n)} {name.removeprefix('missing_')}" for name, n in worst.items() if n]
        yield f"Clips were absent or quarantined and left out, at most in a trial: {', '.join(parts)}."
    if trials.labelled_clips.isna().all():
        yield "The store does not say how many labelled clips a trial had (written before schema 2)."
    notes = [text for text in map(text_of, trials.notes) if text]
    if notes:
        yield f"{counted(len(notes), 'trial')} met something on the way, the first: {notes[0]}."


def _software(study: StudyView) -> Iterator[str]:
    trials = study.trials
    for name, column in (
        ("commits", "commit"),
        ("torch versions", "torch_version"),
        ("sefar versions", "sefar_version"),
    ):
        values = sorted({str(value) for value in trials[column].dropna()} - {""})
        if len(values) > 1:
            yield f"Trials ran with {len(values)} {name}: {listed(v[:12] for v in values)}."
        if column == "commit" and any(value.endswith("+") for value in values):
            yield "Code that was not committed ran: the commit alone does not bring these numbers back."
    devices = {str(value) for value in trials.device.dropna()} - {""}
    hosts = {str(value) for value in trials.host.dropna()} - {""}
    if len(devices) > 1 or len(hosts) > 1:
        yield f"{counted(len(hosts), 'host')} and {counted(len(devices), 'kind')} of device: times do not compare."


def _store(study: StudyView) -> Iterator[str]:
    if study.store.schema_version < SCHEMA_VERSION:
        yield f"The store was made with schema version {study.store.schema_version}; this page knows {SCHEMA_VERSION}."
    problems = study.store.problems()
    if problems:
        yield f"{counted(len(problems), 'file')} of the store could not be read and are missing here; they stand below."
