"""The files for `ray up`, held against Ray's own schema, its command line, and the clouds' own request formats."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import botocore.loaders
import click
import jsonschema
import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.files import documents, ray_command, ray_starts

FILES = ("ray-aws.yaml", "ray-gcp.yaml", "ray-onprem.yaml")
# fields of Compute Engine's instances.insert that the file uses
GCP_INSTANCE = {"machineType", "disks", "metadata", "scheduling", "serviceAccounts"}
GCP_SCHEDULING = {"preemptible", "onHostMaintenance"}


def problems(config: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration for `ray up`."""
    try:
        prepared = prepare_config(copy.deepcopy(config))
        validate_config(prepared)
    except jsonschema.ValidationError as error:
        return [error.message]
    except (ValueError, KeyError, click.ClickException) as error:
        return [f"{type(error).__name__}: {error}"]
    found = []
    for name, node in config.get("available_node_types", {}).items():
        check = {"aws": aws_problems, "gcp": gcp_problems}[config["provider"]["type"]]
        found += [f"{name}: {problem}" for problem in check(node["node_config"])]
    commands = prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
    starts = ray_starts(commands)
    found += [problem for _, problem in map(ray_command, starts) if problem]
    if [("--head" in start) for start in starts] != [True, False]:
        found.append("expected one `ray start --head` and one for workers")
    mode = "".join(config.get("docker", {}).get("run_options", [])) + "".join(commands)
    if "RAY_AUTH_MODE=token" not in mode or "~/.ray/auth_token" not in config.get("file_mounts", {}).values():
        found.append("no token authentication: RAY_AUTH_MODE=token and ~/.ray/auth_token")
    return found


def aws_problems(node_config: dict[str, Any]) -> list[str]:
    """Ray passes a node's configuration to EC2's RunInstances."""
    description = botocore.loaders.Loader().load_service_model("ec2", "service-2")
    shape = ServiceModel(description, "ec2").operation_model("RunInstances").input_shape
    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **node_config}, shape)
    return [report.generate_report()] if report.has_errors() else []


def gcp_problems(node_config: dict[str, Any]) -> list[str]:
    unknown = set(node_config) - GCP_INSTANCE | set(node_config.get("scheduling", {})) - GCP_SCHEDULING
    return [f"unknown: {', '.join(sorted(unknown))}"] if unknown else []


@pytest.fixture(params=FILES)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    (found,) = documents(request.param)
    return found


def test_ray_takes_it(config: dict[str, Any]) -> None:
    assert problems(config) == []


def test_it_is_complete_without_rays_defaults(config: dict[str, Any]) -> None:
    """Ray fills in what is missing, for instance a nightly build of itself."""
    prepared = prepare_config(copy.deepcopy(config))
    commands = prepared["setup_commands"] + prepared["head_setup_commands"] + prepared["worker_setup_commands"]
    assert not [command for command in commands if "wheels/latest" in command or "boto3>=" in command]
    assert prepared["cluster_name"] == "sefar"


@pytest.mark.parametrize("name", ["ray-aws.yaml", "ray-gcp.yaml"])
def test_clouds_have_a_head_on_which_no_trial_runs(name: str) -> None:
    (config,) = documents(name)
    nodes = config["available_node_types"]
    head = nodes.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}
    assert nodes["gpu"]["min_workers"] > 0  # a sweep counts the nodes that are there when it starts
    assert config["max_workers"] >= sum(node["max_workers"] for node in nodes.values())
    (start,) = [s for s in ray_starts(config["head_start_ray_commands"]) if "--head" in s]
    context, _ = ray_command(start)
    assert context is not None and context.params["num_cpus"] == 0
    assert context.params["dashboard_host"] == "127.0.0.1"  # reached through `ray dashboard` alone


@pytest.mark.parametrize(
    ("name", "path", "value", "complaint"),
    [
        ("ray-aws.yaml", ("max_wokers",), 3, r"'max_wokers' was unexpected"),
        ("ray-aws.yaml", ("provider",), {"region": "x"}, "KeyError: 'type'"),
        ("ray-aws.yaml", ("head_node_type",), "haed", "must be one of"),
        ("ray-aws.yaml", ("docker", "imag"), "x", r"'imag' was unexpected"),
        ("ray-aws.yaml", ("available_node_types", "gpu", "min_worker"), 1, r"'min_worker' was unexpected"),
        ("ray-aws.yaml", ("available_node_types", "gpu", "node_config", "InstanceTyp"), "x", r"InstanceTyp"),
        ("ray-aws.yaml", ("file_mounts",), {}, "no token authentication"),
        ("ray-gcp.yaml", ("available_node_types", "gpu", "node_config", "machinType"), "x", "unknown: machinType"),
        ("ray-gcp.yaml", ("head_start_ray_commands",), ["ray start --head --prt=1"], "No such option"),
        ("ray-gcp.yaml", ("worker_start_ray_commands",), ["ray stop"], "expected one"),
        ("ray-onprem.yaml", ("provider", "worker_ips"), "192.0.2.11", "is not of type 'array'"),
    ],
)
def test_what_is_wrong_is_found(name: str, path: tuple[str, ...], value: object, complaint: str) -> None:
    (config,) = documents(name)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert re.search(complaint, " ".join(problems(config)))


def test_the_copied_repository_leaves_the_environment_behind() -> None:
    (config,) = documents("ray-onprem.yaml")
    assert Path(config["file_mounts"]["~/sefar"]) == Path(".")
    assert {".venv/", "/data/", "/runs/"} <= set(config["rsync_exclude"])
