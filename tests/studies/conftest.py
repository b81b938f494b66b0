"""Storage for tests: an S3 server that can be taken away, and buckets on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from studies.results import filesystems

if TYPE_CHECKING:
    from tests.studies.s3_server import S3Server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    from tests.studies.s3_server import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[str]:
    """A new bucket; the environment says where, the spool is the test's own, and the server is back afterwards."""
    from tests.studies.s3_server import point_to

    point_to(server, monkeypatch)
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(filesystems, "ATTEMPTS", 1)
    yield server.bucket()
    server.start()
