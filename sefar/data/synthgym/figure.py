"""Performers and how they are drawn.

A performer has a build, colours and small habits of posture; performers are the groups that a split may not
share. Parts are drawn from far to near as capsules. Left limbs are darker than right ones, the leotard's
front differs from its back, and face, hair and ponytail show where the head looks, so that twist and facing
can be seen.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from sefar.data.synthgym.conditions import generator
from sefar.data.synthgym.skeleton import POINT, POSE_COLUMNS, Array, Proportions

Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Performer:
    """Build, colours (8-bit RGB) and posture offsets `habits` (P,) in standard deviations."""

    name: str
    proportions: Proportions
    skin: Colour
    hair: Colour
    leotard: Colour
    front: Colour
    habits: tuple[float, ...]


def colour(hue: float, saturation: float, value: float) -> Colour:
    """8-bit RGB of a colour given by hue, saturation and value in [0, 1]."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(r * 255), int(g * 255), int(b * 255)


def shade(base: Colour, factor: float) -> Colour:
    """A darker (factor < 1) or lighter colour."""
    r, g, b = (min(255, int(channel * factor)) for channel in base)
    return r, g, b


def make_performer(seed: int, name: str, *, palette: float) -> Performer:
    """Draws a performer from a seed and a name. `palette` in [0, 1] widens the range of colours."""
    rng = generator(seed, f"performer/{name}")
    factors = np.clip(rng.normal(1.0, [0.05, 0.06, 0.07, 0.06, 0.06, 0.06, 0.06, 0.12, 0.15, 0.1]), 0.75, 1.3)
    tone = rng.uniform(0.62, 0.98)
    hue = rng.uniform(0.0, 1.0)
    return Performer(
        name=name,
        proportions=Proportions().scaled(factors),
        skin=colour(rng.uniform(0.04, 0.09), rng.uniform(0.25, 0.5), tone),
        hair=colour(rng.uniform(0.03, 0.13), rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.35 + 0.4 * palette)),
        leotard=colour(hue, rng.uniform(0.6, 1.0), rng.uniform(0.35, 0.8)),
        front=colour(hue + rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.4 + 0.5 * palette), rng.uniform(0.85, 1.0)),
        habits=tuple(rng.normal(size=len(POSE_COLUMNS)).tolist()),
    )


_LIMBS: tuple[tuple[str, str, float], ...] = (
    ("hip", "knee", 0.098), ("knee", "foot", 0.076), ("shoulder", "elbow", 0.066), ("elbow", "hand", 0.056),
)  # fmt: skip
"""Limb segments by their end points and width in body heights."""


def _capsule(draw: ImageDraw.ImageDraw, a: Array, b: Array, width: float, fill: Colour) -> None:
    """A thick line with round ends; PIL's own thick lines have ragged, flat ends."""
    r = width / 2
    along = b - a
    length = float(np.hypot(along[0], along[1]))
    ax, ay, bx, by = float(a[0]), float(a[1]), float(b[0]), float(b[1])
    if length > 0.5:
        nx, ny = -float(along[1]) / length * r, float(along[0]) / length * r
        draw.polygon([(ax + nx, ay + ny), (bx + nx, by + ny), (bx - nx, by - ny), (ax - nx, ay - ny)], fill=fill)
    draw.ellipse((ax - r, ay - r, ax + r, ay + r), fill=fill)
    draw.ellipse((bx - r, by - r, bx + r, by + r), fill=fill)


def draw_figure(draw: ImageDraw.ImageDraw, points_J3: Array, performer: Performer, scale: float) -> None:
    """Draws one pose.

    Args:
        draw: Target.
        points_J3: Picture x, picture y (pixels, downwards) and nearness of each of `POINTS`.
        performer: Whom to draw.
        scale: Pixels per body height.
    """
    wide = performer.proportions.limb_width * scale
    radius = performer.proportions.head_radius * scale
    xy, depth = points_J3[:, :2], points_J3[:, 2]

    def capsule(a: str, b: str, width: float, fill: Colour) -> None:
        _capsule(draw, xy[POINT[a]], xy[POINT[b]], width, fill)

    def dot(name: str, r: float, fill: Colour) -> None:
        x, y = float(xy[POINT[name], 0]), float(xy[POINT[name], 1])
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def torso() -> None:
        # Whichever side of the trunk faces the viewer is painted last.
        corners = [(float(xy[POINT[n], 0]), float(xy[POINT[n], 1])) for n in _TRUNK]
        front_near = depth[POINT["chest_front"]] > depth[POINT["neck"]]
        if not front_near:
            capsule("chest_front", "belly_front", 0.085 * wide, performer.front)
        draw.polygon(corners, fill=performer.leotard)
        capsule("neck", "pelvis", 0.135 * wide, performer.leotard)
        capsule("hip_left", "hip_right", 0.115 * wide, performer.leotard)
        if front_near:
            capsule("chest_front", "belly_front", 0.085 * wide, performer.front)

    def head() -> None:
        capsule("neck", "head", 0.06 * wide, performer.skin)
        hair_near = depth[POINT["hair"]] > depth[POINT["head"]]
        layers = [("head", 0.95 * radius, performer.skin), ("hair", 0.95 * radius, performer.hair)]
        for name, r, fill in layers if hair_near else layers[::-1]:
            dot(name, r, fill)
        capsule("hair", "ponytail", 0.055 * wide, performer.hair)

    parts = [(float(depth[POINT["neck"]] + depth[POINT["pelvis"]]) / 2, torso), (float(depth[POINT["head"]]), head)]
    for side, factor in (("left", 0.55), ("right", 1.06)):
        fill = shade(performer.skin, factor)
        for a, b, width in _LIMBS:
            first, second = f"{a}_{side}", f"{b}_{side}"
            nearness = float(depth[POINT[first]] + depth[POINT[second]]) / 2

            def limb(first: str = first, second: str = second, width: float = width, fill: Colour = fill) -> None:
                capsule(first, second, width * wide, fill)

            parts.append((nearness, limb))
    for _, paint in sorted(parts, key=lambda part: part[0]):
        paint()


_TRUNK = ("shoulder_left", "shoulder_right", "hip_right", "hip_left")
