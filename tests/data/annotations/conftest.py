from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def real_annotations() -> Path:
    folder = DATA / "annotations"
    if not folder.is_dir():
        pytest.skip("the data sets' real annotation files are not at hand")
    return folder


@pytest.fixture(scope="session")
def released_lists() -> Path:
    folder = DATA / "sefar_lists"
    if not folder.is_dir():
        pytest.skip("the lists released with the paper are not at hand")
    return folder
