"""ablation.py with the toy workload in place of training, for tests that need a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import studies.ablation as script

if __name__ == "__main__":
    script.main("tests.studies.toy:ToyWorkload")
