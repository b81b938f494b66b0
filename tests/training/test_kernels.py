"""What makes training faster leaves it as it was: the same losses from the same seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.training.heap import keep_heap
from sefar.training.trainer import Trainer


def test_losses_are_the_same_curve_with_and_without_the_cpus_kernels(
    tiny_config: TrainConfig, tiny_scope: Scope
) -> None:
    curves = []
    for enabled in (True, False):
        with torch.backends.mkldnn.flags(enabled=enabled):
            trainer = Trainer(tiny_config, tiny_scope, device="cpu")
            curves.append([(r.total_loss, r.unlabelled_loss, r.mixed_loss, r.spread_mean) for r in trainer])
            trainer.close()
    assert len(curves[0]) == 3 and curves[0][-1][1] > 0.1
    for ours, theirs in zip(*curves, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4, abs=1e-6, nan_ok=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_freed_memory_stays_with_the_process() -> None:
    script = (
        "import resource, torch\n"
        "from sefar.training.heap import keep_heap\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n"
        "    before = faults()\n"
        "    blocks = [torch.ones(2**22) for _ in range(8)]\n"  # 16 MiB each
        "    del blocks\n"
        "    return faults() - before\n"
        "work(); work(); usual = work()\n"
        "assert keep_heap()\n"
        "work(); print(usual, work())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    usual, kept = map(int, done.stdout.split())
    assert kept < 200 < usual


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_heap.__wrapped__() is False
