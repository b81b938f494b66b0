"""Single pictures with pose targets, for pretraining a backbone without touching the benchmark.

Performers come from another random stream than the benchmark's, and poses are drawn joint by joint around a
random mix of shapes, with any rotation and twist, instead of from the elements' trajectories.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from sefar.data.synthgym.choreography import CROUCH, SHAPE_POSES, STAND
from sefar.data.synthgym.conditions import generator
from sefar.data.synthgym.elements import EVENTS
from sefar.data.synthgym.figure import Performer, draw_figure, make_performer
from sefar.data.synthgym.render import Frames
from sefar.data.synthgym.scene import (
    APPARATUS_POINTS,
    SUPERSAMPLING,
    Camera,
    Hall,
    draw_apparatus,
    hall_view,
    paint_hall,
)
from sefar.data.synthgym.skeleton import COLUMN, POINT, POSE_COLUMNS, Array, relative_points

_TARGET_POINTS = (
    "pelvis", "neck", "head", "knee_left", "knee_right", "foot_left", "foot_right", "elbow_left",
    "elbow_right", "hand_left", "hand_right",
)  # fmt: skip
_ANGLES = POSE_COLUMNS[2:]

PRETRAIN_TARGETS: tuple[str, ...] = (
    "rotation_sin", "rotation_cos", "twist_sin", "twist_cos", "facing",
    *(f"{name}_angle" for name in _ANGLES),
    *(f"{name}_{axis}" for name in _TARGET_POINTS for axis in "xy"),
)  # fmt: skip
"""Names of the pose targets. All are read off the picture as it is, mirrored or not: `rotation` is the
trunk's angle in the picture (0 upright, positive clockwise); `twist_cos` is how much the chest points
clockwise of the trunk, `twist_sin` how much towards the viewer; `facing` is how much the chest points right;
angles are in units of pi; points are in [-1, 1], x to the right and y down."""

_POOL = 24
"""Performers, and halls, of one call: enough for variety, few enough that drawing them costs little."""


def _random_poses(rng: np.random.Generator, n: int) -> Array:
    """Poses (n, P): two shapes mixed, every limb disturbed, the two sides partly independent."""
    shapes = np.zeros((len(SHAPE_POSES) + 3, len(POSE_COLUMNS)))
    for row, pose in zip(shapes, [*SHAPE_POSES.values(), STAND, CROUCH, {}], strict=True):
        for name, value in pose.items():
            row[COLUMN[name]] = value
    first, second = rng.integers(len(shapes), size=(2, n))
    share = rng.beta(0.4, 0.4, size=(n, 1))
    pose = shapes[first] * share + shapes[second] * (1 - share)
    pose[:, 2:] += rng.normal(0.0, 0.25, size=(n, len(POSE_COLUMNS) - 2))
    pose[:, 4:6] = np.clip(pose[:, 4:6], 0.0, 2.7)
    pose[:, 8:10] = np.clip(pose[:, 8:10], 0.0, 2.5)
    swap = rng.random(n) < 0.5
    pose[swap, 2:10] = pose[swap][:, [3, 2, 5, 4, 7, 6, 9, 8]]
    pose[:, 0:2] = rng.uniform(-np.pi, np.pi, size=(n, 2))
    return pose


def _targets(pose_nP: Array, picture_nJ3: Array, side: int) -> NDArray[np.float32]:
    """Targets (n, P) of unmirrored pictures, in the order of `PRETRAIN_TARGETS`."""
    trunk = picture_nJ3[:, POINT["neck"], :2] - picture_nJ3[:, POINT["pelvis"], :2]
    rotation = np.arctan2(trunk[:, 0], -trunk[:, 1])
    twist, body = pose_nP[:, COLUMN["twist"]], pose_nP[:, COLUMN["rotation"]]
    # The chest points along cos(twist) of the clockwise normal of the trunk, and -sin(twist) towards the
    # viewer.
    turned = np.stack(
        [np.sin(rotation), np.cos(rotation), -np.sin(twist), np.cos(twist), np.cos(twist) * np.cos(body)], axis=1
    )
    chosen = [POINT[name] for name in _TARGET_POINTS]
    points = (picture_nJ3[:, chosen, :2] / side * 2 - 1).reshape(len(pose_nP), -1)
    return np.concatenate([turned, pose_nP[:, 2:] / np.pi, points], axis=1).astype(np.float32)


def _mirrored(targets_nP: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same targets for the mirrored picture."""
    sign = np.ones(len(PRETRAIN_TARGETS), dtype=np.float32)
    for index, name in enumerate(PRETRAIN_TARGETS):
        if name in ("rotation_sin", "twist_cos", "facing") or name.endswith("_x"):
            sign[index] = -1.0
    return targets_nP * sign


def _project(rng: np.random.Generator, points_nJ3: Array, side: int) -> tuple[Array, Camera]:
    """Random cameras around the bodies, and the bodies in their pictures."""
    n = len(points_nJ3)
    extent = (points_nJ3[..., :2].min(axis=1) + points_nJ3[..., :2].max(axis=1)) / 2
    camera = Camera(
        centre_T2=extent, scale_T=rng.uniform(0.5, 0.78, n) * side, shift_T2=rng.normal(0, 0.05, (n, 2)) *
        side, yaw=float(rng.uniform(-0.1, 0.5)), pitch=float(rng.uniform(0.0, 0.25)), side=side,
    )  # fmt: skip
    return camera.project(points_nJ3), camera


def pretrain_frames(n: int, *, size: int, seed: int) -> tuple[Frames, NDArray[np.float32]]:
    """Draws pictures of random poses by performers who never appear in the benchmark.

    Args:
        n: Number of pictures.
        size: Picture side in pixels.
        seed: Root of the randomness; the same seed gives the same pictures.

    Returns:
        Pictures (n, size, size, 3), RGB, and targets (n, P) as in `PRETRAIN_TARGETS`.
    """
    rng, side = generator(seed, f"pretrain/{n}"), size * SUPERSAMPLING
    performers = [make_performer(seed, f"pretrain-{index}", palette=1.0) for index in range(_POOL)]
    halls = [paint_hall(rng, size=size, clutter=int(rng.integers(0, 10))) for _ in range(_POOL)]
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    targets = np.empty((n, len(PRETRAIN_TARGETS)), dtype=np.float32)
    # Pictures are made in groups that share performer and camera angles, so that kinematics runs on arrays.
    for group in np.array_split(np.arange(n), max(1, min(n, 2 * _POOL, n // 8))):
        performer = performers[int(rng.integers(_POOL))]
        pose = _random_poses(rng, len(group))
        points = relative_points(pose, performer.proportions)
        body, camera = _project(rng, points, side)
        targets[group] = _targets(pose, body, side)
        for row, index in enumerate(group):
            hall = halls[int(rng.integers(_POOL))]
            pictures[index] = _picture(rng, body[row], camera, row, performer, hall)
    mirror = rng.random(n) < 0.5
    pictures[mirror] = pictures[mirror][:, :, ::-1]
    targets[mirror] = _mirrored(targets[mirror])
    return _disturb(rng, pictures), targets


def _picture(
    rng: np.random.Generator, body_J3: Array, camera: Camera, row: int, performer: Performer, hall: Hall
) -> Frames:
    """One picture, with some event's apparatus at a random place."""
    side, scale = camera.side, float(camera.scale_T[row])
    picture = hall_view(hall, float(rng.uniform(-1, 2)) * side, float(rng.uniform(0.4, 1.3)) * side, side)
    draw = ImageDraw.Draw(picture)
    event = EVENTS[int(rng.integers(len(EVENTS)))]
    apparatus = APPARATUS_POINTS[event] + [rng.uniform(-0.8, 0.8), rng.uniform(-1.0, 0.1), 0.0]
    single = Camera(
        centre_T2=np.zeros((1, 2)), scale_T=np.array([scale]), shift_T2=np.zeros((1, 2)), yaw=camera.yaw,
        pitch=camera.pitch, side=side,
    )  # fmt: skip
    draw_apparatus(draw, event, single.project(apparatus[None])[0], hall, scale)
    draw_figure(draw, body_J3, performer, scale)
    return np.asarray(picture.reduce(SUPERSAMPLING))


def _disturb(rng: np.random.Generator, pictures: Frames) -> Frames:
    """Brightness and noise per picture."""
    size = pictures.shape[1]
    field = rng.standard_normal((size + 32, size + 32, 3), dtype=np.float32)
    for picture in pictures:
        row, column = rng.integers(0, 32, size=2)
        noise = field[row : row + size, column : column + size] * np.float32(rng.uniform(0.0, 10.0))
        picture[:] = np.clip(picture * np.float32(rng.uniform(0.7, 1.2)) + noise, 0, 255)
    return pictures
