"""Forward kinematics of the articulated figure.

World axes: x to the right of the picture, y up, z towards the viewer. The performer faces +x at twist 0.
Lengths are in body heights, angles in radians. Shapes: T frames, P pose columns, J points.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POSE_COLUMNS: tuple[str, ...] = (
    "rotation", "twist", "hip_left", "hip_right", "knee_left", "knee_right", "shoulder_left",
    "shoulder_right", "elbow_left", "elbow_right", "straddle", "arms_out",
)  # fmt: skip
"""`rotation`: about the lateral axis, 0 upright, positive forward. `twist`: about the long axis. Hips, knees,
shoulders, elbows: flexion, 0 = stretched with the arms down. `straddle`, `arms_out`: both legs or arms
sideways out of the sagittal plane."""

POINTS: tuple[str, ...] = (
    "pelvis", "neck", "head", "hair", "ponytail", "hip_left", "hip_right", "knee_left", "knee_right",
    "foot_left", "foot_right", "shoulder_left", "shoulder_right", "elbow_left", "elbow_right", "hand_left",
    "hand_right", "chest_front", "belly_front",
)  # fmt: skip
POINT = {name: index for index, name in enumerate(POINTS)}
COLUMN = {name: index for index, name in enumerate(POSE_COLUMNS)}

_MASS_POINTS = [POINT[name] for name in ("pelvis", "neck", "head", "knee_left", "knee_right")]


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Segment lengths and half widths in body heights."""

    torso: float = 0.29
    neck: float = 0.115
    head_radius: float = 0.085
    upper_arm: float = 0.175
    forearm: float = 0.185
    thigh: float = 0.245
    shank: float = 0.285
    shoulder_half: float = 0.095
    hip_half: float = 0.055
    limb_width: float = 1.0

    def scaled(self, factors: Array) -> Proportions:
        """Multiplies every field, in order of declaration, by one of `factors`."""
        values = {f.name: getattr(self, f.name) * float(k) for f, k in zip(fields(self), factors, strict=True)}
        return Proportions(**values)


def _segment(angle_T: Array, out_T: Array, side: float, length: float) -> Array:
    """A limb segment in body axes (forward, up, lateral); angle 0 hangs down, pi/2 points forward."""
    inside_T = np.cos(out_T) * length
    return np.stack([np.sin(angle_T) * inside_T, -np.cos(angle_T) * inside_T, side * np.sin(out_T) * length], axis=-1)


def _body_points(pose_TP: Array, proportions: Proportions) -> Array:
    """Points in body axes (forward, up, lateral), pelvis at the origin."""
    p, c = proportions, {name: pose_TP[:, index] for name, index in COLUMN.items()}
    points_TJ3 = np.zeros((len(pose_TP), len(POINTS), 3))

    def put(name: str, value: Array | tuple[float, float, float]) -> Array:
        points_TJ3[:, POINT[name]] = value
        return points_TJ3[:, POINT[name]]

    put("neck", (0.0, p.torso, 0.0))
    head_up = p.torso + p.neck
    put("head", (0.015, head_up, 0.0))
    put("hair", (-0.45 * p.head_radius, head_up + 0.25 * p.head_radius, 0.0))
    put("ponytail", (-2.1 * p.head_radius, head_up - 0.1 * p.head_radius, 0.0))
    put("chest_front", (0.055, 0.85 * p.torso, 0.0))
    put("belly_front", (0.045, 0.2 * p.torso, 0.0))
    for side, sign in (("left", -1.0), ("right", 1.0)):
        hip, shoulder = c[f"hip_{side}"], c[f"shoulder_{side}"]
        joint = put(f"hip_{side}", (0.0, 0.0, sign * p.hip_half))
        joint = put(f"knee_{side}", joint + _segment(hip, c["straddle"], sign, p.thigh))
        put(f"foot_{side}", joint + _segment(hip - c[f"knee_{side}"], c["straddle"], sign, p.shank))
        joint = put(f"shoulder_{side}", (0.0, p.torso * 0.96, sign * p.shoulder_half))
        joint = put(f"elbow_{side}", joint + _segment(shoulder, c["arms_out"], sign, p.upper_arm))
        bent = shoulder + c[f"elbow_{side}"]
        # Folded forearms come in towards the chest, so only the straight part of the spread is kept.
        out = c["arms_out"] * np.cos(np.minimum(c[f"elbow_{side}"], np.pi / 2))
        put(f"hand_{side}", joint + _segment(bent, out, sign, p.forearm))
    return points_TJ3


def relative_points(pose_TP: Array, proportions: Proportions) -> Array:
    """Places the body's points in world axes with the pelvis at the origin.

    Args:
        pose_TP: Pose angles, columns as in `POSE_COLUMNS`.
        proportions: Segment lengths.

    Returns:
        Points (T, J, 3) in body heights, order as in `POINTS`.
    """
    body_TJ3 = _body_points(pose_TP, proportions)
    forward, up, lateral = body_TJ3[..., 0], body_TJ3[..., 1], body_TJ3[..., 2]
    twist, rotation = pose_TP[:, 1:2], pose_TP[:, 0:1]
    ahead = forward * np.cos(twist) + lateral * np.sin(twist)
    z = lateral * np.cos(twist) - forward * np.sin(twist)
    x = ahead * np.cos(rotation) + up * np.sin(rotation)
    y = up * np.cos(rotation) - ahead * np.sin(rotation)
    return np.stack([x, y, z], axis=-1)


def mass_centre(points_TJ3: Array) -> Array:
    """Approximate centre of mass (T, 2) in the x-y plane."""
    return points_TJ3[:, _MASS_POINTS, :2].mean(axis=1)


def contact_point(points_TJ3: Array, support: str) -> Array:
    """Where the body touches its support, (T, 2): the middle of the hands, or the lower foot.

    The lower foot is a soft minimum, so that a change of the standing leg does not make the body jump.
    """
    if support == "hands":
        return points_TJ3[:, [POINT["hand_left"], POINT["hand_right"]], :2].mean(axis=1)
    feet_T23 = points_TJ3[:, [POINT["foot_left"], POINT["foot_right"]]]
    y_T2 = feet_T23[..., 1]
    weight_T2 = np.exp(-(y_T2 - y_T2.min(axis=1, keepdims=True)) / 0.04)
    weight_T2 /= weight_T2.sum(axis=1, keepdims=True)
    return np.stack([(feet_T23[..., 0] * weight_T2).sum(axis=1), y_T2.min(axis=1)], axis=-1)
