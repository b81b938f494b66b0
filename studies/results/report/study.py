"""A study as the report sees it: its rows, what kind of study it is, what was measured on test, what is compared."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pandas as pd

from sefar.errors import ConfigError, nearest
from studies.arms import ABLATIONS
from studies.results.comparison import ALL, fractions_of
from studies.results.fixmatch import chosen_fixmatch, families
from studies.results.schema import CONFIRM, FINISHED, RUNNING, SEARCH, TABLES
from studies.results.scores import OURS, REFERENCE, tidy_scores
from studies.results.shared_arms import with_shared_arms
from studies.results.stats.multiplicity import holm
from studies.results.stats.paired import PairedDifference, paired_difference
from studies.results.store import ResultStore

TEST = "test_student_top1"
SWEEP, FRACTIONS, ABLATION, OTHER = "sweep", "label efficiency", "ablation", "study"  # kinds of study


@dataclass(frozen=True)
class Comparison:
    """Two methods at a scope.

    Attributes:
        scope: label scope without split seed.
        question: name of the ablation, or empty.
        paired: the difference.
        adjusted_p: after Holm, over all comparisons of the page.
    """

    scope: str
    question: str
    paired: PairedDifference
    adjusted_p: float


class StudyView:
    """The rows of one study, read once, and what follows from them.

    Args:
        store: holds it.
        name: of the study.

    Raises:
        ConfigError: the store has no such study.
        StoreError: the store cannot be read.
    """

    def __init__(self, store: ResultStore, name: str) -> None:
        self.store, self.name = store, name
        trials = store.trials(study=name)
        if trials.empty:
            known = sorted({file.study for file in store.files("trials")})
            raise ConfigError(f"{store.uri}: has no study '{name}'{nearest(name, known)}")
        columns = TABLES["trials"].schema.names  # older stores lack some
        self.trials = trials.reindex(columns=[*trials.columns, *(c for c in columns if c not in trials.columns)])
        self.trials["stage"] = self.trials.stage.fillna(SEARCH)
        self.scores = tidy_scores(self.trials)

    @functools.cached_property
    def epochs(self) -> pd.DataFrame:
        """Rows of ``epochs``."""
        return self.store.epochs(study=self.name)

    @functools.cached_property
    def regulation(self) -> pd.DataFrame:
        """Rows of ``regulation``."""
        return self.store.regulation(study=self.name)

    def predictions(self, trial_id: str) -> pd.DataFrame:
        """Rows of ``predictions`` of a trial."""
        (scope,) = self.trials[self.trials.trial_id == trial_id].scope
        return self.store.predictions(study=self.name, scope=scope, trial_id=trial_id)

    @functools.cached_property
    def kind(self) -> str:
        """What kind of study it is, by its rows alone."""
        roles = self.trials.role.astype(str)
        if self.trials.space_hash.fillna("").ne("").any():
            return SWEEP
        if roles.str.contains(" @").any():
            return FRACTIONS
        return ABLATION if (roles.str.contains("/") | (roles == REFERENCE)).any() else OTHER

    @property
    def running(self) -> int:
        """Trials under way."""
        return int((self.trials.status == RUNNING).sum())

    @property
    def finished(self) -> int:
        """Finished trials."""
        return int((self.trials.status == FINISHED).sum())

    @functools.cached_property
    def questions(self) -> list[str]:
        """Names of the ablations, each with arms of its own; one empty name for other studies."""
        named = {role.partition("/")[0] for role in self.trials.role.astype(str) if "/" in role}
        return sorted(named) or [""]

    def rows_of(self, question: str) -> pd.DataFrame:
        """The scores that belong to an ablation: its arms, those that another ablation ran too, and the reference."""
        if not question:
            return self.scores
        roles = self._arms.role.astype(str)
        return self._arms[roles.str.startswith(f"{question}/") | (roles == REFERENCE)]

    @functools.cached_property
    def _arms(self) -> pd.DataFrame:
        """Scores of an ablation study; runs that two of its ablations share stand under both."""
        return tidy_scores(with_shared_arms(self.trials))

    def measured(self, question: str = "") -> pd.DataFrame:
        """Scores on test that may be compared: of the confirm stage where there is one, of FixMatch as chosen."""
        rows = self.rows_of(question)
        confirm = rows[rows.stage == CONFIRM]
        rows = confirm if len(confirm) else rows
        rows = rows[rows[TEST].notna()]
        chosen = {
            (scope, method)
            for (scope, fraction), group in _by_scope(rows)
            for method in chosen_fixmatch(group, fraction).values()
        }
        keys = pd.Series(list(zip(rows.base_scope, rows.method, strict=True)), index=rows.index, dtype=object)
        return rows[families(rows.method).isna() | keys.isin(chosen)]

    def by_scope(self, question: str = "") -> list[tuple[str, pd.DataFrame]]:
        """What was measured, by label scope without split seed, fewest labels first and all labels last."""
        rows = self.measured(question)
        order = {f: at for at, f in enumerate(fractions_of(rows))} if len(rows) else {}
        groups = [(str(scope), group) for scope, group in rows.groupby("base_scope")]
        return sorted(groups, key=lambda pair: (pair[1].subset.iloc[0], order[pair[1].fraction.iloc[0]]))

    def reference(self, question: str, rows: pd.DataFrame) -> str | None:
        """What the methods are compared with: SeFAR, or the reference arm where the recipe departs from it.

        Args:
            question: name of the ablation, or empty.
            rows: the scores to be compared.
        """
        names = [OURS]
        if question in ABLATIONS:
            arm = ABLATIONS[question].reference_arm.name
            names += [arm, f"{question}/{arm}"]
        return next((name for name in names if name in set(rows.method)), None)

    @property
    def confirmed(self) -> bool:
        """Whether configurations were run anew over seeds and splits."""
        return bool((self.scores.stage == CONFIRM).any())

    @functools.cached_property
    def comparisons(self) -> list[Comparison]:
        """Every method against the reference (in label-efficiency studies the other way round).

        A sweep that was not confirmed compares nothing: its trials were chosen by luck too.
        """
        if self.kind == SWEEP and not self.confirmed:
            return []
        found = []
        for question in self.questions:
            for scope, rows in self.by_scope(question):
                reference = self.reference(question, rows)
                if reference is None or rows.duplicated(["method", "split_seed", "train_seed"]).any():
                    continue
                for method in [m for m in rows.method.unique() if m != reference]:
                    pair = (reference, method) if self.kind == FRACTIONS else (method, reference)
                    found.append((scope, question, paired_difference(rows, *pair)))
        adjusted = holm([paired.p_value for _, _, paired in found])
        return [Comparison(*each, float(p)) for each, p in zip(found, adjusted, strict=True) if each[2].pairs]

    @functools.cached_property
    def repeated(self) -> list[str]:
        """Methods with several runs of one scope, split and seed, which cannot be paired."""
        rows = pd.concat([self.measured(question).assign(question=question) for question in self.questions])
        twice = rows[rows.duplicated(["question", "base_scope", "method", "split_seed", "train_seed"])]
        return sorted({f"{method} ({scope})" for scope, method in zip(twice.base_scope, twice.method, strict=True)})

    @functools.cached_property
    def few_fractions(self) -> list[str]:
        """Label fractions of the study, all labels apart."""
        return [str(f) for f in self.scores.fraction.unique() if f != ALL]


def short_method(method: str) -> str:
    """A searched configuration without its parameters: ``trial 004: drop 0.5 · …`` → ``trial 004``."""
    return method.partition(":")[0] if method.startswith("trial ") else method


def _by_scope(rows: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    return [((str(s), str(f)), group) for (s, f), group in rows.groupby(["base_scope", "fraction"])]
