"""Finished trials as scores of methods: the table that statistics and figures start from."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from sefar.data.scope_name import parse_scope
from studies.results.confirm import without_split
from studies.results.leaderboard import describe_parameters
from studies.results.schema import DEFAULT, FINISHED, METRIC, SEARCH, SUPERVISED, TRANSFER, text_of

OURS, BASELINE, REFERENCE = "SeFAR", "supervised", "reference"
COLUMNS = [
    "study",
    "trial_id",
    "stage",
    "role",
    "method",
    "scope",
    "base_scope",
    "subset",
    "fraction",
    "labelled_clips",
    "split_seed",
    "train_seed",
    METRIC,
    "test_student_top1",
    "test_teacher_top1",
    "seconds",
    "accelerator_seconds",
    "parameters",
]


def tidy_scores(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a finished trial, with its method and the parts of its label scope.

    ``method`` is ``SeFAR`` (the default, the reference, and ``sefar @…`` of a grid), ``supervised``,
    ``fixmatch τ=0.5`` and the like, an ablation's arm (with its ablation, ``components/none``, where two ablations of
    a study name an arm alike), or ``trial 004: drop 0.5 · …`` for what a search found; a confirm trial bears the name
    of the search trial that it repeats. Stages and studies are not mixed up by the table, but nor are they told apart
    by ``method``: filter them before comparing.

    Args:
        trials: rows of ``trials`` of any studies; those of the search too, so that confirm trials can be named.

    Returns:
        `COLUMNS`; ``fraction`` as the scope writes it (``1pc``, ``0.05``, ``1``; empty for given lists),
        ``labelled_clips`` NaN where an old store does not say.
    """
    finished = trials[trials.status == FINISHED]
    numbers = dict(zip(trials.trial_id, trials.number, strict=True))
    shared = _shared_arms(trials)  # of all, so that no name depends on what has finished
    rows = [_row(row, numbers, shared) for row in finished.to_dict("records")]
    table = pd.DataFrame(rows, columns=COLUMNS)
    reals = ["labelled_clips", METRIC, "test_student_top1", "test_teacher_top1", "seconds", "accelerator_seconds"]
    return table.astype(dict.fromkeys(reals, float) | {"split_seed": int, "train_seed": int})


def methods_of(trials: pd.DataFrame) -> list[str]:
    """The method of every trial, ended or not, as `tidy_scores` names it.

    Args:
        trials: as there.
    """
    numbers = dict(zip(trials.trial_id, trials.number, strict=True))
    shared = _shared_arms(trials)
    return [method_of(row, numbers, shared) for row in trials.to_dict("records")]


def _row(row: dict[Any, Any], numbers: dict[Any, Any], shared: set[tuple[str, str]]) -> dict[str, Any]:
    scope = str(row["scope"])
    parsed = parse_scope(scope)
    seed = row.get("train_seed")
    known = {name: row.get(name, np.nan) for name in COLUMNS}
    return known | {
        "stage": text_of(row.get("stage")) or SEARCH,
        "method": method_of(row, numbers, shared),
        "base_scope": without_split(scope),
        "subset": f"{parsed.dataset}/{parsed.subset}",
        "fraction": fraction_text(scope),
        "split_seed": parsed.split_seed,
        # old stores: grids number their trials by seed, sweeps train all with one
        "train_seed": int(seed if seed is not None and seed == seed else row["number"]),
        "parameters": text_of(row.get("parameters")) or "{}",
    }


def fraction_text(scope: str) -> str:
    """What a scope labels, as it is written: ``synthgym/core@1pc#0`` → ``1pc``; ``1`` when all, empty for lists."""
    if scope.startswith("lists:"):
        return ""
    match = re.search(r"@([0-9.]+(?:pc)?)(?:#[0-9]+)?\Z", scope)
    return match[1] if match else "1"


def fraction_order(fraction: str) -> tuple[int, float]:
    """A key to sort fractions by: labels per class first, then shares, both rising."""
    return (0, float(fraction.removesuffix("pc"))) if fraction.endswith("pc") else (1, float(fraction or 2))


def _shared_arms(trials: pd.DataFrame) -> set[tuple[str, str]]:
    """Study and name of the arms that several ablations of the study have."""
    arms = {(str(s), str(r)) for s, r in zip(trials.study, trials.role, strict=True) if "/" in str(r)}
    named = [(study, role.partition("/")[2]) for study, role in arms]
    return {arm for arm in named if named.count(arm) > 1}


def method_of(row: dict[Any, Any], numbers: dict[Any, Any], shared: set[tuple[str, str]]) -> str:
    """The name of a trial's method; see `tidy_scores`.

    Args:
        row: of ``trials``.
        numbers: number of each trial by id.
        shared: study and name of arms that more than one ablation has.
    """
    role = str(row["role"])
    plain = role.partition(" @")[0]
    if role in (DEFAULT, REFERENCE) or plain == "sefar":
        return OURS
    if plain == SUPERVISED:
        return BASELINE
    if role in (SEARCH, TRANSFER):
        origin = text_of(row.get("confirms"))
        number = numbers.get(origin) if origin else row["number"]
        name = f"trial {int(number):03d}" if number is not None else f"trial {origin}"
        said = describe_parameters(json.loads(text_of(row.get("parameters")) or "{}"))
        return f"{name}: {said}" if said else name
    if "/" in role:
        arm = role.partition("/")[2]
        return role if (str(row["study"]), arm) in shared else arm
    return plain
