"""The README's commands: every flag is one that the command takes, every file is there; and no secret in any file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from sefar.errors import SefarError
from studies import predecode, status
from studies.engine.options import sweep_parser
from tests.cluster.files import CLUSTER, ROOT, pins, ray_command, text
from tests.cluster.test_scripts import shellcheck

STUDIES: dict[str, Callable[[], Any]] = {
    "scope_sweep.py": lambda: sweep_parser(""),
    "predecode.py": predecode.parser,
    "status.py": status.parser,
}
OTHERS = {"aws", "docker", "export", "gcloud", "helm", "kubectl", "sed", "squeue", "tail"}
PINNED = re.compile(
    r"(?:rayproject/ray:|rayVersion: \"?|[Rr]ay(?: itself is the cluster's own and must be|) )(\d+\.\d+\.\d+)"
)
SECRETS = (
    r"AKIA[0-9A-Z]{16}",
    r"BEGIN [A-Z ]*PRIVATE KEY",
    r"(?i)(?:auth_token|password|secret_access_key|access_key_id)['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9+/]{12,}",
    r"kind: Secret\b",
)


def blocks(readme: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


def commands(readme: str) -> list[list[str]]:
    """Words of each command in the README's blocks."""
    lines = "".join(blocks(readme)).replace("\\\n", " ").split("\n")
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words != ["&"]]


def problems(words: list[str]) -> list[str]:
    """What is wrong with a command."""
    words = [word for word in words if word != "&"]
    said = [f"{word}: is not there" for word in words if word.startswith("cluster/") and not list(ROOT.glob(word))]
    program, *rest = words
    if program == "ray":
        context, problem = ray_command(rest)
        said += [problem] if problem else []
        entrypoint = context.params.get("entrypoint", ()) if context is not None else ()
        said += problems(list(entrypoint)) if entrypoint else []
        if context is not None and context.info_name == "exec":
            said += problems(shlex.split(context.params["cmd"]))
    elif program.rpartition("/")[2] == "python":
        said += study_problems(rest)
    elif program == "sbatch":
        script = next(i for i, word in enumerate(rest) if word.endswith(".sh"))
        said += study_problems(["studies/scope_sweep.py", *rest[script + 1 :]])
    elif re.match(r"[A-Z_]+=", program) is None and program not in OTHERS:
        said.append(f"{program}: unknown program")
    return said


def study_problems(words: list[str]) -> list[str]:
    script, *flags = words
    name = script.rpartition("/")[2]
    if name not in STUDIES or not (ROOT / "studies" / name).is_file():
        return [f"{script}: is not there"]
    try:
        STUDIES[name]().parse_args(flags)
    except SefarError as error:
        return [f"{name}: {error}"]
    return []


@pytest.mark.parametrize("words", commands(text("README.md")), ids=lambda words: " ".join(words)[:60])
def test_each_command_is_one_that_its_program_takes(words: list[str]) -> None:
    assert problems(words) == []


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("ray up --yess cluster/ray-aws.yaml", "No such option"),
        ("ray up cluster/ray-was.yaml", "is not there"),
        ("ray job submit --adress x -- python studies/scope_sweep.py", "No such option"),
        ("ray job submit -- python studies/scope_sweep.py --stor x", "unknown flag"),
        ("ray job submit -- python studies/scope_swep.py", "is not there"),
        ("sbatch cluster/slurm.sh --trial 3", "unknown flag"),
        ("python studies/predecode.py --scopes a --each-nod", "unknown flag"),
        ("kubctl apply -f cluster/ray-aws.yaml", "unknown program"),
    ],
)
def test_what_is_wrong_is_found(command: str, complaint: str) -> None:
    assert complaint in " ".join(problems(shlex.split(command)))


def test_each_way_takes_about_ten_lines() -> None:
    assert len(blocks(text("README.md"))) == 10
    assert max(block.count("\n") for block in blocks(text("README.md"))) <= 11


def test_shellcheck_has_nothing_to_say_of_the_readme() -> None:
    for block in blocks(text("README.md")):
        assert shellcheck(text="#!/bin/bash\n" + block) == ""


def test_every_file_is_in_the_readme_and_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text("README.md"))
    assert not [link for link in links if not (CLUSTER / link).exists()]
    files = {f.name for f in CLUSTER.iterdir() if f.is_file()} - {"README.md", "Dockerfile.dockerignore"}
    assert files <= set(links)


def test_rays_version_is_the_pinned_one_everywhere() -> None:
    names = [f.name for f in sorted(CLUSTER.iterdir()) if f.is_file()]
    said = {name: PINNED.findall(text(name)) for name in names}
    assert {version for versions in said.values() for version in versions} == {pins()["ray"]}
    naming = {"Dockerfile", "README.md", "kuberay-raycluster.yaml", "kuberay-rayjob.yaml", "runtime_env.yaml"}
    assert {name for name, versions in said.items() if versions} == naming


def secrets_in(content: str) -> list[str]:
    return [match[0] for pattern in SECRETS for match in re.finditer(pattern, content)]


@pytest.mark.parametrize("name", sorted(f.name for f in CLUSTER.iterdir() if f.is_file()))
def test_no_file_holds_a_secret(name: str) -> None:
    assert secrets_in(text(name)) == []


@pytest.mark.parametrize(
    "line", ['auth_token: "0123456789abcdef"', "AKIAIOSFODNN7EXAMPLE", "kind: Secret", "PASSWORD=hunter2hunter2"]
)
def test_secrets_are_found(line: str) -> None:
    assert secrets_in(f"a: 1\n{line}\nb: 2") == [line.removesuffix('"')]
