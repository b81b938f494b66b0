from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sefar.training.heap import SWITCH, keep_heap

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # in the background of a script Ctrl-C is ignored, which the processes that tests start would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

with pytest.MonkeyPatch.context() as patch:
    patch.setenv(SWITCH, "0")
    keep_heap()  # not in this process, where much else goes on; those that tests start do as the environment says

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str, what: str) -> Path:
    """A folder of material from elsewhere; without it the test is skipped."""
    if not (SHARED / path).is_dir():
        pytest.skip(f"{what} are not at hand")
    return SHARED / path


@pytest.fixture(scope="session")
def synthgym_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where SynthGym lies for tests that take it as it is: who needs a clip first renders it, for all."""
    return str(tmp_path_factory.mktemp("synthgym"))


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    return shared("parity", "check numbers of the released code")


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    return shared("data/videos", "real test videos")


@pytest.fixture(scope="session")
def real_annotations() -> Path:
    return shared("data/annotations", "the data sets' real annotation files")


@pytest.fixture(scope="session")
def released_lists() -> Path:
    return shared("data/sefar_lists", "the lists released with the paper")
