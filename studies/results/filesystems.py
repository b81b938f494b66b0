"""From a URI to a `pyarrow.fs` file system: S3 takes endpoint, region and credentials from the environment.

Credentials are the AWS SDK's affair: AWS_ACCESS_KEY_ID and its companions, ``~/.aws``, or the role of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from sefar.errors import StoreError, nearest
from studies.results.outage import PATIENCE_SECONDS, persist

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0  # a request that moves no byte for so long is given up
ATTEMPTS = 2  # of a request within the SDK: a part of a large upload is sent again without the others
S3_KEYS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
GOOGLE_PATIENCE = "retry_limit_seconds"  # the library's own is a quarter of an hour
_regions: dict[str, str] = {}  # by bucket, as Amazon has said

LOCAL_REGION = "us-east-1"  # servers other than Amazon's accept it; without one the SDK would ask the network


def open_filesystem(uri: str, patience_seconds: float = PATIENCE_SECONDS) -> tuple[fs.FileSystem, str]:
    """The file system of a URI or local path, and the path in it.

    Raises:
        StoreError: nothing that is known here, or a malformed URI.
        StorageOutage: the bucket's region was asked for and nobody answered.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    if uri.startswith("s3://"):
        root, options = s3_options(uri, os.environ)
        if "region" not in options:
            bucket = root.partition("/")[0]
            if bucket not in _regions:
                _regions[bucket] = persist(lambda: fs.resolve_s3_region(bucket), uri, "found", patience_seconds)
            options["region"] = _regions[bucket]
        return _s3(options), root
    added = ""
    if uri.startswith(("gs://", "gcs://")) and GOOGLE_PATIENCE not in uri:
        added = ("&" if "?" in uri else "?") + f"{GOOGLE_PATIENCE}={SILENCE_SECONDS:.0f}"
    try:
        filesystem, root = fs.FileSystem.from_uri(uri + added)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{uri}: not a place results can lie ({error}); give a local path, s3://… or gs://…") from None
    return filesystem, root


def s3_options(uri: str, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Bucket and key of an S3 URI, and what `S3FileSystem` needs; the URI's query overrides the environment.

    Args:
        uri: ``s3://bucket/key?endpoint_override=host:port&scheme=http&region=…&tls_ca_file_path=…``.
        environment: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION, AWS_CA_BUNDLE.

    Raises:
        StoreError: no bucket, unknown query key, credentials in the URI, or a malformed endpoint.
    """
    place, _, query_text = uri.partition("?")
    parts = urlsplit(place, allow_fragments=False)
    bucket, key = parts.netloc, unquote(parts.path).strip("/")
    if "@" in bucket:
        raise StoreError(
            f"s3://…@{bucket.rpartition('@')[2]}: credentials in a URI end up in logs and results; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    if not bucket:
        raise StoreError(f"{uri}: names no bucket; expected s3://bucket/folder")
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    for name in query:
        if name not in S3_KEYS:
            raise StoreError(f"{uri}: unknown setting '{name}'{nearest(name, S3_KEYS)}")
    options: dict[str, Any] = {}
    endpoint, source = query.get("endpoint_override", ""), "endpoint_override"
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if not endpoint:
            endpoint, source = environment.get(name, ""), name
    if endpoint:
        options |= _endpoint(endpoint, query.get("scheme", "https"), source)
    authorities = query.get("tls_ca_file_path") or environment.get("AWS_CA_BUNDLE")
    if authorities:
        options["tls_ca_file_path"] = authorities
    region = query.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if region or endpoint:
        options["region"] = region or LOCAL_REGION
    return f"{bucket}/{key}".rstrip("/"), options


def _endpoint(text: str, scheme: str, source: str) -> dict[str, str]:
    """A URL, or ``host:port`` with the scheme given beside it."""
    parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise StoreError(f"{source}: expected http(s)://host:port, got '{text}'")
    return {"endpoint_override": parts.netloc, "scheme": parts.scheme}


def _s3(options: dict[str, Any]) -> fs.FileSystem:
    return fs.S3FileSystem(
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENCE_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # a small object is put by one request instead of three
        **options,
    )
