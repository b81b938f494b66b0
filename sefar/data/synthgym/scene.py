"""Camera, hall and apparatus.

The hall is painted once a clip on a canvas wider than the picture and shifted with the camera; apparatus
moves with the performer's world and is drawn anew in every frame. All is drawn at `SUPERSAMPLING` times the
picture's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sefar.data.synthgym.choreography import BAR_HEIGHT, BEAM_FLOOR, TABLE_HEIGHT
from sefar.data.synthgym.figure import Colour, colour, shade
from sefar.data.synthgym.skeleton import Array

SUPERSAMPLING = 2
CANVAS = 2.4
"""Side of the hall's canvas in picture sides: room for the camera to follow the performer."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Orthographic camera of one clip.

    Attributes:
        centre_T2: World point in the picture's middle, body heights.
        scale_T: Pixels per body height.
        shift_T2: Displacement in the picture, pixels, x to the right and y down.
        yaw, pitch: Angles in radians.
        side: Picture side in pixels (supersampled).
    """

    centre_T2: Array
    scale_T: Array
    shift_T2: Array
    yaw: float
    pitch: float
    side: int

    def project(self, points_TN3: Array) -> Array:
        """World points (T, N, 3) to picture x, picture y (pixels, downwards) and nearness, (T, N, 3)."""
        x = points_TN3[..., 0] - self.centre_T2[:, None, 0]
        y = points_TN3[..., 1] - self.centre_T2[:, None, 1]
        z = points_TN3[..., 2]
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        near = z * np.cos(self.yaw) - x * np.sin(self.yaw)
        upward = y * np.cos(self.pitch) - near * np.sin(self.pitch)
        near = near * np.cos(self.pitch) + y * np.sin(self.pitch)
        scale = self.scale_T[:, None]
        middle = self.side / 2
        return np.stack(
            [
                middle + scale * across + self.shift_T2[:, None, 0],
                middle - scale * upward + self.shift_T2[:, None, 1],
                near,
            ],
            axis=-1,
        )


@dataclass(frozen=True, kw_only=True)
class Hall:
    """The painted background.

    Attributes:
        canvas: RGB canvas, supersampled, `CANVAS` picture sides wide and high, floor line at its middle.
        mat: Colour of mats and of the apparatus' padding.
        metal: Colour of bars and legs.
    """

    canvas: Image.Image
    mat: Colour
    metal: Colour


def paint_hall(rng: np.random.Generator, *, size: int, clutter: int) -> Hall:
    """Paints wall, floor and `clutter` objects (banners, seats, people) for pictures of `size` pixels."""
    side = int(size * CANVAS)
    horizon = side // 2
    wall = colour(rng.random(), rng.uniform(0.03, 0.35), rng.uniform(0.25, 0.75))
    floor = colour(rng.random(), rng.uniform(0.1, 0.55), rng.uniform(0.35, 0.8))
    image = Image.new("RGB", (side, side), wall)
    draw = ImageDraw.Draw(image)
    for row in range(int(rng.integers(1, 4))):
        y = horizon * rng.uniform(0.1, 0.95)
        draw.rectangle(
            (0, y, side, y + size * rng.uniform(0.05, 0.3)), fill=shade(wall, rng.uniform(0.7, 1.3 - 0.05 * row))
        )
    for _ in range(clutter):
        x, y = rng.uniform(0, side), rng.uniform(0.3, 1.0) * horizon
        w, h = rng.uniform(0.04, 0.35) * size, rng.uniform(0.04, 0.22) * size
        fill = colour(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.25, 0.85))
        box = (x, y - h, x + w, y)
        if rng.random() < 0.5:
            draw.rectangle(box, fill=fill)
        else:
            draw.ellipse(box, fill=fill)
    draw.rectangle((0, horizon, side, side), fill=floor)
    for _ in range(int(rng.integers(1, 4))):
        y = horizon + rng.uniform(0.0, 0.6) * horizon
        draw.rectangle((0, y, side, y + size * rng.uniform(0.01, 0.08)), fill=shade(floor, rng.uniform(0.8, 1.25)))
    full = side * SUPERSAMPLING
    return Hall(
        canvas=image.resize((full, full), Image.Resampling.BILINEAR),
        mat=colour(rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.9)),
        metal=colour(0.1, rng.uniform(0.0, 0.3), rng.uniform(0.55, 0.95)),
    )


def hall_view(hall: Hall, floor_x: float, floor_y: float, side: int) -> Image.Image:
    """Cuts out the picture whose floor line is at height `floor_y` and moves with `floor_x` (pixels)."""
    room = hall.canvas.width - side
    # Half speed across: the wall is far behind the performer.
    x = int(np.clip(room / 2 - (floor_x - side / 2) * 0.5, 0, room))
    y = int(np.clip(hall.canvas.height / 2 - floor_y, 0, room))
    return hall.canvas.crop((x, y, x + side, y + side))


def _box(x0: float, x1: float, y0: float, y1: float, z0: float, z1: float) -> list[tuple[float, float, float]]:
    return [(x, y, z) for x in (x0, x1) for y in (y0, y1) for z in (z0, z1)]


# Faces of `_box` seen by a camera above and in front: top, front.
_TOP, _FRONT = (2, 3, 7, 6), (1, 3, 7, 5)

_APPARATUS: dict[str, list[tuple[float, float, float]]] = {
    "FX": _box(-3.0, 3.0, -0.08, 0.0, -0.6, 0.6),
    "BB": [
        *_box(-1.6, 1.6, -0.09, 0.0, -0.05, 0.05),
        *[(x, y, 0.0) for x in (-1.1, 1.1) for y in (-0.05, BEAM_FLOOR)],
    ],
    "VT": [
        *_box(-0.2, 0.24, TABLE_HEIGHT - 0.16, TABLE_HEIGHT, -0.22, 0.22),
        *[(0.02, y, 0.0) for y in (TABLE_HEIGHT - 0.1, 0.0)],
    ],
    "UB": [(0, y, z) for z in (-0.75, 0.75) for y in (0.0, BAR_HEIGHT)],
}

APPARATUS_POINTS: dict[str, Array] = {event: np.array(points, dtype=float) for event, points in _APPARATUS.items()}
"""World points from which `draw_apparatus` draws, per event."""

FLOOR_HEIGHT: dict[str, float] = {"FX": 0.0, "VT": 0.0, "UB": 0.0, "BB": BEAM_FLOOR}


def draw_apparatus(draw: ImageDraw.ImageDraw, event: str, points_N3: Array, hall: Hall, scale: float) -> None:
    """Draws an event's apparatus from its projected points; `scale` is in pixels per body height."""
    p = [(float(x), float(y)) for x, y in points_N3[:, :2]]
    if event == "UB":
        for a, b, width, fill in ((0, 1, 0.04, hall.mat), (2, 3, 0.04, hall.mat), (1, 3, 0.035, hall.metal)):
            draw.line((p[a], p[b]), fill=fill, width=max(1, round(width * scale)))
        return
    width = max(1, round((0.16 if event == "VT" else 0.06) * scale))
    for a in range(8, len(p), 2):
        draw.line((p[a], p[a + 1]), fill=hall.metal, width=width)
    draw.polygon([p[i] for i in _FRONT], fill=shade(hall.mat, 0.7))
    draw.polygon([p[i] for i in _TOP], fill=hall.mat)
