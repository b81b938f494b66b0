"""The files for KubeRay, held against facts of its custom resource definitions and Ray's command line."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from studies.engine.options import sweep_parser
from tests.cluster.files import documents, pins, ray_command

FILES = ("kuberay-claim.yaml", "kuberay-raycluster.yaml", "kuberay-rayjob.yaml")
SCHEMA = json.loads(Path(__file__).with_name("kuberay_schema.json").read_text())


def cluster_spec(document: dict[str, Any]) -> dict[str, Any] | None:
    return {"RayCluster": document["spec"], "RayJob": document["spec"].get("rayClusterSpec")}.get(document["kind"])


def problems(found: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the documents of a file."""
    said = []
    for document in found:
        errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)
        said += [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    if said:
        return said
    for spec in filter(None, map(cluster_spec, found)):
        said += [] if spec.get("rayVersion") == pins()["ray"] else [f"rayVersion: expected {pins()['ray']}"]
        if spec.get("authOptions", {}).get("mode") != "token" or "secretName" not in spec["authOptions"]:
            said.append("authOptions: expected mode token and the name of the Secret")
        for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            said += group_problems(group, head=group is spec["headGroupSpec"])
    return said


def group_problems(group: dict[str, Any], *, head: bool) -> list[str]:
    """What the schema cannot see of a group of pods."""
    where = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
    _, problem = ray_command(["start", *(["--head"] if head else ["--address=10.0.0.1:6379"]), *where])
    said = [problem] if problem else []
    pod = group["template"]["spec"]
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        missing = {mount["name"] for mount in container["volumeMounts"]} - volumes
        said += [f"{container['name']}: no volume {', '.join(sorted(missing))}"] if missing else []
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        if requests != limits:  # Ray counts limits, Kubernetes schedules requests
            said.append(f"{container['name']}: requests and limits differ")
    if not head and not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
        said.append(f"{group['groupName']}: replicas out of bounds")
    return said


@pytest.mark.parametrize("name", FILES)
def test_kuberay_takes_it(name: str) -> None:
    found = documents(name)
    assert problems(found) == []
    kinds = dict(zip(FILES, ("PersistentVolumeClaim", "RayCluster", "RayJob"), strict=True))
    assert [document["kind"] for document in found] == [kinds[name]]


@pytest.mark.parametrize("name", FILES[1:])
def test_no_trial_runs_on_the_head(name: str) -> None:
    spec = cluster_spec(documents(name)[-1])
    assert spec is not None and spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_both_files_share_claim_secret_and_image() -> None:
    (claim,), (cluster,), (job,) = map(documents, FILES)
    claims, images, secrets = set(), set(), set()
    for spec in map(cluster_spec, (cluster, job)):
        assert spec is not None
        secrets.add(spec["authOptions"]["secretName"])
        for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            pod = group["template"]["spec"]
            images |= {container["image"] for container in pod["containers"]}
            claims |= {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {claim["metadata"]["name"]} and len(images) == 1 and secrets == {"sefar-ray-token"}


def test_the_jobs_entrypoint_is_a_command_of_ours() -> None:
    (job,) = documents("kuberay-rayjob.yaml")
    python, script, *flags = shlex.split(job["spec"]["entrypoint"])
    assert python == "python" and script == "/home/ray/sefar/studies/scope_sweep.py"
    parsed = sweep_parser("").parse_args(flags)
    assert parsed.address == "auto"
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    mounts = [m["mountPath"] for m in group["template"]["spec"]["containers"][0]["volumeMounts"]]
    assert parsed.store.startswith(mounts[0]) and parsed.root.startswith(mounts[0])
    assert parsed.set == [f"loader.frame_store_folder={mounts[1]}"]
    (container,) = group["template"]["spec"]["containers"]
    assert parsed.gpus_per_worker == float(container["resources"]["limits"]["nvidia.com/gpu"])
    assert group["minReplicas"] == group["replicas"]  # the sweep counts the nodes that are there when it starts


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("apiVersion",), "ray.io/v1alpha1", "apiVersion: 'ray.io/v1alpha1' is not one of"),
        (("apiVersion",), "v1", "apiVersion: 'ray.io/v1' was expected"),
        (("kind",), "Raycluster", "kind"),
        (("spec", "rayVersion"), "2.59.0", "rayVersion: expected"),
        (("spec", "workerGroupSpec"), [], "'workerGroupSpec' was unexpected"),
        (("spec", "authOptions"), {"mode": "tokn"}, "'tokn' is not one of"),
        (("spec", "authOptions"), {"mode": "disabled"}, "authOptions: expected"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0, "0 is not of type 'string'"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpu"), "0", "No such option"),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), 0, "replicas out of bounds"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "volume"), [], "'volume' was unexpected"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "volumes"), [], "no volume frames, shared"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "image"), "sefar", "does not match"),
    ],
)
def test_what_is_wrong_is_found(path: tuple[Any, ...], value: object, complaint: str) -> None:
    document = copy.deepcopy(documents("kuberay-raycluster.yaml")[-1])
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert re.search(complaint, " ".join(problems([document])))
