"""Who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def within(names: set[str], package: str) -> bool:
    return any(n == package or n.startswith(package + ".") for n in names)


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", sources("sefar"), ids=lambda f: str(f.relative_to(ROOT)))
def test_sefar_knows_nothing_of_ray_or_studies(file: Path) -> None:
    names = imports(file)
    assert not within(names, "studies")
    assert not within(names, "ray")
    assert not within(names, "optuna")
    assert within(names, "decord") <= (file.name == "decode.py")
    package = file.relative_to(ROOT / "sefar").parts[0]
    if package in ("ssl", "models"):
        for forbidden in ("sefar.data", "sefar.training", "sefar.recipes", "sefar.cli", "sefar.config"):
            assert not within(names, forbidden), forbidden
    if package == "data":
        for forbidden in ("sefar.training", "sefar.models", "sefar.ssl", "sefar.config", "sefar.recipes"):
            assert not within(names, forbidden), forbidden
    if package == "training":
        assert not within(names, "sefar.recipes")
        assert not within(names, "sefar.cli")


@pytest.mark.parametrize("file", sources("studies"), ids=lambda f: str(f.relative_to(ROOT)))
def test_ray_and_optuna_stay_in_their_places(file: Path) -> None:
    names, parts = imports(file), file.relative_to(ROOT).parts
    assert within(names, "ray") <= (parts[1] == "engine")
    assert within(names, "optuna") <= (parts[-2:] == ("engine", "search.py") or parts[1] == "results")
    assert not within(names, "ray.air")


def test_importing_sefar_needs_neither_ray_nor_decord_nor_optuna() -> None:
    script = (
        "import sys\n"
        "names = ('ray', 'decord', 'optuna', 'av', 'tyro', 'matplotlib', 'tensorboardX')\n"
        "for name in names: sys.modules[name] = None\n"
        "import sefar, sefar.recipes, sefar.training.trainer, sefar.data.scopes, sefar.models.pretrained\n"
        "import sefar.training.run, sefar.training.evaluate_run\n"
        "print(sefar.recipes.recipe('synthgym_tiny').model.name)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "vit_tiny"
