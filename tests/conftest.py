from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    folder = SHARED / "parity"
    if not (folder / "model.npz").is_file():
        pytest.skip("check numbers of the released code are not at hand")
    return folder


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    folder = SHARED / "data" / "videos"
    if not folder.is_dir():
        pytest.skip("real test videos are not at hand")
    return folder
