"""Whether all machines of a cluster see the same folder."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PROBE_SECONDS = 120.0


def worker_nodes() -> list[str]:
    """Ids of the connected cluster's nodes that have CPUs."""
    return [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]


def blind_host(folder: Path, nodes: Sequence[str]) -> str | None:
    """The name of a host that does not see what is written to the folder here; None where all that answer do.

    Raises:
        OSError: it cannot be written here.
    """
    probe = folder / f".probe-{uuid.uuid4().hex}"
    probe.touch()
    try:
        look = ray.remote(num_cpus=0, max_retries=0)(_sees)
        asked = [
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(str(probe))
            for node in nodes
        ]
        answered, _ = ray.wait(asked, num_returns=len(asked), timeout=PROBE_SECONDS)
        return next((host for host, seen in map(_answer, answered) if not seen), None)
    finally:
        probe.unlink(missing_ok=True)


def _answer(look: ray.ObjectRef) -> tuple[str, bool]:
    try:
        return ray.get(look)
    except RayError:  # the node has just gone
        return "", True


def _sees(path: str) -> tuple[str, bool]:
    return platform.node(), os.path.exists(path)
