"""Runs that two ablations share stand under both questions."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sefar.recipes import recipe
from studies.arm_grid import ArmGrid
from studies.arms import ABLATIONS
from studies.results.report.study import StudyView
from studies.results.scores import methods_of, tidy_scores
from studies.results.shared_arms import with_shared_arms
from studies.results.store import ResultStore


def trials(*questions: str, seeds: int = 2) -> pd.DataFrame:
    """Rows of ablations run one after the other on the default recipe: a run that the store has is not run again."""
    rows: dict[str, dict[str, object]] = {}
    for question in questions:
        grid = ArmGrid(
            name=question,
            ablation=ABLATIONS[question],
            base=recipe("synthgym_tiny", {}),
            recipe="synthgym_tiny",
            scopes=("synthgym/core@1pc",),
            seeds=seeds,
            study="ab",
        )
        for run in grid.runs():
            known = {"study": "ab", "trial_id": run.trial_id, "scope": run.config.scope.name, "role": run.role}
            more = {"number": run.seed, "train_seed": run.seed, "config_json": json.dumps(run.config.to_dict())}
            values = {"status": "finished", "test_student_top1": 60.0 + run.seed + len(rows) / 10}
            rows.setdefault(run.trial_id, known | more | values)
    return pd.DataFrame(list(rows.values()))


def test_an_arm_that_another_ablation_ran_first_is_found() -> None:
    for first, second, role in (
        ("components", "thresholds", "thresholds/tau_0"),
        ("thresholds", "components", "components/perturbation"),
    ):
        rows = trials(first, second)
        assert role not in set(rows.role)
        whole = with_shared_arms(rows)
        added = whole.iloc[len(rows) :]
        assert added.role.tolist() == [role] * 2 and set(added.trial_id) < set(rows.trial_id)


def test_nothing_is_added_where_nothing_is_shared() -> None:
    alone = trials("thresholds", seeds=1)
    assert with_shared_arms(alone).equals(alone)
    both = trials("thresholds", "passes", seeds=1)
    assert with_shared_arms(both).equals(both)
    by_hand = both.drop(columns="config_json")
    assert with_shared_arms(by_hand).equals(by_hand)
    torn = trials("components", "thresholds", seeds=1).assign(config_json="{}")
    torn["config_json"] = json.dumps({"of": "another version"})
    assert len(with_shared_arms(torn)) == len(torn)


def test_the_page_of_a_question_has_all_its_arms(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    for row in trials("components", "thresholds").to_dict("records"):
        values = {k: v for k, v in row.items() if k not in ("study", "scope", "trial_id")}
        store.writer("ab", str(row["scope"]), str(row["trial_id"])).trial(values)
    study = StudyView(store, "ab")
    arms = {"tau_0", "tau_0.5", "SeFAR", "freematch"}
    assert arms <= set(study.measured("thresholds").method)
    assert {"none", "dual", "perturbation", "SeFAR"} == set(study.measured("components").method)
    compared = {(one.question, one.paired.method) for one in study.comparisons}
    assert {("thresholds", "tau_0"), ("components", "perturbation")} <= compared
    assert len(study.scores) == len(study.trials)  # elsewhere each run stands once


def test_names_do_not_depend_on_what_has_finished() -> None:
    rows = pd.DataFrame(
        [
            {"role": "components/none", "status": "finished", "trial_id": "a"},
            {"role": "perturbations/none", "status": "running", "trial_id": "b"},
        ]
    ).assign(study="ab", scope="synthgym/core@1pc#0", number=0, train_seed=0)
    assert tidy_scores(rows).method.tolist() == ["components/none"]
    assert methods_of(rows) == ["components/none", "perturbations/none"]
