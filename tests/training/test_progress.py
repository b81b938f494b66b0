from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from sefar.config import TrainConfig
from sefar.recipes import recipe, with_method
from sefar.training.progress import ProgressBar, clips_until
from sefar.training.report import EpochReport


@pytest.fixture
def config() -> TrainConfig:
    """8 labelled and 24 unlabelled clips a micro-batch, two micro-batches a step, one of four epochs warm-up."""
    return recipe(
        "synthgym_tiny",
        {
            "loader.labelled": 8,
            "loader.unlabelled_ratio": 3,
            "optim.accumulate": 2,
            "optim.epochs": 4,
            "objective.warmup_epochs": 1,
        },
    )


def test_unlabelled_clips_count_after_the_warm_up(config: TrainConfig) -> None:
    # five steps an epoch: 16 clips each in the warm-up, 64 after
    assert [clips_until(config, 5, step) for step in (0, 1, 5, 6, 20)] == [0, 16, 80, 144, 1040]
    supervised = with_method(config, "supervised")
    assert [clips_until(supervised, 5, step) for step in (0, 6, 20)] == [0, 96, 320]


def test_time_left_after_resuming_goes_by_this_session(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 of 20 steps came before. 2 steps, 128 clips, in 16 s are 8 clips/s; 8 steps, 512 clips, are left: 64 s."""
    with ProgressBar(config, 5, step=10) as progress:
        bar = progress.bar
        assert (bar.initial, bar.n, bar.total) == (400, 400, 1040)
        monkeypatch.setattr(bar, "_time", lambda: bar.start_t + 16)
        progress.step_done(11)
        progress.step_done(12)
        text = bar.format_meter(**{**bar.format_dict, "ncols": None})
        assert text.startswith("epoch 3/4: ")
        assert "| 528/1040 [00:16<01:04,  8.00 clips/s" in text


def test_the_bar_ends_full_and_shows_the_last_accuracy(config: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(config, 5, step=0) as progress:
        for step in range(1, 20):  # one step went unseen
            progress.step_done(step)
        progress.epoch_done(EpochReport(epoch=4, step=20, dev_student_top1=12.34))
        assert progress.bar.n == progress.bar.total
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.split("\r")[-1]
    assert last.startswith("epoch 4/4: 100%") and "1040/1040" in last and "dev 12.3 %" in last
    assert said.err.count("\r") < 5  # where there is no terminal, a line now and then


@pytest.mark.parametrize("columns", [0, 60])
def test_a_terminal_without_a_width_shows_the_bar_too(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with ProgressBar(config, 5, step=20):
            pass
        shown = os.read(ours, 4096).decode(errors="ignore")
    os.close(ours)
    assert "1040/1040" in shown


def test_a_finished_run_is_full_at_once(config: TrainConfig) -> None:
    with ProgressBar(config, 5, step=20) as progress:
        assert progress.bar.n == progress.bar.total == 1040
        assert progress.bar.desc == "epoch 4/4"
