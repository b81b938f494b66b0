"""Sweeps of toys: what the tests of the main job share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sefar.recipes import recipe
from studies.engine.space import SCOPE_SWEEP
from studies.engine.spec import Axis, Study
from studies.engine.sweep import SweepOptions, run_sweep
from studies.results.store import ResultStore

FX, UB = "synthgym/event:FX@1pc#0", "synthgym/event:UB@1pc#0"
BROKEN = "synthgym/set:broken"
TOY = "tests.studies.toy:ToyWorkload"
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, str(ROOT / "tests/studies/sweep_script.py")]


def make_study(*, scopes: tuple[str, ...] = (FX, UB), trials: int = 4, epochs: int = 6, **fields: object) -> Study:
    base = recipe("synthgym_tiny", {"optim.epochs": epochs, "objective.warmup_epochs": 0})
    axis = Axis(key="scope.name", values=scopes)
    return Study(**({"name": "s", "base": base, "scopes": axis, "space": SCOPE_SWEEP, "trials": trials} | fields))


def sweep(store: Path, study: Study | None = None, **options: object) -> tuple[ResultStore, list[str]]:
    said: list[str] = []
    options = {"store": str(store), "workload": TOY} | options
    return run_sweep(study or make_study(), SweepOptions(**options), said.append), said


def script(*flags: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *flags], capture_output=True, text=True, cwd=cwd or ROOT, timeout=300, env=os.environ | environment
    )
