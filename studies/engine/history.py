"""What a store already holds of a study: the truth from which a sweep resumes or grows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sefar.config import TrainConfig
from sefar.errors import ConfigError, StoreError, nearest
from studies.engine.space import Space
from studies.engine.spec import Study, TrialSpec
from studies.results.schema import CONFIRM, DEFAULT, METRIC, RUNNING, SEARCH, text_of
from studies.results.store import ResultStore


@dataclass(frozen=True)
class PastTrial:
    """A trial of the store.

    Attributes:
        spec: as it was started.
        status: ``running`` (the run that held it is gone), ``finished``, ``pruned``, ``failed``.
        values: the metric by finished epoch.
        planned: trials planned for the scope when it started.
        split_hash: of the label split it saw; empty if it never got that far.
        seconds: it has taken.
        plans: trials planned for each scope of the run that wrote it last; empty in rows that do not say it.
    """

    spec: TrialSpec
    status: str
    values: dict[int, float] = field(default_factory=dict)
    planned: int = 0
    split_hash: str = ""
    seconds: float = 0.0
    plans: dict[str, int] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The metric after the last epoch; NaN without one."""
        return self.values[max(self.values)] if self.values else math.nan


def read_history(store: ResultStore, study: Study, stage: str | None = SEARCH) -> list[PastTrial]:
    """The study's trials in the store, in order.

    Args:
        store: the result store.
        study: the sweep.
        stage: only the trials of this stage; None: of both.

    Raises:
        ConfigError: they were run with another base configuration, seed or search space.
    """
    rows = store.trials(study=study.name)
    if rows.empty:
        return []
    confirming = rows.stage == CONFIRM
    _check_same(rows[~confirming], study, store.uri)
    if stage is not None:
        rows = rows[confirming == (stage == CONFIRM)]
    epochs = store.epochs(study=study.name, columns=["epoch", METRIC])
    values: dict[str, dict[int, float]] = {}
    for trial_id, epoch, value in zip(epochs.trial_id, epochs.epoch, epochs[METRIC], strict=True):
        values.setdefault(trial_id, {})[int(epoch)] = float(value)
    return [_past(row, values.get(row["trial_id"], {})) for row in rows.to_dict("records")]


def _past(row: dict[Any, Any], values: dict[int, float]) -> PastTrial:
    spec = TrialSpec(
        trial_id=row["trial_id"],
        study=row["study"],
        scope=row["scope"],
        number=int(row["number"]),
        role=row["role"],
        config=json.loads(row["config_json"]),
        parameters=json.loads(row["parameters"]),
        stage=text_of(row["stage"]) or SEARCH,
        confirms=text_of(row.get("confirms")),
    )
    seconds = row["seconds"] if row["seconds"] == row["seconds"] else 0.0
    return PastTrial(
        spec,
        row["status"],
        values,
        planned=int(row["planned"]),
        split_hash=text_of(row["split_hash"]),
        seconds=seconds or 0.0,
        plans=json.loads(text_of(row.get("plans")) or "{}"),
    )


def plan_column(planned: dict[str, int]) -> dict[str, str]:
    """What each row of a run says of its plan, also for scopes whose turn never comes in it."""
    return {"plans": json.dumps(planned)}


def seconds_per_epoch(history: Iterable[PastTrial]) -> float | None:
    """What an epoch took in earlier trials."""
    took = [past.seconds / len(past.values) for past in history if past.values and past.seconds > 0]
    return sum(took) / len(took) if took else None


def _check_same(rows: pd.DataFrame, study: Study, uri: str) -> None:
    advice = "repeat the old settings, or give the new ones their own --name"
    if not (other := rows[rows.space_hash != study.space.hash]).empty:
        what = _space_changes(other, study.space)
        raise ConfigError(f"study '{study.name}' in {uri} searched another space{what}; {advice}")
    if (other := rows[rows.study_hash != study.hash]).empty:
        return
    own = {f"loader.{key}" for key in ("workers", "frame_store_gb", "frame_store_folder")}
    own |= {f"scope.{key}" for key in ("name", "root", "annotations", "clips", "path_prefix")}
    own |= {"scope.quarantine", "scope.allow_missing"}
    defaults = other[other.role == DEFAULT]
    if defaults.empty:  # the search has changed these in the other trials
        own |= {p.name for p in study.space.parameters} | {"objective.warmup_epochs"}
    before = TrainConfig.from_dict(json.loads((other if defaults.empty else defaults).config_json.iloc[0])).flatten()
    now = study.base.flatten()
    changed = [f"{key} {before[key]} → {now[key]}" for key in now if key not in own and before[key] != now[key]]
    what = ", ".join(changed[:3]) or "another search seed or base"
    raise ConfigError(f"study '{study.name}' in {uri} was run with other settings ({what}); {advice}")


def _space_changes(rows: pd.DataFrame, space: Space) -> str:
    """What has changed since the rows were written, in brackets; empty for rows of versions that do not say it."""
    was = next((text for text in rows.get("space", ()) if isinstance(text, str)), None)
    try:
        return f" ({Space.from_json(was).changes(space)})" if was else ""
    except (TypeError, ValueError, KeyError):  # of a later version
        return ""


def check_splits(history: list[PastTrial], split_hashes: dict[str, str]) -> None:
    """Make sure that the clips and labels are still those the old trials saw.

    Raises:
        StoreError: a scope's split has changed.
    """
    for past in history:
        now = split_hashes.get(past.spec.scope)
        if now is not None and past.split_hash and past.split_hash != now:
            raise StoreError(
                f"scope '{past.spec.scope}': its clips or labels have changed since study '{past.spec.study}' started "
                f"(split {past.split_hash} → {now}); restore the data, or give the new data its own --name"
            )


def searched(history: Iterable[PastTrial], scope: str) -> list[PastTrial]:
    """The search trials of a scope, by number; confirm trials may lie in the same scope."""
    past = [p for p in history if p.spec.scope == scope and p.spec.stage == SEARCH]
    return sorted(past, key=lambda p: p.spec.number)


def planned_trials(study: Study, history: list[PastTrial], extend: int) -> dict[str, int]:
    """Search trials each scope shall have in the end: what is asked for or planned before, and `extend` more."""
    plan = {}
    for scope in study.scopes.values:
        before = _planned_before(history, scope)
        plan[scope] = before + extend if extend and before else max(study.trials, before)
    return plan


def _planned_before(history: list[PastTrial], scope: str) -> int:
    """Trials that the runs so far have planned for the scope; 0 for one that is new."""
    own = (max(p.planned, p.spec.number + 1) for p in searched(history, scope))
    return max([*own, *(p.plans.get(scope, 0) for p in history)], default=0)


def search_trials_left(history: list[PastTrial], planned: Mapping[str, int]) -> int:
    """Search trials of a plan to run or to take up again."""
    left = 0
    for scope, trials in planned.items():
        past = searched(history, scope)
        left += sum(p.status == RUNNING for p in past) + len(free_numbers(trials, past))
    return left


def may_extend(study: Study, history: list[PastTrial]) -> bool:
    """Whether all that the runs so far have planned for the search has ended."""
    return not search_trials_left(history, {scope: _planned_before(history, scope) for scope in study.scopes.values})


def free_numbers(planned: int, past: Iterable[PastTrial]) -> list[int]:
    """Numbers of a scope's search trials still to deal, among them any that was dealt but never wrote a row."""
    taken = {p.spec.number for p in past if p.spec.stage == SEARCH}
    return [number for number in range(planned) if number not in taken]


def check_known(store: ResultStore, study: Study, history: list[PastTrial], flag: str) -> None:
    """Make sure that there is something to resume or extend.

    Raises:
        ConfigError: the store holds no trial of the study.
    """
    if not history:
        names = sorted(set(store.trials(columns=["trial_id"]).study))
        known = nearest(study.name, names) if names else "; the store is empty, run without the flag first"
        raise ConfigError(f"{flag}: {store.uri} holds no study '{study.name}'{known}")
