"""What the tests of `cluster/` share: the files, the pinned versions, Ray's own parsers of command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import yaml
from ray.scripts.scripts import cli

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"


def pins() -> dict[str, str]:
    """Versions of constraints.txt by normalised name."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


def text(name: str) -> str:
    return (CLUSTER / name).read_text(encoding="utf-8")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all(text(name)))


def ray_command(arguments: list[str]) -> tuple[click.Context | None, str]:
    """Parse ``ray …`` as the command line would, without running it; the innermost context, or what is wrong."""
    command: click.Command = cli
    context = None
    try:
        while isinstance(command, click.Group):
            context = click.Context(command, info_name=command.name)
            _, inner, arguments = command.resolve_command(context, arguments)
            assert inner is not None
            command = inner
        return command.make_context(command.name or "", list(arguments)), ""
    except click.ClickException as error:
        return None, f"ray {command.name}: {error.format_message()}"


def ray_starts(commands: list[str]) -> list[list[str]]:
    """Arguments of each ``ray start`` in shell commands."""
    found = []
    for command in commands:
        for part in re.split(r";|&&", command):
            words = shlex.split(part.replace("$RAY_HEAD_IP", "10.0.0.1"))
            if words[:1] and words[0].rpartition("/")[2] == "ray" and words[1] == "start":
                found.append(words[1:])
    return found
