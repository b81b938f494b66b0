"""docs/method.md against the code: tests, keys, recipes and published numbers that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sefar.config import TrainConfig
from sefar.recipes import RECIPES, recipe
from sefar.ssl.perturb import KINDS
from sefar.ssl.weighting import SCHEMES
from studies.arms import ABLATIONS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"([\w/]+\.py)::(test_\w+)", TEXT)))


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def section(number: int) -> str:
    return TEXT.split(f"\n## {number}. ")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the tables' lines, without the heading of each."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = [at - 1 for at, line in enumerate(lines) if set(line) <= set("|- ")]
    skipped = {*heads, *(at + 1 for at in heads)}
    return [[c.strip() for c in line.strip("|").split("|")] for at, line in enumerate(lines) if at not in skipped]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_named_there_exists(file: str, test: str) -> None:
    found = [path for path in (ROOT / "tests").rglob(Path(file).name) if path.as_posix().endswith(f"/{file}")]
    assert any(test in functions_of(path) for path in found), f"{file} has no {test}; it lies in {found}"


def test_every_departure_names_a_test() -> None:
    departures = rows(section(8))
    assert len(departures) == 13
    assert all(re.search(r"\.py::test_", row[-1]) for row in departures)
    released = recipe("released_vit_s").flatten()
    paper = recipe("paper_vit_s").flatten()
    switches = {key: value for row in departures for key, value in re.findall(r"`([\w.]+)=([\w.]+)`", row[2])}
    assert switches.keys() == {key for key in paper if released[key] != paper[key]}
    assert all(str(released[key]).lower() == value for key, value in switches.items())


def test_every_key_named_there_exists() -> None:
    keys = TrainConfig().flatten().keys()
    groups = {key.split(".")[0] for key in keys if "." in key}
    named = set(re.findall(rf"`((?:{'|'.join(groups)})\.\w+)(?:=[^`]*)?`", TEXT))
    assert len(named) > 25
    assert named <= keys


def test_every_kind_and_weighting_is_explained() -> None:
    assert [re.match(r"`(\w+)`", row[0])[1] for row in rows(section(3))] == list(KINDS)  # type: ignore[index]
    assert [re.match(r"`(\w+)`", row[0])[1] for row in rows(section(6))] == list(SCHEMES)  # type: ignore[index]


def recipe_rows() -> list[str]:
    """The table of recipes as it should read."""
    names = ["paper_vit_s", "paper_vit_b", "released_vit_s", "released_vit_b", "synthgym_tiny"]
    default = TrainConfig().flatten()
    flat = [recipe(name).flatten() for name in names]
    lines = []
    for key in default:
        if any(values[key] != default[key] for values in flat):
            shown = [str(v[key]) if v[key] != default[key] else "–" for v in flat]
            lines.append(f"| `{key}` | {default[key]} | {' | '.join(shown)} |")
    return lines


def test_recipes_are_as_the_table_says() -> None:
    table = [line for line in section(7).splitlines() if line.startswith("| `") and "default" not in line]
    assert table == recipe_rows(), "docs/method.md §7 should read:\n" + "\n".join(recipe_rows())
    assert all(f"`{name}`" in section(7) for name in RECIPES)


def test_published_numbers_are_those_of_the_ablations() -> None:
    tables = section(9)
    components = [[float(v) for v in row[1:]] for row in rows(tables.split("Components")[1].split("Perturbations")[0])]
    assert components == [list(arm.published.values()) for arm in ABLATIONS["components"].arms]
    published = {row[0].strip("`"): [float(v) for v in row[1:]] for row in rows(tables.split("Perturbations")[1])[:8]}
    assert published == {a.name: list(a.published.values()) for a in ABLATIONS["perturbations"].arms if a.published}
    passes = rows(tables.split("Passes (")[1].split("Main results")[0])
    by_arm = [list(arm.published.values()) for arm in ABLATIONS["passes"].arms if arm.published]
    assert [[float(v) for v in row[1:]] for row in passes] == [list(column) for column in zip(*by_arm, strict=True)]
    fractions = [[float(v) for v in r[1:]] for r in rows(tables.split("Regulation by")[1].split("Passes (")[0])]
    arms = {arm.name: list(arm.published.values()) for arm in ABLATIONS["thresholds"].arms}
    assert fractions == [arms["tau_0"], arms["adaptive"]]


def test_pictures_and_commands_exist() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / "docs" / picture).is_file()
    for study in re.findall(r"studies/ablation\.py (\w+)", TEXT):
        assert study in ABLATIONS
    for path in re.findall(r"`((?:sefar|studies)/[\w/]+\.py)`", TEXT):
        assert (ROOT / path).is_file()
