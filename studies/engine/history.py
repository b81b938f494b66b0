"""What a store already holds of a study: the truth from which a sweep resumes or grows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sefar.config import TrainConfig
from sefar.errors import ConfigError, StoreError, nearest
from studies.engine.spec import Study, TrialSpec
from studies.results.schema import DEFAULT, METRIC
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
    """

    spec: TrialSpec
    status: str
    values: dict[int, float] = field(default_factory=dict)
    planned: int = 0
    split_hash: str = ""

    @property
    def value(self) -> float:
        """The metric after the last epoch; NaN without one."""
        return self.values[max(self.values)] if self.values else math.nan


def read_history(store: ResultStore, study: Study) -> list[PastTrial]:
    """The study's trials in the store, in order.

    Raises:
        ConfigError: they were run with another base configuration, seed or search space.
    """
    rows = store.trials(study=study.name)
    if rows.empty:
        return []
    _check_same(rows, study, store.uri)
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
    )
    split_hash = row["split_hash"] if isinstance(row["split_hash"], str) else ""  # null reads as NaN or None
    return PastTrial(spec, row["status"], values, int(row["planned"]), split_hash)


def _check_same(rows: pd.DataFrame, study: Study, uri: str) -> None:
    advice = "repeat the old settings, or give the new ones their own --name"
    if (rows.space_hash != study.space.hash).any():
        raise ConfigError(f"study '{study.name}' in {uri} searched another space; {advice}")
    if (other := rows[rows.study_hash != study.hash]).empty:
        return
    own = {f"loader.{key}" for key in ("workers", "frame_store_gb", "frame_store_folder")}
    own |= {f"scope.{key}" for key in ("name", "root", "annotations", "clips", "path_prefix")}
    own |= {"scope.quarantine", "scope.allow_missing"}
    defaults = other[other.role == DEFAULT]
    if defaults.empty:  # the search has changed these in the other trials
        own |= {p.name for p in study.space.parameters} | {"objective.warmup_epochs"}
    was = TrainConfig.from_dict(json.loads((other if defaults.empty else defaults).config_json.iloc[0])).flatten()
    now = study.base.flatten()
    changed = [f"{key} {was[key]} → {now[key]}" for key in now if key not in own and was[key] != now[key]]
    what = ", ".join(changed[:3]) or "another search seed or base"
    raise ConfigError(f"study '{study.name}' in {uri} was run with other settings ({what}); {advice}")


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


def planned_trials(study: Study, history: list[PastTrial], extend: int) -> dict[str, int]:
    """Trials each scope shall have in the end: what is asked for or was planned before, and `extend` more."""
    plan = {}
    for scope in study.scopes.values:
        past = [p for p in history if p.spec.scope == scope]
        before = max((max(p.planned, p.spec.number + 1) for p in past), default=0)
        plan[scope] = before + extend if extend and before else max(study.trials, before)
    return plan


def free_numbers(planned: int, past: Iterable[PastTrial]) -> list[int]:
    """Numbers of a scope's trials still to deal: a trial that was dealt but never wrote its first row is among them."""
    taken = {p.spec.number for p in past}
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
