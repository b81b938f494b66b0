"""The sweep as a Ray job: a real head with token authentication, `ray job submit`, exit status and store."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from studies.results.store import ResultStore

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[1]
RAY = Path(sys.executable).with_name("ray")


@dataclass(frozen=True)
class Head:
    dashboard: str
    environment: dict[str, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head node with ports and a folder of its own; stopped by the process that was started, not by name."""
    port, dashboard = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # socket paths must be short
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_raylet_start_wait_time_s": "120",
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # a job's `python` is the cluster's
    }
    environment.pop("RAY_ADDRESS", None)
    command = [str(RAY), "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats", f"--port={port}"]
    command += [f"--dashboard-port={dashboard}", f"--temp-dir={folder}", f"--object-store-memory={200 * 2**20}"]
    for name in ("ray-client-server", "dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export"):
        command += [f"--{name}-port={free_port()}"]
    with open(f"{folder}/start.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{dashboard}"
    try:
        wait_for_dashboard(url, process, Path(folder, "start.log"))
        yield Head(url, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_dashboard(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(180):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{url}/api/version", timeout=2)
            return
        except urllib.error.HTTPError:
            return  # it answers, if only that it wants a token
        except OSError:
            time.sleep(1)
    raise AssertionError(f"no dashboard after three minutes:\n{log.read_text()}")


def submit(head: Head, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(RAY), "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--"]
    command += ["python", "studies/scope_sweep.py", "--preset", "quick", *flags]
    environment = head.environment | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def test_a_job_sweeps_and_leaves_its_store(head, tmp_path):
    flags = ["--root", str(ROOT / "data"), "--store", str(tmp_path / "store"), "--trials", "2"]
    done = submit(head, *flags)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "succeeded" in said and "store:" in said
    trials = ResultStore(str(tmp_path / "store")).trials()
    assert len(trials) == 4 and (trials.status == "finished").all()
    assert (tmp_path / "scope-sweep-quick.png").stat().st_size > 10_000


def test_a_job_that_cannot_run_fails_with_one_line(head, tmp_path):
    done = submit(head, "--store", str(tmp_path / "store"), "--recipe", "synthgym_tny")
    assert done.returncode != 0
    assert "error: recipe 'synthgym_tny' is unknown — did you mean 'synthgym_tiny'?" in done.stdout + done.stderr


def test_what_is_uploaded_is_small(tmp_path):
    """Ray reads .rayignore; without it the virtual environment and the clips would go along."""
    from ray._private.runtime_env.packaging import create_package

    create_package(str(ROOT), tmp_path / "package.zip", include_gitignore=True)
    assert (tmp_path / "package.zip").stat().st_size < 8 * 2**20


def test_without_the_token_the_client_is_refused(head, tmp_path):
    done = submit(head, "--store", str(tmp_path / "store"), RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="")
    assert done.returncode != 0 and re.search("auth|token", done.stdout + done.stderr, re.IGNORECASE)
