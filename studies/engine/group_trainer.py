"""A TorchTrainer whose workers live in the placement group that Tune has made for the trial.

Left to itself, Ray Train makes a placement group of its own. When the driver is killed nobody removes it but a watcher
that asks the dashboard, and where several clusters share a machine the watcher may ask the wrong one. Tune's group goes
with the trial however it ends, and no trial starts before its workers have a place.

This builds on internals of Ray 2.60, to which the project is pinned.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.util.placement_group import PlacementGroup, get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how late the end of the workers may be noticed
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "1800",  # for a bundle whose node was lost to find another
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}


def beside_driver() -> dict[str, Any]:
    """Options of an actor that takes no resources and lives where the trial's driver does."""
    strategy = PlacementGroupSchedulingStrategy(
        _trials_group(), placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    return {"num_cpus": 0, "scheduling_strategy": strategy}


def _trials_group() -> PlacementGroup:
    group = get_current_placement_group()
    assert group is not None, "not in an actor of a Tune trial"
    return group


class GroupTrainer(TorchTrainer):
    """Made in an actor whose placement group has a first bundle for itself and another for each worker.

    Attributes:
        controller: what runs the workers; they die with it.
    """

    controller: Any = None

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()  # type: ignore[misc]  # of the class that Train V2 puts in
        return [callback for callback in made if not isinstance(callback, PlacementGroupCleanerCallback)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        options = beside_driver() | {"runtime_env": {"env_vars": ENVIRONMENT}}
        self.controller = ray.remote(_Controller).options(**options).remote(**arguments)
        ray.get(self.controller.run.remote())
        return ray.get(self.controller.get_result.remote())

    def kill(self) -> None:
        """End the workers at once."""
        if self.controller is not None:
            ray.kill(self.controller)


class _WorkersInPlace(WorkerGroup):
    def _create_placement_group(self, *_: Any) -> DefaultPlacementGroupHandle:
        return _TunesPlacementGroup(_trials_group())

    def _create_workers(self, num_workers: int, *arguments: Any, **options: Any) -> list[Any]:
        options["placement_group_bundle_indices"] = list(range(1, num_workers + 1))
        return super()._create_workers(num_workers, *arguments, **options)


class _TunesPlacementGroup(DefaultPlacementGroupHandle):
    def shutdown(self) -> None:
        """Leave it to Tune, which has it removed or gives it to the next trial."""


class _Controller(TrainController):
    worker_group_cls = _WorkersInPlace
