"""The stage after the search: its best configurations and the named ones anew, over training seeds and label splits.

A configuration that was chosen by its dev accuracy owes some of it to luck with a seed and a label split, so it is
confirmed on those that the search has not seen: the training seeds and split seeds that follow the search's own.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sefar.data.scope_name import LISTS, parse_scope
from studies.engine.history import PastTrial, searched
from studies.engine.spec import NAMED, Study, TrialSpec, scope_slug
from studies.results.confirm import without_split
from studies.results.schema import CONFIRM, DEFAULT, FINISHED, SEARCH, TRANSFER

FIRST_NUMBER = 10_000  # of confirm trials: one scope may hold trials of both stages


@dataclass(frozen=True)
class Candidate:
    """A configuration to confirm.

    Attributes:
        role: of its trials: a named one, or ``search``.
        parameters: what the search has chosen.
        confirms: the search trial that has it; empty for named ones.
    """

    role: str
    parameters: dict[str, Any]
    confirms: str = ""

    @property
    def key(self) -> str:
        """Names the configuration, whatever its rank: a named one's role, else eight hex digits."""
        if not self.confirms:
            return self.role
        return hashlib.sha256(json.dumps(self.parameters, sort_keys=True).encode()).hexdigest()[:8]


def confirm_specs(study: Study, history: list[PastTrial], *, top: int, seeds: int, splits: int) -> list[TrialSpec]:
    """All trials of the confirm stage, in the order in which to run them; those in `history` as they stand there.

    Trials that go with each other, on the same split with the same seed, lie together, the named ones first: a stage
    cut short leaves whole comparisons. Configurations once begun stay in; further search can only add others.

    Args:
        study: the sweep.
        history: its trials of both stages in the store.
        top: best finished configurations of each scope, by dev accuracy, the default not counted.
        seeds: training seeds of each, those after the study's own.
        splits: label splits of each, those after the scope's own (``…#0`` → ``…#1``, ``…#2``); 0: the scope's own. A
            scope whose labels are given or complete has but one.
    """
    known = {past.spec.trial_id: past.spec for past in history if past.spec.stage == CONFIRM}
    taken = {spec.number for spec in known.values()}
    free = (number for number in count(FIRST_NUMBER) if number not in taken)
    chosen = {scope: _candidates(study, history, scope, top) for scope in study.scopes.values}
    specs: dict[str, TrialSpec] = {}
    for turn in range(max(splits, 1)):
        for seed in range(study.base.seed + 1, study.base.seed + 1 + seeds):
            for scope, candidates in chosen.items():
                for place in split_scopes(scope, splits)[turn : turn + 1]:
                    for spec in (_spec(study, place, seed, candidate) for candidate in candidates):
                        if spec.trial_id not in specs:
                            again = known.get(spec.trial_id)
                            specs[spec.trial_id] = again or replace(spec, number=next(free))
    return list(specs.values())


def _candidates(study: Study, history: list[PastTrial], scope: str, top: int) -> list[Candidate]:
    """The named configurations, those whose confirmation has begun, and the best, each once."""
    default = study.space.locate(study.config(scope, DEFAULT)) or {}
    named = [Candidate(role, default if role == DEFAULT else {}) for role in NAMED]
    past = searched(history, scope)
    ids = {p.spec.trial_id for p in past}
    begun = [
        Candidate(SEARCH, p.spec.parameters, p.spec.confirms)
        for p in sorted(history, key=lambda p: p.spec.number)
        if p.spec.stage == CONFIRM and p.spec.confirms in ids
    ]
    found = [p for p in past if p.status == FINISHED and p.spec.role in (SEARCH, TRANSFER) and math.isfinite(p.value)]
    ranked = sorted(found, key=lambda p: (-p.value, p.spec.number))
    best = [Candidate(SEARCH, p.spec.parameters, p.spec.trial_id) for p in ranked if p.spec.parameters != default]
    best = list({candidate.key: candidate for candidate in reversed(best)}.values())[::-1][:top]
    # of one configuration the first stays: a tie found later must not take the place of what has begun
    return list({candidate.key: candidate for candidate in reversed(named + begun + best)}.values())[::-1]


def split_scopes(scope: str, splits: int) -> list[str]:
    """The scope on the label splits after its own; itself where labels are given or complete, or `splits` is 0."""
    parsed = parse_scope(scope)
    complete = parsed.labels_per_class is None and parsed.fraction == 1
    if not splits or complete or parsed.dataset == LISTS:
        return [scope]
    return [f"{without_split(scope)}#{parsed.split_seed + 1 + number}" for number in range(splits)]


def _spec(study: Study, scope: str, seed: int, candidate: Candidate) -> TrialSpec:
    split = parse_scope(scope).split_seed
    return TrialSpec(
        trial_id=f"{study.name}.{scope_slug(without_split(scope))}.{candidate.key}.s{seed}.p{split}",
        study=study.name,
        scope=scope,
        number=0,
        role=candidate.role,
        config=study.config(scope, candidate.role, candidate.parameters).override({"seed": seed}).to_dict(),
        parameters=candidate.parameters,
        stage=CONFIRM,
        confirms=candidate.confirms,
    )
