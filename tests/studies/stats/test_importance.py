"""Importance of parameters through Optuna."""

from __future__ import annotations

import json
import logging
import math
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest

from studies.engine.space import SCOPE_SWEEP
from studies.results.stats.importance import LEAST_TRIALS, LOG_SCALE, Importance, best_share, importance


def row(number: int, parameters: dict[str, object], dev: float, status: str = "finished", **more: object) -> dict:
    named = {"trial_id": f"t{number}", "scope": "s@1pc#0", "number": number, "role": "search", "stage": "search"}
    return named | {"status": status, "parameters": json.dumps(parameters), "dev_student_top1": dev} | more


def trials(count: int, seed: int = 0, status: str = "finished") -> pd.DataFrame:
    """Accuracy follows γ₁ and, less, the kind of perturbation; nothing else."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        adaptive = number % 2 == 0
        kind = str(rng.choice(["drop", "none", "warp"]))
        point: dict[str, object] = {"perturb.kind": kind, "weighting.kind": "adaptive" if adaptive else "fixed"}
        if kind != "none":
            point["perturb.strength"] = float(rng.choice([0.25, 0.5, 1.0]))
        point |= {"weighting.kappa": float(rng.uniform(5, 80))} if adaptive else {"weighting.threshold": 0.8}
        gamma = float(np.exp(rng.uniform(np.log(0.5), np.log(4))))
        point |= {"objective.gamma_unlabelled": gamma, "objective.gamma_mix": float(rng.uniform(0, 4))}
        rows.append(row(number, point, 60 + 10 * np.log(gamma) - 4 * (kind == "none") + rng.normal(), status))
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found() -> Importance:
    """Of enough trials."""
    return importance(trials(70))


def test_what_matters_is_found_and_shares_sum_to_1(found: Importance) -> None:
    assert found.table.parameter.tolist()[0] == "objective.gamma_unlabelled"
    assert found.table.fanova.iloc[0] > 0.6 and found.table.fanova.iloc[1] < 0.3
    assert found.table.set_index("parameter").ped_anova.idxmax() == "objective.gamma_unlabelled"
    assert found.table.fanova.sum() == pytest.approx(1) and found.table.ped_anova.sum() == pytest.approx(1)
    assert found.finished == 70 and found.pruned == 0 and found.explained > 0.5


def test_enough_trials_give_no_warning_and_few_do(found: Importance) -> None:
    assert found.warning is None
    few = importance(trials(20))
    assert few.warning is not None and few.warning.startswith("20 finished trials for 7 parameters are too few")
    assert "fANOVA leaves out" in few.warning and "weighting.kappa" in few.warning


def test_conditional_parameters_are_assessed_among_the_trials_that_have_them(found: Importance) -> None:
    table, conditional = found.table.set_index("parameter"), found.conditional.set_index("parameter")
    assert set(conditional.index) == {"weighting.kappa", "weighting.threshold", "perturb.strength"}
    assert table.fanova[list(conditional.index)].isna().all() and table.ped_anova.notna().all()
    assert conditional.condition["weighting.kappa"] == "weighting.kind = adaptive"
    assert conditional.condition["perturb.strength"] == "perturb.kind ≠ none"
    assert conditional.trials["weighting.kappa"] == 35
    assert 0 <= conditional.fanova["weighting.kappa"] < 0.3
    assert np.isnan(conditional.fanova["weighting.threshold"])  # never varied


def test_accuracy_that_follows_nothing_is_warned_of() -> None:
    noise = trials(30).assign(dev_student_top1=np.random.default_rng(1).normal(60, 3, 30))
    found = importance(noise)
    assert (
        found.explained < 0.1 and found.warning is not None and "fANOVA's shares then describe noise" in found.warning
    )


def test_pruned_trials_count_for_ped_anova_alone() -> None:
    finished, pruned = trials(20), trials(20, seed=1, status="pruned").assign(dev_student_top1=99.0)
    alone, both = importance(finished), importance(pd.concat([finished, pruned]))
    assert both.pruned == 20 and both.finished == 20
    assert both.table.set_index("parameter").fanova.dropna().to_dict() == pytest.approx(
        alone.table.set_index("parameter").fanova.dropna().to_dict(), abs=0.05
    )
    ped = [found.table.set_index("parameter").ped_anova.to_dict() for found in (both, alone)]
    assert ped[0] != ped[1]


def stepped(count: int = 60) -> pd.DataFrame:
    """One parameter that makes few trials better, one that makes few worse."""
    rng = np.random.default_rng(0)
    x, y, noise = rng.random(count), rng.random(count), rng.normal(size=count)
    values = 60 + 10 * (x > 0.85) - 20 * (y < 0.15) + 0.1 * noise
    return pd.DataFrame([row(n, {"x": float(x[n]), "y": float(y[n])}, float(values[n])) for n in range(count)])


def test_ped_anova_asks_what_makes_trials_good() -> None:
    shares = importance(stepped()).table.set_index("parameter").ped_anova
    assert shares["x"] > 0.9  # 0.1 if low accuracy were good


def test_pruned_trials_rank_below_all_finished() -> None:
    finished = stepped(30)
    pruned = [row(100 + n, {"x": 0.95, "y": n / 40}, 99.0, "pruned") for n in range(40)]
    alone, both = (importance(t) for t in (finished, pd.concat([finished, pd.DataFrame(pruned)])))
    # ranked above, the pruned trials would be the best, and all of x = 0.95
    assert both.table.set_index("parameter").ped_anova["x"] < alone.table.set_index("parameter").ped_anova["x"]
    failing = [row(100 + n, {"x": n / 40, "y": 0.05}, 99.0, "pruned") for n in range(40)]
    with_failing = importance(pd.concat([finished, pd.DataFrame(failing)])).table.set_index("parameter").ped_anova
    assert with_failing["y"] > alone.table.set_index("parameter").ped_anova["y"] + 0.1


def test_logarithmic_parameters_are_taken_by_their_logarithm() -> None:
    logarithmic, linear = (importance(trials(20), log_scale=names) for names in (LOG_SCALE, ()))
    shares = [one.table.set_index("parameter").ped_anova for one in (logarithmic, linear)]
    assert shares[0]["objective.gamma_unlabelled"] != pytest.approx(shares[1]["objective.gamma_unlabelled"], rel=0.01)


def test_the_best_trials_are_as_many_as_meant() -> None:
    # a tenth, at least 5, no more than half of all or than have finished; 29 / 283 · 283 is a little more than 29
    cases = {(283, 0): 29, (20, 0): 5, (8, 0): 4, (6, 40): 5, (100, 100): 20}
    assert {case: math.ceil(best_share(*case) * sum(case)) for case in cases} == cases


def test_lists_are_choices() -> None:
    rng = np.random.default_rng(0)
    lists = [[2, 2, 4], [8], [4, 4]]
    rows = [
        row(n, {"sampling.frames_per_granularity": lists[n % 3], "x": float(rng.random())}, 60.0 + 5 * (n % 3 == 1))
        for n in range(30)
    ]
    table = importance(pd.DataFrame(rows)).table
    assert table.parameter[0] == "sampling.frames_per_granularity" and table.fanova[0] > 0.9


def test_trials_of_two_studies_are_refused() -> None:
    rows = trials(12)
    with pytest.raises(ValueError, match="expected one study, got s, t; filter them"):
        importance(pd.concat([rows.assign(study="s"), rows.assign(study="t")]))


def test_named_and_confirm_trials_are_left_out_and_scopes_not_mixed() -> None:
    rows = trials(12)
    more = pd.DataFrame([row(90, {}, 99, role="supervised"), row(91, {"x": 1.0}, 99, stage="confirm")])
    assert importance(pd.concat([rows, more])).finished == 12
    with pytest.raises(ValueError, match="expected one scope, got s@1pc#0, t@1pc#0; filter them"):
        importance(pd.concat([rows, rows.assign(scope="t@1pc#0")]))


@pytest.mark.parametrize("count", [0, 1, LEAST_TRIALS - 1])
def test_too_few_trials_give_an_empty_table_and_say_so(count: int) -> None:
    found = importance(trials(LEAST_TRIALS).iloc[:count])
    assert found.table.empty and found.warning == f"{count} finished trials: at least 5 are needed for any importance"


def test_equal_accuracies_give_an_empty_table() -> None:
    found = importance(trials(10).assign(dev_student_top1=60.0))
    assert found.table.empty and found.warning is not None and "nothing to explain" in found.warning


def test_the_same_seed_gives_the_same_table_without_a_word_from_optuna(caplog) -> None:
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        first, again = importance(trials(12), seed=5), importance(trials(12), seed=5)
    assert first.table.equals(again.table) and optuna.logging.get_verbosity() == before
    assert not caplog.records


def test_the_logarithmic_parameters_are_the_search_space_s() -> None:
    assert set(LOG_SCALE) == {p.name for p in SCOPE_SWEEP.parameters if p.log}


def searched(count: int, seed: int, effect: float) -> pd.DataFrame:
    """A random search of the real space where two parameters matter by `effect`, on noise of 2 points."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    rows = []
    for number in range(count):
        point = SCOPE_SWEEP.suggest(study.ask())
        gain = np.log(point["objective.gamma_unlabelled"]) / 2 - (point["perturb.kind"] == "none")
        rows.append(row(number, point, 60 + effect * gain + rng.normal(0, 2)))
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_large_effects_are_ranked_by_40_trials() -> None:
    tables = [importance(searched(40, seed, 6.0)).table.dropna() for seed in range(6)]
    first = [set(table.parameter[:2]) for table in tables]
    assert first.count({"perturb.kind", "objective.gamma_unlabelled"}) >= 5
