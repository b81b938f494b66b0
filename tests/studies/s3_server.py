"""A local S3 server that can be taken away and brought back with all it holds."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

HOST = "127.0.0.1"
VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")


class S3Server:
    """Its buckets live in this process, so they outlast the server."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(HOST, 0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.running = True

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self):
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )

    def bucket(self) -> str:
        name = f"sefar-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        return sorted(one["Key"] for one in self.client().list_objects_v2(Bucket=bucket).get("Contents", []))

    def stop(self) -> None:
        if self.running:
            self._server.stop()
            self.running = False

    def start(self) -> None:
        if not self.running:
            self._server = ThreadedMotoServer(HOST, self.port, verbose=False)
            self._server.start()
            self.running = True

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()


def point_to(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and credentials of the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
