"""scope_sweep.py with the toy workload in place of training, for tests that need a process of its own."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import studies.scope_sweep as script

WORKLOAD = os.environ.get("TOY_WORKLOAD", "tests.studies.toy:ToyWorkload")

_real = script.sweep_options
script.sweep_options = lambda flags: dataclasses.replace(_real(flags), workload=WORKLOAD)

if __name__ == "__main__":
    script.main()
