"""200 damaged copies of a good clip: no hang, no crash, and no wrong frame that passes the check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from sefar.data.decode import decode_clip
from sefar.data.decode_process import DecodeProcess
from sefar.errors import DecodeError
from tests.data.awkward_videos import damaged, encode, read_numbers

pytestmark = pytest.mark.timeout(300)

COPIES, FRAMES, LIMIT_SECONDS = 200, 60, 20.0
CLOSE = 1.0
"""Mean difference of grey levels up to which a picture is taken for the undamaged one."""


@dataclass(frozen=True)
class Outcome:
    """What became of a damaged copy: whether each way accepts it, and whether its frames are the true ones."""

    kind: str
    trained: bool
    checked: bool
    numbers: bool
    pictures: bool
    error: str


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    folder = tmp_path_factory.mktemp("damage")
    source = encode(folder / "good.mp4", FRAMES, size=(340, 256), g="12", crf="28", container={"movflags": "faststart"})
    whole, data, bad = decode_clip(source), source.read_bytes(), folder / "bad.mp4"
    found = []
    with (
        DecodeProcess(LIMIT_SECONDS) as train,
        DecodeProcess(LIMIT_SECONDS, task="sefar.data.verify:verify_clip") as check,
    ):
        assert check(source) == FRAMES
        for seed in range(COPIES):
            kind, content = damaged(data, seed)
            bad.write_bytes(content)
            frames, error, checked = None, "", True
            try:
                frames = train(bad)
            except DecodeError as caught:
                error = str(caught)
            try:
                check(bad)
            except DecodeError as caught:
                checked, error = False, error or str(caught)
            same = frames is not None and frames.shape == whole.shape
            numbers = same and read_numbers(frames) == list(range(FRAMES))
            pictures = same and np.abs(frames.astype(int) - whole).mean((1, 2, 3)).max() < CLOSE
            found.append(Outcome(kind, frames is not None, checked, numbers, pictures, error))
            assert not error or error.startswith(f"{bad}: ")
            assert "\n" not in error
    return found


def test_nothing_hangs_or_crashes(outcomes: list[Outcome]) -> None:
    assert len(outcomes) == COPIES
    assert Counter(outcome.kind for outcome in outcomes).most_common()[0][1] == COPIES // 5
    assert not [outcome for outcome in outcomes if "within" in outcome.error or "the process that" in outcome.error]


def test_no_wrong_frame_passes_the_check(outcomes: list[Outcome]) -> None:
    """None of these copies does; of 1,000 such copies three or four, so that another encoder may let one in here."""
    passed = [outcome for outcome in outcomes if outcome.checked]
    assert 8 <= len(passed) <= 40  # damage to what is not read, such as the name of the encoder
    wrong = [outcome for outcome in passed if not (outcome.trained and outcome.numbers and outcome.pictures)]
    assert len(wrong) <= COPIES // 100


def test_training_accepts_few_wrong_frames(outcomes: list[Outcome]) -> None:
    """Without the check, what FFmpeg conceals without a word gets through: pictures that copy others."""
    wrong = [outcome for outcome in outcomes if outcome.trained and not outcome.numbers]
    assert len(wrong) <= COPIES // 20
    assert "cut" not in {outcome.kind for outcome in wrong}
