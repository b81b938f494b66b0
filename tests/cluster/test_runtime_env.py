"""What travels with a job: `cluster/runtime_env.yaml` and the working directory."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ray._private.runtime_env.packaging import create_package
from ray.runtime_env import RuntimeEnv, RuntimeEnvConfig

from tests.cluster.files import ROOT, documents, pins


def problems(environment: dict[str, Any]) -> list[str]:
    """What is wrong with a runtime environment; Ray itself only warns of unknown keys."""
    unknown = [key for key in environment if key not in RuntimeEnv.known_fields]
    unknown += [f"config.{key}" for key in environment.get("config", {}) if key not in RuntimeEnvConfig.known_fields]
    pip = environment.get("pip", {})
    unknown += [
        f"pip.{key}" for key in pip if key not in ("packages", "pip_check", "pip_version", "pip_install_options")
    ]
    if unknown:
        return [f"unknown: {', '.join(unknown)}"]
    try:
        RuntimeEnv(**environment)
    except (TypeError, ValueError) as error:
        return [str(error)]
    found = []
    for line in pip.get("packages", []):
        requirement = Requirement(line)
        pinned = pins().get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        if str(requirement.specifier) != f"=={pinned}":
            found.append(f"{line}: expected version {pinned}")
    return found


def test_ray_takes_it() -> None:
    (environment,) = documents("runtime_env.yaml")
    assert problems(environment) == []


def test_it_installs_what_the_package_needs_and_leaves_ray_alone() -> None:
    (environment,) = documents("runtime_env.yaml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {Requirement(line).name for line in project["dependencies"]}
    assert {Requirement(line).name for line in environment["pip"]["packages"]} == needed - {"ray"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"env_var": {"A": "1"}}, "unknown: env_var"),
        ({"config": {"setup_timeout": 3}}, "unknown: config.setup_timeout"),
        ({"pip": {"package": []}}, "unknown: pip.package"),
        ({"env_vars": {"A": 1}}, "env_vars"),
        ({"config": {"setup_timeout_seconds": 0}}, "setup_timeout_seconds must be greater"),
        ({"pip": {"packages": ["torch==2.10.0"]}}, "torch==2.10.0: expected version"),
    ],
)
def test_what_is_wrong_is_found(change: dict[str, Any], complaint: str) -> None:
    (environment,) = documents("runtime_env.yaml")
    assert re.search(re.escape(complaint), " ".join(problems(environment | change)))


def test_the_working_directory_is_the_code_and_all_of_it(tmp_path: Path) -> None:
    create_package(str(ROOT), tmp_path / "package.zip", include_gitignore=True)
    sent = {name for name in zipfile.ZipFile(tmp_path / "package.zip").namelist() if not name.endswith("/")}
    ours = [f for folder in ("sefar", "studies") for f in (ROOT / folder).rglob("*") if f.is_file()]
    assert {str(f.relative_to(ROOT)) for f in ours if "__pycache__" not in f.parts} <= sent
    assert {name.split("/")[0] for name in sent if "/" in name} == {"sefar", "studies"}
