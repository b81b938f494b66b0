"""From an element, a performer and conditions to the pictures of one clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sefar.data.synthgym.conditions import Conditions
from sefar.data.synthgym.elements import Element
from sefar.data.synthgym.figure import Performer, draw_figure
from sefar.data.synthgym.motion import place, pose_trajectory
from sefar.data.synthgym.scene import (
    APPARATUS_POINTS,
    FLOOR_HEIGHT,
    SUPERSAMPLING,
    Camera,
    draw_apparatus,
    hall_view,
    paint_hall,
)
from sefar.data.synthgym.skeleton import Array

Frames = NDArray[np.uint8]

_LARGEST_LAG = 0.1
"""Body heights by which the camera may trail: vaults and dismounts travel far and would leave the picture."""


def clip_pose(element: Element, performer: Performer, conditions: Conditions, *, style: float = 0.0) -> Array:
    """Poses (T, P) of a clip, disturbances included; `style` scales the performer's habits (radians)."""
    pose_TP = pose_trajectory(element, conditions.times()) + conditions.pose_noise()
    habits = style * np.asarray(performer.habits)
    habits[:2] = 0.0
    return pose_TP + habits


def clip_points(element: Element, performer: Performer, conditions: Conditions, *, style: float = 0.0) -> Array:
    """World points (T, J, 3) of a clip, in body heights, before pictures of performers facing left are mirrored."""
    pose_TP = clip_pose(element, performer, conditions, style=style)
    points_TJ3 = place(element, conditions.times(), pose_TP, performer.proportions)
    points_TJ3[..., 2] *= conditions.handed
    return points_TJ3


def film(points_TJ3: Array, conditions: Conditions, side: int) -> Camera:
    """The camera of a clip: follows the middle of the body's extent, with the clip's drift and zoom."""
    extent = (points_TJ3[..., :2].min(axis=1) + points_TJ3[..., :2].max(axis=1)) / 2
    # A camera follows a moving average: padding repeats the ends so that it starts at rest.
    padded = np.pad(extent, ((1, 1), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, axis], np.full(3, 1 / 3), mode="valid") for axis in (0, 1)], axis=-1)
    lag = (smooth - smooth.mean(axis=0)) * (1 - conditions.follow)
    centre = smooth - np.clip(lag, -_LARGEST_LAG, _LARGEST_LAG)
    share = np.linspace(-0.5, 0.5, len(points_TJ3))[:, None]
    shift = (np.asarray(conditions.offset) + np.asarray(conditions.drift) * share * 2) * side
    scale = conditions.height * side * conditions.zoom_change ** share[:, 0]
    return Camera(
        centre_T2=centre, scale_T=scale, shift_T2=shift, yaw=conditions.yaw, pitch=conditions.pitch, side=side
    )


def _noise_bank(rng: np.random.Generator, size: int, sigma: float) -> NDArray[np.int16]:
    """One noise field, larger than the picture: cutting from it is far cheaper than new noise."""
    field = rng.standard_normal((size + 32, size + 32, 3), dtype=np.float32) * sigma
    return np.rint(field).astype(np.int16)


def _finish(frames: list[Image.Image], conditions: Conditions, rng: np.random.Generator, size: int) -> Frames:
    """Brightness, picture noise and mirroring."""
    clip = np.stack([np.asarray(frame) for frame in frames])
    if conditions.light != 1.0 or conditions.pixel_noise > 0:
        table = np.clip(np.arange(256) * conditions.light, 0, 255).astype(np.int16)
        bank = _noise_bank(rng, size, conditions.pixel_noise)
        corners = rng.integers(0, 32, size=(len(clip), 2))
        for frame, (row, column) in zip(clip, corners, strict=True):
            noisy = table[frame] + bank[row : row + size, column : column + size]
            np.clip(noisy, 0, 255, out=noisy)
            frame[:] = noisy
    return np.ascontiguousarray(clip[:, :, ::-1] if conditions.facing < 0 else clip)


def render_frames(
    element: Element, performer: Performer, conditions: Conditions, *, size: int, style: float = 0.0
) -> Frames:
    """Renders one clip.

    Args:
        element: What is performed.
        performer: By whom.
        conditions: Camera, tempo, noise; fully determines the pictures.
        size: Picture side in pixels.
        style: Scale of the performer's habits, radians.

    Returns:
        Pictures (T, size, size, 3), RGB.
    """
    rng = np.random.Generator(np.random.Philox(conditions.background_seed))
    side = size * SUPERSAMPLING
    points_TJ3 = clip_points(element, performer, conditions, style=style)
    camera = film(points_TJ3, conditions, side)
    hall = paint_hall(rng, size=size, clutter=conditions.clutter)
    body = camera.project(points_TJ3)
    apparatus = APPARATUS_POINTS[element.event]
    apparatus_TN3 = camera.project(np.broadcast_to(apparatus, (conditions.frames, *apparatus.shape)))
    floor = np.array([[0.0, FLOOR_HEIGHT[element.event] + 0.12, 0.0]])
    floor_T13 = camera.project(np.broadcast_to(floor, (conditions.frames, 1, 3)))
    frames = []
    for index in range(conditions.frames):
        picture = hall_view(hall, floor_T13[index, 0, 0], floor_T13[index, 0, 1], side)
        draw = ImageDraw.Draw(picture)
        scale = float(camera.scale_T[index])
        draw_apparatus(draw, element.event, apparatus_TN3[index], hall, scale)
        draw_figure(draw, body[index], performer, scale)
        frames.append(picture.reduce(SUPERSAMPLING))
    return _finish(frames, conditions, rng, size)
