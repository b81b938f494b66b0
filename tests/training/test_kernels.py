"""What makes training faster leaves it as it was: the same losses from the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.training.heap import SWITCH, keep_heap
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


LET = {name: value for name, value in os.environ.items() if name != SWITCH}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_freed_memory_stays_with_the_process() -> None:
    script = (
        "import resource, torch\n"
        "from sefar.training.heap import keep_heap\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n"
        "    before = faults()\n"
        "    blocks = [torch.empty(2**22)[::1024].fill_(1) for _ in range(20)]\n"  # 16 MiB each
        "    del blocks\n"
        "    return faults() - before\n"
        "assert keep_heap()\n"
        "print(work(), min(work() for _ in range(6)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        env=LET,
    )
    assert done.returncode == 0, done.stderr
    first, kept = map(int, done.stdout.split())  # few pages at first too where the system makes them huge
    assert kept < 200 and kept < first


def test_memory_goes_back_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert keep_heap.__wrapped__() is False


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_heap.__wrapped__() is False


INTERRUPTED = """
import os, random, signal, sys, threading, time
import torch
from sefar.models.granularity import SefarNet
from sefar.recipes import recipe
from sefar.training.heap import keep_heap

assert keep_heap()
torch.set_num_threads(int(sys.argv[2]))
config = recipe("synthgym_tiny", {"model.pretrained": "none"})
net = SefarNet(config.model, image_size=64, frames_per_granularity=(2, 2, 4), num_classes=12)
frames = torch.randn(8, 8, 3, 64, 64)
with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
    net(frames).sum().backward()
names = {event.key for event in found.key_averages()}
assert "aten::mkldnn_convolution" in names and "aten::_slow_conv2d_forward" not in names
draw, stopped = random.Random(0), 0
for _ in range(int(sys.argv[1])):
    threading.Timer(draw.uniform(0, 0.3), os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            net(frames).sum().backward()
    except KeyboardInterrupt:
        stopped += 1
print(stopped)
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_amid_steps_stops_each_and_harms_nothing(threads: int) -> None:
    """Matrix products by a private operator of torch's had such a process die of a damaged heap."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "30", str(threads)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        env=LET,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "30"), done.stderr
