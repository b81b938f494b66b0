"""The Dockerfile: known instructions, pinned base, the project's own versions, sources that exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.util import find_spec
from itertools import pairwise

import pytest
from packaging.specifiers import SpecifierSet

from tests.cluster.files import CLUSTER, ROOT, pins, text

INSTRUCTIONS = {"FROM", "ENV", "RUN", "WORKDIR", "COPY"}
BASE = re.compile(r"rayproject/ray:(?P<ray>\d+\.\d+\.\d+)-py3(?P<minor>\d+)-(cpu|gpu|cu\d+)$")


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Instruction and arguments, continued lines joined."""
    lines = [line for line in dockerfile.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).split("\n")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


def problems(dockerfile: str) -> list[str]:
    """What is wrong with a Dockerfile."""
    found = [f"unknown instruction {name}" for name, _ in instructions(dockerfile) if name not in INSTRUCTIONS]
    bases = [value for name, value in instructions(dockerfile) if name == "FROM"]
    base = BASE.match(bases[0]) if len(bases) == 1 else None
    if base is None:
        return [*found, f"base image: expected one Ray image with version, Python and platform, got {bases}"]
    if base["ray"] != pins()["ray"]:
        found.append(f"base image: expected Ray {pins()['ray']}, got {base['ray']}")
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    if not SpecifierSet(python).contains(f"3.{base['minor']}"):
        found.append(f"base image: Python 3.{base['minor']} is not {python}")
    sent = (CLUSTER / "Dockerfile.dockerignore").read_text().split()
    for name, value in instructions(dockerfile):
        words = shlex.split(value)
        if name == "COPY":
            sources = [word for word in words[:-1] if not word.startswith("--")]
            found += [f"COPY {s}: is not there" for s in sources if not (ROOT / s).exists()]
            found += [f"COPY {s}: .dockerignore leaves it out" for s in sources if f"!{s}" not in sent]
        if name == "RUN" and "install" in words and words[words.index("install") - 1] == "pip":
            given = [b for a, b in pairwise(words) if a in ("-c", "--constraint")]
            found += [] if given == ["constraints.txt"] else ["pip install without --constraint constraints.txt"]
        for imported in (
            re.findall(r"[\w.]*(?:sefar|studies)\.[\w.]+", value) if name == "RUN" and "import" in value else []
        ):
            found += [] if find_spec(imported) else [f"RUN: no module {imported}"]
    return found


def test_the_image_is_what_the_project_says() -> None:
    assert problems(text("Dockerfile")) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("FROM rayproject/ray:2.60.0-py311-cpu", "FROM rayproject/ray:latest", "base image: expected one Ray image"),
        ("ray:2.60.0", "ray:2.59.0", "base image: expected Ray 2.60.0, got 2.59.0"),
        ("py311", "py310", "Python 3.10 is not"),
        ("WORKDIR", "WORKDR", "unknown instruction WORKDR"),
        ("--constraint constraints.txt ", "", "pip install without"),
        ("COPY --chown=ray:users studies studies", "COPY studis studies", "COPY studis: is not there"),
        ("COPY --chown=ray:users studies studies", "COPY tests tests", "COPY tests: .dockerignore leaves it out"),
        ("studies.engine.runner", "studies.engine.runer", "no module studies.engine.runer"),
    ],
)
def test_what_is_wrong_is_found(old: str, new: str, complaint: str) -> None:
    assert old in text("Dockerfile")
    assert complaint in " ".join(problems(text("Dockerfile").replace(old, new)))
