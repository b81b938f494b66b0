"""Runs under one name whose settings differ, such as two recipes in one study: told apart, never averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from studies.results.leaderboard import short_scope
from studies.results.report.parts import counted, listed
from studies.results.report.study import StudyView
from studies.results.scores import OURS

CONFIG = "config."
PLACES = ("root", "annotations", "clips", "path_prefix", "quarantine", "allow_missing")
# what differs between runs that are alike: seeds, and what cannot change a result (`TrainConfig.decisive`)
ALIKE = {
    "config.seed",
    "config.scope.name",
    *(f"config.scope.{name}" for name in PLACES),
    *(f"config.loader.{name}" for name in ("workers", "frame_store", "frame_store_gb", "frame_store_folder")),
}


@dataclass(frozen=True)
class Variants:
    """A method of one label scope that was run with several settings.

    Attributes:
        scope: label scope without split seed.
        method: as `tidy_scores` names it.
        settings: the values of each setting that differs, by its dotted key.
    """

    scope: str
    method: str
    settings: dict[str, list[str]]

    @property
    def said(self) -> str:
        """``optim.epochs (4, 8), perturb.kind (none, warp) and 3 more``."""
        return listed((f"{key} ({listed(values)})" for key, values in self.settings.items()), 4)


def variants(study: StudyView, rows: pd.DataFrame) -> list[Variants]:
    """The methods among scores whose runs at one label scope differ in their settings.

    Args:
        study: has the runs' configurations.
        rows: scores of `study`.
    """
    configs = _configs(study.trials)
    found = []
    for (scope, method), runs in rows.groupby(["base_scope", "method"], sort=False):
        if len(runs) < 2:
            continue
        mine = configs.reindex(runs.trial_id)
        values = {str(key): sorted({_shown(value) for value in mine[key].dropna()}) for key in mine}
        settings = {key.removeprefix(CONFIG): known for key, known in values.items() if len(known) > 1}
        if settings:
            found.append(Variants(str(scope), str(method), settings))
    return found


def apart(study: StudyView, rows: pd.DataFrame) -> pd.DataFrame:
    """The scores with methods of several settings told apart by name: ``SeFAR [optim.epochs 4]``.

    Args:
        study: has the runs' configurations.
        rows: scores of `study`.
    """
    configs, rows = _configs(study.trials), rows.copy()
    for each in variants(study, rows):
        mine = (rows.base_scope == each.scope) & (rows.method == each.method)
        names = [_name(each, configs.loc[trial_id]) for trial_id in rows.trial_id[mine]]
        rows.loc[mine, "method"] = names
    return rows


def reference_notes(study: StudyView) -> list[str]:
    """A sentence a label scope whose reference was run with several settings."""
    said = {}
    for question in study.questions:
        for scope, rows in study.by_scope(question):
            name = study.reference(question, rows) or OURS
            mixed = any((one.scope, one.question) == (scope, question) for one in study.comparisons)
            what = "but differences take them for one" if mixed else "and nothing is compared with them"
            for each in variants(study, rows[rows.method == name]):
                said[scope, name] = (
                    f"The study holds several different references ({name}) at {short_scope(scope)}: they differ in "
                    f"{each.said}. They are not averaged, {what}; give each recipe a study of its own (--name)."
                )
    return list(said.values())


def other_notes(study: StudyView) -> list[str]:
    """A sentence on further methods whose runs differ in their settings; none where there is no such method."""
    found = {}
    for question in study.questions:
        rows = study.measured(question)
        names = {study.reference(question, group) for _, group in study.by_scope(question)}
        for each in variants(study, rows[~rows.method.isin(names)]):
            found[each.scope, each.method] = each
    if not found:
        return []
    shown = listed((f"{each.method} in {each.said} at {short_scope(each.scope)}" for each in found.values()), 3)
    return [f"The runs of {counted(len(found), 'method')} differ in more than their seeds: {shown}."]


def _configs(trials: pd.DataFrame) -> pd.DataFrame:
    """What may not differ between runs of a method, by trial; empty where no configuration is recorded."""
    columns = [name for name in trials.columns if name.startswith(CONFIG) and name not in ALIKE]
    return trials.drop_duplicates("trial_id").set_index("trial_id")[columns]


def _name(each: Variants, config: pd.Series) -> str:
    values = [f"{key} {_shown(config[f'{CONFIG}{key}'])}" for key in each.settings]
    return f"{each.method} [{listed(values, 3)}]"


def _shown(value: Any) -> str:
    """A whole number as such, which a column with gaps holds as 4.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)
