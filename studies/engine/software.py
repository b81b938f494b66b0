"""Which code and which software ran, for the rows of a store."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

import sefar

ROOT = Path(__file__).resolve().parents[2]


def software_columns() -> dict[str, str]:
    """Columns of ``trials`` that say what software ran."""
    return {
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "sefar_version": sefar.__version__,
        "commit": git_commit(),
    }


def git_commit() -> str:
    """The checkout's commit, with ``+`` when it has changes; without one, as in a Ray job, ``SEFAR_COMMIT``."""

    def git(*arguments: str) -> str:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, env=environment
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        commit += "+" if commit and git("status", "--porcelain") else ""
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return commit or os.environ.get("SEFAR_COMMIT", "")
