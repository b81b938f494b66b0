"""Shell scripts: shellcheck for all, and the Slurm script run with stand-ins for Slurm and Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.scripts import symmetric_run

from studies.engine.options import sweep_parser
from tests.cluster.files import CLUSTER, ROOT, ray_command

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
LEFT_OUT = {".venv", ".git", "data", "runs", "build", "dist"}


def shell_scripts() -> list[Path]:
    """Files of the repository that a shell runs."""
    found = []
    for folder in sorted(f for f in ROOT.iterdir() if f.is_dir() and f.name not in LEFT_OUT):
        for file in sorted(f for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts):
            with file.open("rb") as stream:
                line = stream.readline(80)
            if file.suffix in (".sh", ".bash") or (line.startswith(b"#!") and b"sh" in line.split(b"/")[-1]):
                found.append(file)
    return found


def shellcheck(*files: Path, text: str = "") -> str:
    """What shellcheck says of files, or of commands for bash."""
    command = [str(SHELLCHECK), "--severity=style", "--shell=bash", *(map(str, files) if files else ["-"])]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_the_scripts_are_found() -> None:
    assert {ROOT / ".ci/run", CLUSTER / "slurm.sh"} <= set(shell_scripts())


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda f: str(f.relative_to(ROOT)))
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    assert shellcheck(script) == ""
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("name", ["ray-aws.yaml", "ray-gcp.yaml", "ray-onprem.yaml"])
def test_shellcheck_has_nothing_to_say_of_the_commands_in_yaml(name: str) -> None:
    config = yaml.safe_load((CLUSTER / name).read_text())
    commands = [command for key in sorted(config) if key.endswith("commands") for command in config[key]]
    assert commands and shellcheck(text="#!/bin/bash\nRAY_HEAD_IP=1\n" + quoted("\n".join(commands))) == ""


def quoted(commands: str) -> str:
    """Ray's own variables, quoted: they never hold spaces."""
    for name in ("$RAY_HEAD_IP", "$USER", "$HOME/sefar/.venv/bin:$PATH"):
        commands = commands.replace(name, f'"{name}"')
    return commands


def test_shellcheck_finds_what_is_wrong(tmp_path: Path) -> None:
    script = tmp_path / "broken.sh"
    script.write_text("#!/usr/bin/env bash\ncd $1\nrm -rf $2/*\n")
    assert "SC2164" in shellcheck(script) and "SC2086" in shellcheck(script)


STAND_INS = {
    "scontrol": 'echo node-1; echo node-2; echo "scontrol $*" >> "$LOG"',
    "hostname": 'echo "192.0.2.7 10.0.0.7 "',
    # its own flags end where the command begins
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """A job's environment, with stand-ins for the commands of Slurm and for Ray."""
    (tmp_path / "home/.ray").mkdir(parents=True)
    (tmp_path / "home/.ray/auth_token").write_text("a-token")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    ray = 'printf "%s\\n" "$@" > "$LOG"; echo "$RAY_AUTH_MODE $(cat "$RAY_AUTH_TOKEN_PATH")"'
    for name, body in {**STAND_INS, "ray": ray}.items():
        file = tmp_path / ".venv/bin" / name
        file.write_text(f"#!/usr/bin/env bash\n{body}\n")
        file.chmod(0o755)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "LOG": str(tmp_path / "log"),
        "RAY_ADDRESS": "of another cluster",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NODELIST": "node-[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_GPUS_ON_NODE": "4",
    }


def run_slurm(environment: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [str(CLUSTER / "slurm.sh"), *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_slurm_script_starts_ray_on_all_nodes(slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_slurm(slurm, "--store", "/scratch/my runs", "--trials", "4")
    assert (done.returncode, done.stdout, done.stderr) == (0, "token a-token\n", "")
    command, *arguments = Path(slurm["LOG"]).read_text().splitlines()
    assert command == "symmetric-run"
    at = arguments.index("--")
    context, problem = ray_command(["symmetric-run", *arguments[:at]])
    assert context is not None and problem == ""
    # 123456 mod 10000 = 3456
    assert context.params["address"] == "192.0.2.7:23456" and context.params["min_nodes"] == 2
    starts = symmetric_run.curate_and_validate_ray_start_args(arguments[:at])
    started, problem = ray_command(["start", "--head", "--port=1", *starts])
    assert started is not None and problem == ""
    assert (started.params["num_cpus"], started.params["num_gpus"]) == (16, 4)
    python, script, *flags = arguments[at + 1 :]
    assert python == "python" and (ROOT / script).is_file()
    sweep = sweep_parser("").parse_args(flags)
    assert (sweep.store, sweep.trials, sweep.address) == ("/scratch/my runs", 4, "auto")


def test_the_slurm_script_wants_a_token(slurm: dict[str, str]) -> None:
    Path(slurm["HOME"], ".ray/auth_token").unlink()
    done = run_slurm(slurm)
    assert done.returncode == 2
    token = f"{slurm['HOME']}/.ray/auth_token"
    assert done.stderr == f"error: {token}: no token; make one with 'ray get-auth-token --generate'\n"


def test_the_slurm_script_tells_ray_when_there_is_no_gpu(slurm: dict[str, str]) -> None:
    del slurm["SLURM_GPUS_ON_NODE"]
    assert run_slurm(slurm).returncode == 0
    assert "--num-gpus=0" in Path(slurm["LOG"]).read_text().splitlines()
