"""A store on S3: the environment says where and who; what is wrong with either is one line."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from moto import settings as moto_settings
from pyarrow import fs

from sefar.errors import StoreError
from studies.engine.checkpoints import CheckpointFolder
from studies.engine.lock import study_lock
from studies.engine.trial_run import WORK, RunSettings, TrialRun
from studies.results import filesystems, outage
from studies.results.filesystems import s3_options
from studies.results.outage import StorageOutage, is_passing, persist, short_reason
from studies.results.storage import Location
from studies.results.store import NoStoreError, ResultStore
from tests.studies.test_trial_run import spec_of

SCOPE = "synthgym/event:FX@1pc#0"
LARGE = 12 * 2**20  # beyond what one request takes: goes up in parts


def epoch(number: int) -> dict:
    return {"epoch": number, "step": 10 * number, "dev_student_top1": 50.0}


# --- where and who ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "environment", "root", "options"),
    [
        ("s3://b/x/", {"AWS_REGION": "eu-west-1"}, "b/x", {"region": "eu-west-1"}),
        ("s3://b/x", {}, "b/x", {}),
        ("s3://b/a%20b/é", {"AWS_DEFAULT_REGION": "r"}, "b/a b/é", {"region": "r"}),
        (
            "s3://b",
            {"AWS_ENDPOINT_URL": "http://minio:9000/", "AWS_CA_BUNDLE": "/ca.pem"},
            "b",
            {"endpoint_override": "minio:9000", "scheme": "http", "region": "us-east-1", "tls_ca_file_path": "/ca.pem"},
        ),
        (
            "s3://b/x",
            {"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_S3": "https://s3.host", "AWS_REGION": "r"},
            "b/x",
            {"endpoint_override": "s3.host", "scheme": "https", "region": "r"},
        ),
        (
            "s3://b/x?endpoint_override=localhost:9&scheme=http&region=q",
            {"AWS_ENDPOINT_URL": "http://other", "AWS_REGION": "r"},
            "b/x",
            {"endpoint_override": "localhost:9", "scheme": "http", "region": "q"},
        ),
    ],
)
def test_the_environment_names_the_server_and_the_uri_overrides_it(uri, environment, root, options):
    assert s3_options(uri, environment) == (root, options)


@pytest.mark.parametrize(
    ("uri", "environment", "text"),
    [
        ("s3://", {}, "names no bucket; expected s3://bucket/folder"),
        ("s3:///x", {}, "names no bucket"),
        ("s3://b/x?regoin=r", {}, "unknown setting 'regoin' — did you mean 'region'?"),
        ("s3://b/x", {"AWS_ENDPOINT_URL": "minio:9000/s3"}, r"AWS_ENDPOINT_URL: expected http\(s\)://host:port, got"),
        ("s3://b/x", {"AWS_ENDPOINT_URL": "ftp://minio"}, "AWS_ENDPOINT_URL: expected"),
        ("s3://me:secret@b/x", {}, r"^s3://…@b: credentials in a URI end up in logs"),
    ],
)
def test_a_malformed_place_is_refused(uri, environment, text):
    with pytest.raises(StoreError, match=text) as caught:
        s3_options(uri, environment)
    assert "secret@" not in str(caught.value)


def test_google_storage_is_given_up_in_time():
    for uri in ("gs://anonymous@b/x", "gs://anonymous@b/x?scheme=http"):
        opened, root = filesystems.open_filesystem(uri)
        _, (options,) = opened.__reduce__()
        assert root == "b/x" and options["retry_time_limit"].total_seconds() == filesystems.SILENCE_SECONDS


def test_a_store_is_written_and_read_by_environment_alone(server, bucket):
    store = ResultStore(f"s3://{bucket}/runs/store", create=True)
    writer = store.writer("s", SCOPE, "t0")
    writer.trial({"number": 0, "status": "finished"})
    writer.epoch(epoch(1))
    writer.epoch(epoch(2))
    again = ResultStore(f"s3://{bucket}/runs/store", create=True)
    assert again.epochs(study="s").epoch.tolist() == [1, 2] and again.trials().status.tolist() == ["finished"]
    assert again.writer("s", SCOPE, "t0").attempt == 2
    assert again.problems() == []
    assert all("/." not in key for key in server.keys(bucket))  # no temporary names
    assert not any(key.startswith("runs/store.work") for key in server.keys(bucket))


def test_a_location_is_whole_after_pickle_and_fork(bucket):
    location = Location(f"s3://{bucket}/x", patience_seconds=3.0)
    location.write("a", b"1")
    twin = pickle.loads(pickle.dumps(location.sibling(".work")))
    assert (twin.root, twin.patience_seconds, twin.home.root) == (f"{bucket}/x.work", 3.0, f"{bucket}/x")
    twin.write("b", b"2")
    context = multiprocessing.get_context("fork")

    def in_child() -> None:
        location.write("c", location.read("a") + b"3")
        assert location._process == os.getpid()  # a connection of its own, not one that the parent talks on too

    child = context.Process(target=in_child)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert location.read("c") == b"13" and twin.read("b") == b"2"


def test_files_large_and_small_come_back(bucket, tmp_path):
    location = Location(f"s3://{bucket}/x")
    data = os.urandom(LARGE)
    (tmp_path / "large").write_bytes(data)
    location.write("deep/large", tmp_path / "large")
    assert location.read("deep/large") == data
    with location.open("deep/large") as stream:
        stream.seek(LARGE - 4)
        assert stream.read() == data[-4:]
    assert location.files() == ["deep/large"] and location.exists("deep/large") and not location.exists("deep")
    location.remove("deep/large")
    location.remove("deep/large")
    assert location.files() == [] and location.written_at("deep/large") is None
    with pytest.raises(FileNotFoundError):
        location.read("deep/large")


def test_checkpoints_lie_beside_the_store(server, bucket):
    folder = CheckpointFolder(Location(f"s3://{bucket}/store").sibling(".work/checkpoints/s"))
    assert folder.load("t0") is None
    folder.save("t0", {"epoch": 3})
    assert server.keys(bucket) == ["store.work/checkpoints/s/t0.pt"]
    assert folder.load("t0")["epoch"] == 3
    folder.remove("t0")
    assert folder.load("t0") is None and not any(key.endswith(".pt") for key in server.keys(bucket))


def _run_study(uri: str, study: str) -> None:
    store = ResultStore(uri, create=True)
    with study_lock(store.location.sibling(WORK), study):
        for number in range(3):
            spec = replace(spec_of(), study=study, trial_id=f"{study}.{number}", number=number)
            trial = TrialRun(spec, RunSettings(store=uri, workload="tests.studies.toy:ToyWorkload"), 3)
            while not trial.step()["done"]:
                pass
            trial.close()


@pytest.mark.slow
def test_studies_share_a_store(server, bucket):
    """Two processes, each at its own study, in one store and one work folder."""
    uri = f"s3://{bucket}/store"
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=_run_study, args=(uri, study)) for study in ("one", "two")]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0]
    store = ResultStore(uri)
    assert store.trials()[["study", "status"]].value_counts().to_dict() == {
        ("one", "finished"): 3,
        ("two", "finished"): 3,
    }
    assert len(store.epochs()) == 18 and len(store.epochs(study="one")) == 9 and store.problems() == []
    assert not [key for key in server.keys(bucket) if key.endswith((".pt", ".json")) and "_sefar_store" not in key]


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_missing_bucket_is_one_line(bucket):
    with pytest.raises(StoreError, match=r"^s3://nobody-made-it/x.*there is no such bucket; create it") as caught:
        ResultStore("s3://nobody-made-it/x", create=True)
    assert "\n" not in str(caught.value) and "Request ID" not in str(caught.value)
    with pytest.raises(StoreError, match="there is no such bucket"):
        ResultStore("s3://nobody-made-it/x")
    with pytest.raises(NoStoreError, match="there is no result store"):
        ResultStore(f"s3://{bucket}/nothing-here")


def test_wrong_credentials_are_one_line(bucket, monkeypatch):
    monkeypatch.setattr(moto_settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(StoreError, match=r"access denied .*check AWS_ACCESS_KEY_ID") as caught:
        ResultStore(f"s3://{bucket}/x", create=True)
    assert not isinstance(caught.value, StorageOutage) and "\n" not in str(caught.value)
    with pytest.raises(StoreError, match=r"access denied .*Access Key Id you provided does not exist"):
        Location(f"s3://{bucket}/x").write("a", b"")


# --- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "passes", "reason"),
    [
        (OSError(116, "Stale file handle", "/nfs/x"), True, "Stale file handle"),
        (OSError(5, "Input/output error"), True, "Input/output error"),
        (OSError(28, "No space left on device"), False, "No space left on device"),
        (OSError(13, "Permission denied"), False, "Permission denied"),
        (FileNotFoundError(2, "No such file or directory"), False, "No such file"),
        (TimeoutError("timed out"), True, "timed out"),
        (
            OSError(
                "When uploading object with key 'x' in bucket 'b': AWS Error NETWORK_CONNECTION during PutObject "
                "operation: curlCode: 7, Could not connect to server; Details: Failed to connect to h:1 after 0 ms"
            ),
            True,
            "Failed to connect to h:1 after 0 ms",
        ),
        (
            OSError(
                "When listing objects under key 'x/' in bucket 'b': AWS Error NETWORK_CONNECTION during ListObjectsV2 "
                "operation: curlCode: 60, SSL peer certificate or SSH remote key was not OK"
            ),
            False,
            "curlCode: 60, SSL peer certificate",
        ),
        (
            OSError(
                "When getting information for key 'k' in bucket 'b': AWS Error UNKNOWN (HTTP status 503) during "
                "HeadObject operation: No response body."
            ),
            True,
            "HTTP status 503",
        ),
        (
            OSError(
                "When reading key 'SLOW_DOWN' in bucket 'timed out': AWS Error ACCESS_DENIED during GetObject "
                "operation: Access Denied (Request ID: abc)"
            ),
            False,
            "Access Denied",
        ),
    ],
)
def test_what_passes_by_itself_is_told_from_what_does_not(error, passes, reason):
    assert is_passing(error) is passes
    assert reason in short_reason(error) and "Request ID" not in short_reason(error)


def test_trying_again_ends_with_success_or_with_the_patience(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(outage.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(outage.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    failures = iter([OSError(116, "Stale file handle")] * 4)

    def fails_four_times() -> str:
        if error := next(failures, None):
            raise error
        return "there"

    assert persist(fails_four_times, "x", "read") == "there" and 2.0 < now[0] < 3.1  # 0.2 + 0.4 + 0.8 + 1.6, jittered

    def fails() -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    for patience in (0.0, 1.0, 60.0):
        now[0] = 0.0
        with pytest.raises(StorageOutage, match=r"^s3://b: cannot be read: the storage does not answer") as caught:
            persist(fails, "s3://b", "read", patience)
        assert patience - 5 <= now[0] <= patience and "Connection refused" in caught.value.reason


class Replies(BaseHTTPRequestHandler):
    """A server that answers every request in the same way, or, with status 0, never."""

    status, body, requests = 503, b"", 0

    def answer(self) -> None:
        type(self).requests += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>", StorageOutage, "Reduce"),
        (500, b"<Error><Code>InternalError</Code><Message>oops</Message></Error>", StorageOutage, "oops"),
        (502, b"<html>bad gateway</html>", StorageOutage, "HTTP status 502"),
        (429, b"", StorageOutage, "HTTP status 429"),
        (507, b"<Error><Code>XMinioStorageFull</Code><Message>m</Message></Error>", StoreError, "no space left there"),
        (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", StoreError, "access|permit"),
        (400, b"<Error><Code>ExpiredToken</Code><Message>old</Message></Error>", StoreError, "check AWS_ACCESS_KEY"),
    ],
)
def test_a_servers_refusal_is_told_from_its_weakness(bucket, monkeypatch, status, body, kind, text):
    monkeypatch.setattr(Replies, "status", status)
    monkeypatch.setattr(Replies, "body", body)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Replies)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{http.server_port}")
    try:
        with pytest.raises(StoreError, match=text) as caught:
            Location("s3://b/x", patience_seconds=0.0).write("a", b"1")
        assert type(caught.value) is kind and "\n" not in str(caught.value)
    finally:
        http.shutdown()
        http.server_close()


def test_a_server_that_hangs_is_given_up(bucket, monkeypatch):
    monkeypatch.setattr(filesystems, "SILENCE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StorageOutage, match="does not answer"):
            Location("s3://b/x", patience_seconds=0.0).exists("a")


def test_a_large_file_that_breaks_off_leaves_the_old_one(server, bucket, monkeypatch):
    location = Location(f"s3://{bucket}/x", patience_seconds=0.0)
    location.write("large", b"old")
    from moto.s3.responses import S3Response

    def breaks(self, *_: object, **__: object) -> tuple:
        return 503, {}, "<Error><Code>SlowDown</Code><Message>no</Message></Error>"

    with monkeypatch.context() as patch:
        patch.setattr(S3Response, "upload_part", breaks, raising=True)
        with pytest.raises(StorageOutage):
            location.write("large", b"n" * LARGE)
    assert location.read("large") == b"old"


@pytest.mark.slow
def test_an_outage_of_seconds_is_sat_out(server, bucket):
    store = ResultStore(f"s3://{bucket}/store", create=True)
    store.writer("s", SCOPE, "t0").epoch(epoch(1))
    server.stop()
    back = threading.Timer(1.5, server.start)
    back.start()
    try:
        assert store.epochs().epoch.tolist() == [1]  # waits, and takes nothing for torn
        assert store.problems() == []
    finally:
        back.join()
        server.start()


def test_reading_in_an_outage_ends_in_one_line_and_takes_nothing_for_torn(server, bucket):
    store = ResultStore(f"s3://{bucket}/store", create=True, patience_seconds=0.5)
    store.writer("s", SCOPE, "t0").epoch(epoch(1))
    with server.away():
        with pytest.raises(StorageOutage, match=r"does not answer .*Failed to connect"):
            store.epochs()
        with pytest.raises(StorageOutage):
            ResultStore(f"s3://{bucket}/store", patience_seconds=0.5)
    assert store.problems() == [] and store.epochs().epoch.tolist() == [1]


def test_a_stale_handle_on_a_shared_folder_is_tried_again(tmp_path, monkeypatch):
    location = Location(tmp_path / "store", patience_seconds=5.0)
    stale = iter([OSError(116, "Stale file handle")] * 2)
    fsync = os.fsync

    def sometimes(descriptor: int) -> None:
        if error := next(stale, None):
            raise error
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sometimes)
    location.write("a/b", b"1")
    assert location.read("a/b") == b"1" and location.files() == ["a/b"]
    assert isinstance(location._fs, fs.LocalFileSystem)


def test_amazons_region_of_a_bucket_is_asked_for_once(monkeypatch):
    asked = []
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(filesystems, "_regions", {})
    monkeypatch.setattr(filesystems.fs, "resolve_s3_region", lambda bucket: asked.append(bucket) or "eu-west-1")
    for uri in ("s3://one/a", "s3://one/b", "s3://two/a"):
        Location(uri)
    RunSettings(store="s3://one/a").checkpoints("s")
    assert asked == ["one", "two"]
