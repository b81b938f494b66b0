"""A search space changed by a TOML file."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from sefar.errors import ConfigError
from sefar.recipes import recipe
from studies.engine.space import PERTURBATIONS, SCOPE_SWEEP, Parameter, Space
from studies.engine.space_file import load_space


def load(tmp_path: Path, text: str, base: Space = SCOPE_SWEEP) -> Space:
    path = tmp_path / "space.toml"
    path.write_text(text, encoding="utf-8")
    return load_space(path, base)


def table(space: Space) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in space.table()}


def test_the_example_in_the_documentation(tmp_path):
    """Ranges, choices, a parameter less and one more; whatever is not named stays."""
    page = (Path(__file__).parents[2] / "docs/search.md").read_text(encoding="utf-8")
    space = load(tmp_path, page.split("```toml\n")[1].split("```")[0])
    was, now = table(SCOPE_SWEEP), table(space)
    assert now.pop("weighting.threshold") == ("0.6 … 0.9, step 0.05", "weighting.kind = fixed")
    assert now.pop("perturb.kind") == ("reverse_fine | drop | none", "always")
    assert now.pop("optim.learning_rate") == ("1e-05 … 0.0001, log", "weighting.kind = adaptive")
    assert "objective.gamma_mix" not in now
    assert now == {k: v for k, v in was.items() if k in now} and len(now) == len(was) - 3
    assert space.hash != SCOPE_SWEEP.hash
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        recipe("synthgym_tiny").override(space.suggest(study.ask()))


def test_an_empty_file_changes_nothing(tmp_path):
    assert load(tmp_path, "# nothing\n") == SCOPE_SWEEP


@pytest.mark.parametrize(
    "text",
    [
        "[weighting.threshold]\nlow = 0.6\n",
        '["weighting.threshold"]\nlow = 0.6\n',
        "[weighting]\nthreshold = { low = 0.6 }\n",
        "weighting.threshold.low = 0.6\n",
    ],
)
def test_every_way_to_write_a_name(tmp_path, text):
    assert table(load(tmp_path, text))["weighting.threshold"] == ("0.6 … 0.95, step 0.05", "weighting.kind = fixed")


@pytest.mark.parametrize(
    ("text", "name", "values", "condition"),
    [
        ("[weighting.threshold]\nstep = false", "weighting.threshold", "0.5 … 0.95", "weighting.kind = fixed"),
        ("[weighting.threshold]\nlog = true", "weighting.threshold", "0.5 … 0.95, log", "weighting.kind = fixed"),
        ("[weighting.kappa]\nstep = 25", "weighting.kappa", "5 … 80, step 25", "weighting.kind = adaptive"),
        ("[weighting.kappa]\nchoices = [10, 20.0]", "weighting.kappa", "10 | 20.0", "weighting.kind = adaptive"),
        ("[weighting.kappa]\nwhen = 'always'", "weighting.kappa", "5 … 80, log", "always"),
        ("[perturb.strength]\nwhen = {'perturb.kind' = ['drop']}", "perturb.strength", "0.25 … 1, step 0.25", None),
        ("[teacher.passes]\nlow = 2", "teacher.passes", "2 … 20, step 2", "weighting.kind = adaptive"),
        ("[loader.labelled]\nlow = 4\nhigh = 6", "loader.labelled", "4 … 6, step 1", "always"),
        ("[perturb.strength]\nchoices = [1.0]", "perturb.strength", "1.0", None),
        ("[mixing.partner]\nchoices = ['per_granularity']", "mixing.partner", "per_granularity", "always"),
    ],
)
def test_what_a_field_does(tmp_path, text, name, values, condition):
    row = table(load(tmp_path, text))[name]
    assert row[0] == values and (condition is None or row[1] == condition)
    suggested = next(p for p in load(tmp_path, text).parameters if p.name == name).suggest(
        optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    )
    recipe("synthgym_tiny").override({name: suggested})


def test_a_range_takes_the_place_of_choices(tmp_path):
    base = Space((Parameter(name="weighting.kappa", choices=(5.0, 20.0)),))
    assert table(load(tmp_path, "[weighting.kappa]\nlow = 5\nhigh = 9", base))["weighting.kappa"][0] == "5 … 9"


def test_what_can_no_longer_be_chosen_is_left_out(tmp_path):
    space = load(tmp_path, "[weighting.kind]\nchoices = ['adaptive']\n[perturb.kind]\nchoices = ['none', 'drop']")
    assert "weighting.threshold" not in table(space)  # only with 'fixed'
    assert "perturb.strength" in table(space)


WRONG = [
    (
        "[weighting.treshold]\nlow = 0.6",
        1,
        "[weighting.treshold]: unknown configuration key — did you mean 'weighting.t",
    ),
    ("\n\n[wieghting]\nkind = 3", 3, "[wieghting]: unknown configuration key"),
    ("[weighting.kappa]\nhigh = 9\nlo = 1", 1, "[weighting.kappa] lo: unknown field — did you mean 'low'?"),
    ("[weighting.kappa]\nlow = '5'", 1, "[weighting.kappa] low: expected a number, got '5'"),
    ("[weighting.kappa]\nlow = true", 1, "[weighting.kappa] low: expected a number, got True"),
    ("[weighting.kappa]\nhigh = inf", 1, "[weighting.kappa] high: expected a number, got inf"),
    ("[weighting.kappa]\nlow = 90", 1, "[weighting.kappa]: expected low < high, got 90 and 80.0"),
    ("[weighting.kappa]\nlow = 0", 1, "[weighting.kappa]: expected low > 0 for a logarithmic scale, got 0"),
    ("[weighting.kappa]\nlow = -1\nlog = false", 1, "[weighting.kappa]: weighting: alpha and kappa must be positive"),
    ("[weighting.threshold]\nhigh = 1.5", 1, "[weighting.threshold]: expected a number in [0, 1], got 1.5"),
    ("[weighting.threshold]\nhigh = 0.93", 1, "[weighting.threshold]: expected high on the grid"),
    ("[perturb.kind]\nchoices = ['drop', 'wrap']", 1, "[perturb.kind]: 'wrap' is unknown — did you mean 'warp'?"),
    ("[perturb.kind]\nchoices = []", 1, "[perturb.kind] choices: expected a list of texts, numbers or true and false"),
    ("[perturb.kind]\nchoices = ['drop', 'drop']", 1, "[perturb.kind]: a choice is given twice"),
    (
        "[perturb.kind]\nchoices = ['drop']\nlow = 1",
        1,
        "[perturb.kind]: expected choices or a range, got choices and lo",
    ),
    ("[perturb.kind]\nlow = 1", 1, "[perturb.kind]: expected low and high, or choices, got low alone"),
    ("[optim.clip_norm]\nlow = 1", 1, "[optim.clip_norm]: expected low and high, or choices, got low alone"),
    ("[optim.clip_norm]", 1, "[optim.clip_norm]: expected low and high, or choices, got nothing"),
    ("[optim.clip_norm]\nsearch = false", 1, "[optim.clip_norm] search = false: it is not searched"),
    ("[teacher.passes]\nlow = 3", 1, "[teacher.passes]: expected high on the grid"),
    ("[teacher.passes]\nlow = 4.5\nhigh = 6.5", 1, "[teacher.passes]: expected whole numbers, got 4.5 … 6.5, step 2"),
    ("weighting.kappa = 3", 1, "[weighting.kappa]: expected a table such as { low = 0.6, high = 0.9 }, got 3"),
    (
        "\n[weighting.kind]\nsearch = false",
        2,
        "[weighting.kind]: weighting.threshold depends on 'weighting.kind', whic",
    ),
    (
        "[weighting.alpha]\nwhen = { 'weighting.kind' = ['fixd'] }",
        1,
        "[weighting.alpha] when: 'weighting.kind' is never fixd",
    ),
    (
        "[weighting.alpha]\nwhen = { 'weighting.kin' = ['fixed'] }",
        1,
        "[weighting.alpha]: weighting.alpha depends on 'weighting.kin', which is not searched before it; give "
        "weighting.alpha search = false or another `when` — did you mean 'weighting.kind'?",
    ),
    ("[weighting.alpha]\nwhen = 'never'", 1, "[weighting.alpha] when: expected one parameter and its values"),
    ("[weighting.alpha]\nsearch = false\nlow = 1", 1, "[weighting.alpha]: search = false stands alone"),
    ("[seed]\nlow = 1\nhigh = 3", 1, "[seed]: is the same for all trials of a scope"),
    ("[scope.name]\nchoices = ['synthgym/all']", 1, "[scope.name]: is the same for all trials of a scope"),
    ("a = 1\n[weighting.kappa\nlow = 1", 2, "Expected ']' at the end of a table declaration (column 17)"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG, ids=[said[:40] for *_, said in WRONG])
def test_a_mistake_is_one_line_with_file_and_line(tmp_path, text, line, said):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/space.toml:{line}: {said}")
    assert "\n" not in str(caught.value)


def test_the_space_of_earlier_versions_can_be_had_again(tmp_path):
    """A study begun before the passes were searched goes on with this file."""
    assert load(tmp_path, "[teacher.passes]\nsearch = false").hash == "69eb62e7"


def test_nothing_left_to_search(tmp_path):
    base = Space((Parameter(name="weighting.kappa", low=1, high=2),))
    with pytest.raises(ConfigError, match=r"space\.toml:1: \[weighting\.kappa\]: nothing is left to search"):
        load(tmp_path, "[weighting.kappa]\nsearch = false", base)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"--space .*none\.toml: cannot be read \(No such file or directory\)"):
        load_space(tmp_path / "none.toml", SCOPE_SWEEP)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"bytes\.toml: cannot be read \(not UTF-8 text\)"):
        load_space(tmp_path / "bytes.toml", SCOPE_SWEEP)
    assert SCOPE_SWEEP.parameters[0].choices == PERTURBATIONS
