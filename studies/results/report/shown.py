"""Which runs the figures of a page show: those that are alike, those of a leaderboard, the one that is best on dev."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sefar.ssl.weighting import WeightingConfig
from studies.results.best_on_dev import order_on_dev
from studies.results.comparison import fractions_of
from studies.results.confirm import confirm_rows
from studies.results.figures.style import NothingToDraw
from studies.results.leaderboard import MARKS, ranked, search_rows, short_scope
from studies.results.report.study import TEST, StudyView, short_method
from studies.results.report.variants import variants
from studies.results.schema import CONFIRM, FINISHED
from studies.results.scores import BASELINE, OURS

MOST_REGULATED = 3  # label scopes with a figure of their pseudo-labels
TOP = 8  # configurations of a scope in the picture of the leaderboard
SLOPES = ("alpha", "kappa")


@dataclass(frozen=True)
class Alike:
    """Runs of the paper's default at one label scope; they differ in seeds and label splits alone.

    Attributes:
        scope: label scope without split seed.
        trial_ids: the finished runs.
        alpha: slope of the weight's confidence factor.
        kappa: slope of its spread factor.
        note: what the figure does not show by itself; may be empty.
        differ: the settings in which the runs do differ; then they cannot be shown as one.
    """

    scope: str
    trial_ids: tuple[str, ...]
    alpha: float
    kappa: float
    note: str = ""
    differ: str = ""

    def rows(self, regulation: pd.DataFrame) -> pd.DataFrame:
        """Rows of ``regulation`` of these runs.

        Raises:
            NothingToDraw: the runs differ in their settings.
        """
        if self.differ:
            raise NothingToDraw(f"runs of SeFAR at {self.scope} differ in {self.differ} and cannot be added up")
        return regulation[regulation.trial_id.isin(self.trial_ids)]


def regulated(study: StudyView) -> list[Alike]:
    """The default's runs by label scope, fewest labels first; of the confirm stage where there is one."""
    scores = study.scores[study.scores.method == OURS]
    found = []
    order = fractions_of(scores) if len(scores) else []
    groups = [(str(scope), rows) for scope, rows in scores.groupby("base_scope")]
    groups.sort(key=lambda group: (order.index(group[1].fraction.iloc[0]), group[0]))
    for scope, rows in groups[:MOST_REGULATED]:
        confirm = rows[rows.stage == CONFIRM]
        rows = confirm if len(confirm) else rows
        differ = next((each.said for each in variants(study, rows)), "")
        found.append(_alike(study, scope, tuple(map(str, rows.trial_id)), differ))
    return found


def _alike(study: StudyView, scope: str, trial_ids: tuple[str, ...], differ: str) -> Alike:
    """The runs with their slopes; what an old store does not say is said to be the default's."""
    trials = study.trials[study.trials.trial_id.isin(trial_ids)]
    known = {name: _values(trials, f"config.weighting.{name}") for name in (*SLOPES, "kind")}
    values = {name: float(known[name][0] if known[name] else getattr(WeightingConfig(), name)) for name in SLOPES}
    unsaid = [] if all(known[name] for name in SLOPES) else ["α and κ are not recorded and drawn as by default"]
    other = [kind for kind in known["kind"] if kind != "adaptive"]
    unsaid += [f"these runs weighted by '{other[0]}', η is what regulation would have given"] if other else []
    return Alike(scope, trial_ids, values["alpha"], values["kappa"], "; ".join(unsaid), differ)


def _values(trials: pd.DataFrame, column: str) -> list[Any]:
    return list(trials[column].dropna().unique()) if column in trials else []


def shown_predictions(study: StudyView, scopes: list[str]) -> pd.DataFrame | None:
    """Predictions of the single trials that the leaderboard's picture shows; None where there are none.

    Args:
        study: of a sweep.
        scopes: the picture's panels. One with a confirm stage shows runs of that, which need no predictions.
    """
    tables = []
    for scope in scopes:
        confirmed = confirm_rows(study.trials, scope)
        if (confirmed.status == FINISHED).any():
            continue
        rows = search_rows(study.trials[study.trials.scope == scope])
        rows = ranked(rows[(rows.status == FINISHED) & rows[TEST].notna()])
        shown = [*rows.head(TOP).trial_id, *rows.iloc[TOP:][rows.iloc[TOP:].role.isin(list(MARKS))].trial_id]
        tables += [table for table in map(study.predictions, shown) if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else None


def best_measured(study: StudyView) -> tuple[str, str | None, str] | None:
    """A run of the method that is best on dev at the first scope, the supervised one of its seeds, and its name.

    Returns:
        None where nothing was measured on both dev and test.
    """
    scopes = study.by_scope(study.questions[0])
    if not scopes:
        return None
    rows = scopes[0][1]
    rows = rows[rows.method != BASELINE] if (rows.method != BASELINE).any() else rows
    best = order_on_dev(rows).best
    if best is None:
        return None
    run = rows[rows.method == best].sort_values(["split_seed", "train_seed"]).iloc[0]
    scores = study.measured(study.questions[0])
    same = scores[(scores.method == BASELINE) & (scores.scope == run.scope) & (scores.train_seed == run.train_seed)]
    name = f"{short_method(str(run.method))}, {short_scope(str(run.scope))}, seed {run.train_seed}"
    other = str(same.trial_id.iloc[0]) if len(same) and run.method != BASELINE else None
    return str(run.trial_id), other, name
