"""What speaks against believing a study: checks of its rows, each a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from studies.results.confirm import without_split
from studies.results.leaderboard import MARKS, short_scope
from studies.results.report.parts import counted
from studies.results.schema import CONFIRM, DEFAULT, FAILED, FINISHED, PRUNED, RUNNING, SUPERVISED

STILL_RISING = 0.5  # share of a scope's finished trials that were best in their last epoch
FEW_SEEDS = 3
MISSING = ("missing_labelled", "missing_unlabelled", "missing_dev", "missing_test")
VERSIONS = ("commit", "sefar_version", "torch_version", "device")


@dataclass(frozen=True)
class Doubt:
    """Something that speaks against a study's results.

    Attributes:
        study: its name.
        text: what is the matter and what to do, a sentence.
        grave: whether figures should not be used before it is mended; else it limits what they say.
    """

    study: str
    text: str
    grave: bool


def doubts(trials: pd.DataFrame, problems: Sequence[str] = ()) -> list[Doubt]:
    """All doubts about the studies in a table, grave ones first.

    Args:
        trials: rows of ``trials``.
        problems: of `studies.results.store.ResultStore.problems`.
    """
    found = [Doubt("", f"skipped: {problem}", True) for problem in problems]
    for study, rows in trials.groupby("study", sort=True):
        for check in (_failed, _unfinished, _splits, _missing, _named, _versions, _seeds, _rising, _tested):
            found += [Doubt(str(study), text, grave) for text, grave in check(rows)]
    return sorted(found, key=lambda doubt: not doubt.grave)


Found = Iterator[tuple[str, bool]]


def _failed(rows: pd.DataFrame) -> Found:
    failed = rows[rows.status == FAILED]
    if len(failed):
        first = failed.iloc[0]
        yield (
            f"{counted(len(failed), 'trial')} of {len(rows)} failed, the first ({first.trial_id}) with: {first.error}; "
            "mend the cause and run again with --retry-failed",
            True,
        )


def _unfinished(rows: pd.DataFrame) -> Found:
    running = int((rows.status == RUNNING).sum())
    if running:
        yield f"{counted(running, 'trial')} had not ended when this was read; the same command goes on with them", False


def _splits(rows: pd.DataFrame) -> Found:
    for scope, hashes in rows.groupby("scope")["split_hash"]:
        if hashes.dropna().nunique() > 1:
            yield (
                f"{short_scope(str(scope))} was split in {hashes.dropna().nunique()} different ways: the data changed "
                "between trials, which must not be compared; run the scope anew under another --name",
                True,
            )


def _missing(rows: pd.DataFrame) -> Found:
    parts = [part for part in MISSING if part in rows]
    for scope, some in rows.groupby("scope"):
        most = some[parts].fillna(0).max()
        if most.sum():
            told = ", ".join(
                f"{int(count)} {str(part).removeprefix('missing_')}" for part, count in most.items() if count
            )
            yield f"{short_scope(str(scope))} ran without clips that were missing or broken: {told}", False


def _named(rows: pd.DataFrame) -> Found:
    if not rows.role.isin([DEFAULT, SUPERVISED]).any():
        return  # a grid has its own comparisons
    for scope, some in rows.groupby("scope"):
        for role, mark in MARKS.items():
            if not ((some.role == role) & (some.status == FINISHED)).any():
                yield f"{short_scope(str(scope))} has no finished {mark} to compare with", True


def _versions(rows: pd.DataFrame) -> Found:
    for column in VERSIONS:
        values = sorted(set(rows[column].dropna())) if column in rows else []
        if len(values) > 1:
            yield f"trials ran with {len(values)} different values of {column}: {', '.join(map(str, values))}", False


def _seeds(rows: pd.DataFrame) -> Found:
    confirm = rows[rows.stage == CONFIRM] if "stage" in rows else rows.iloc[:0]
    used = confirm if len(confirm) else rows
    for base, some in used.groupby(used.scope.map(without_split)):
        runs = len(some[["scope", "train_seed"]].drop_duplicates())
        if runs == 1:
            yield (
                f"{short_scope(str(base))}: one training seed on one label split, so no difference between its trials "
                "can be trusted; confirm the best with --confirm 3, or use more --seeds",
                False,
            )
        elif runs < FEW_SEEDS:
            yield f"{short_scope(str(base))}: {runs} seeds or label splits are few; intervals will be wide", False


def _rising(rows: pd.DataFrame) -> Found:
    for scope, some in rows[rows.status == FINISHED].groupby(rows.scope.map(without_split)):
        last = (some.best_epoch >= some.epochs_planned) & (some.epochs_planned > 1)
        if last.mean() > STILL_RISING:
            yield (
                f"{short_scope(str(scope))}: {int(last.sum())} of {len(some)} finished trials were best in their last "
                "epoch; longer training may change the order",
                False,
            )


def _tested(rows: pd.DataFrame) -> Found:
    if (rows.role == DEFAULT).any() and CONFIRM not in set(rows.stage):
        tested = int(rows.test_student_top1.notna().sum())
        if tested > 2:
            yield (
                f"{tested} trials of the search were evaluated on the test clips: the best of them by test accuracy "
                "would be too good; go by dev, or use --confirm",
                False,
            )


def status_counts(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials by study, label scope (over its splits) and status, with what they cost in hours.

    Returns:
        ``study``, ``scope``, ``trials``, ``finished``, ``pruned``, ``failed``, ``running``, ``hours``,
        ``accelerator_hours``.
    """
    table = []
    for (study, scope), rows in trials.groupby(["study", trials.scope.map(without_split)], sort=True):
        counts = {status: int((rows.status == status).sum()) for status in (FINISHED, PRUNED, FAILED, RUNNING)}
        hours = {
            "hours": rows.seconds.sum() / 3600,
            "accelerator_hours": rows.accelerator_seconds.sum() / 3600,
        }
        table.append({"study": study, "scope": short_scope(str(scope)), "trials": len(rows), **counts, **hours})
    columns = ["study", "scope", "trials", FINISHED, PRUNED, FAILED, RUNNING, "hours", "accelerator_hours"]
    return pd.DataFrame(table, columns=columns)
