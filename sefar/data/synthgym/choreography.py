"""Choreographies: an element → key poses.

Time runs from 0 to 1 over the element. A key says what the body rests on until the next key; without support
the centre of mass flies a parabola between the supported parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sefar.data.synthgym.elements import Element
from sefar.data.synthgym.skeleton import COLUMN

PI = float(np.pi)
BAR_HEIGHT = 1.55
TABLE_HEIGHT = 0.62
BEAM_FLOOR = -0.75
"""Heights in body heights; the beam's top is 0, its floor below."""

Pose = Mapping[str, float]


@dataclass(frozen=True)
class Key:
    """A key pose; `support` holds from this key to the next (`feet`, `hands`, or None in flight).

    `at` is the point of contact (x, y). `lift` is the height of the flight's parabola above the straight line
    between take-off and landing, in body heights, and is read at the key that begins the flight. `turn` is
    rotation and twist, radians.
    """

    time: float
    pose: Pose
    support: str | None = "feet"
    at: tuple[float, float] = (0.0, 0.0)
    lift: float = 0.0
    turn: tuple[float, float] = (0.0, 0.0)


def _both(**angles: float) -> dict[str, float]:
    """Expands `hip=1` to the left and right hip; columns without sides pass through."""
    pose: dict[str, float] = {}
    for name, value in angles.items():
        pose |= {name: value} if name in COLUMN else {f"{name}_left": value, f"{name}_right": value}
    return pose


STAND = _both(shoulder=2.85, arms_out=0.2)
CROUCH = _both(hip=1.35, knee=1.35, shoulder=-0.5)
REACH = _both(shoulder=2.95)
SHAPE_POSES: dict[str, Pose] = {
    # Arms on the chest with or without twist, so that the arms do not tell how often the performer will twist.
    "stretched": _both(shoulder=0.85, elbow=2.0),
    "tucked": _both(hip=2.3, knee=2.45, shoulder=0.75, elbow=0.35),
    "piked": _both(hip=2.25, shoulder=1.25),
    "straddled": _both(hip=1.45, straddle=1.05, shoulder=1.3),
    "split": _both(arms_out=1.35, shoulder=0.3) | {"hip_left": 1.5, "hip_right": -1.35},
    "passe": _both(arms_out=1.1, shoulder=2.6, elbow=0.5) | {"hip_left": 1.55, "knee_left": 2.2},
    "wolf": _both(hip=2.2, shoulder=1.3, arms_out=0.5) | {"knee_right": 2.35, "hip_left": 1.5},
}
LEAN = 0.55
"""Forward lean of the trunk in a crouch, radians: keeps it above the feet."""


def _leaning(rotation: float, twist: float, lean: float = LEAN) -> tuple[float, float]:
    """The turn of a crouch: a performer who has turned half round leans to the other side of the picture."""
    return rotation + lean * float(np.cos(twist)), twist


def _salto(e: Element) -> list[Key]:
    d, total = e.direction, 2 * PI * e.saltos * e.direction
    lift = (0.42 if e.saltos <= 1 else 0.62) + (0.14 if e.shape == "stretched" else 0.0)
    shape = SHAPE_POSES[e.shape]
    start, end = (-0.4 * d, 0.0), (0.4 * d, 0.0)
    off, on = 0.13, 0.87

    def spin(time: float) -> tuple[float, float]:
        twist = np.clip((time - 0.25) / 0.5, 0, 1) * 2 * PI * e.twists
        return total * (time - off) / (on - off), float(twist)

    after = (total, 2 * PI * e.twists)
    return [
        Key(0.0, STAND, at=start),
        Key(0.07, CROUCH, at=start, turn=_leaning(0.0, 0.0)),
        Key(off, REACH, None, lift=lift, turn=(0.0, 0.0)),
        Key(0.25, shape, None, turn=spin(0.25)),
        Key(0.75, shape, None, turn=spin(0.75)),
        Key(on, REACH, at=end, turn=after),
        Key(0.93, CROUCH, at=end, turn=_leaning(*after)),
        Key(1.0, STAND, at=end, turn=after),
    ]


def _circle(e: Element) -> list[Key]:
    d, bar = e.direction, (0.0, BAR_HEIGHT)
    inverted = _both(shoulder=PI)
    folded: dict[str, Pose] = {
        "stretched": _both(shoulder=PI),
        "clear": _both(shoulder=0.75, hip=0.25),
        "straddled": _both(hip=2.0, straddle=0.85, shoulder=1.6),
        "piked": _both(hip=2.6, shoulder=2.0),
    }
    shape = folded[e.shape]
    # Turning giants pirouette in the handstand that ends the circle, the others use the whole time to go
    # round.
    ends = 0.58 if e.twists else 1.0

    def spin(part: float) -> tuple[float, float]:
        return PI * (1 + 2 * d * part), 0.0

    keys = [Key(part * ends, shape, "hands", bar, turn=spin(part)) for part in (0.22, 0.5, 0.78)]
    keys = [Key(0.0, inverted, "hands", bar, turn=spin(0.0)), *keys, Key(ends, inverted, "hands", bar, turn=spin(1.0))]
    if e.twists:
        keys.append(Key(0.97, inverted, "hands", bar, turn=(spin(1.0)[0], 2 * PI * e.twists)))
        keys.append(Key(1.0, inverted, "hands", bar, turn=(spin(1.0)[0], 2 * PI * e.twists)))
    return keys


def _dismount(e: Element) -> list[Key]:
    d, bar, total = e.direction, (0.0, BAR_HEIGHT), 2 * PI * e.saltos * e.direction
    shape = SHAPE_POSES[e.shape]
    hang, land = _both(shoulder=PI), (-0.95 * d, 0.0)
    release, on = 0.25, 0.88

    def spin(time: float) -> tuple[float, float]:
        share = (time - release) / (on - release)
        twist = np.clip((time - 0.36) / 0.42, 0, 1) * 2 * PI * e.twists
        return 1.35 * d + (total - 1.35 * d) * share, float(twist)

    after = (total, 2 * PI * e.twists)
    return [
        Key(0.0, hang, "hands", bar, turn=(-1.0 * d, 0.0)),
        Key(release, hang, None, lift=0.42, turn=(1.35 * d, 0.0)),
        Key(0.36, shape, None, turn=spin(0.36)),
        Key(0.78, shape, None, turn=spin(0.78)),
        Key(on, REACH, at=land, turn=after),
        Key(0.94, CROUCH, at=land, turn=_leaning(*after)),
        Key(1.0, STAND, at=land, turn=after),
    ]


def _turn(e: Element) -> list[Key]:
    shape, total = SHAPE_POSES[e.shape], 2 * PI * e.twists
    lean = 0.35 if e.shape == "wolf" else 0.0
    # The wolf turn is squatted throughout; only the turns in passé rise from and return to the stand.
    rest = shape if e.shape == "wolf" else STAND
    return [
        Key(0.0, rest, turn=(lean, 0.0)),
        Key(0.1, shape, turn=(lean, 0.0)),
        Key(0.9, shape, turn=(lean, total)),
        Key(1.0, rest, turn=(lean, total)),
    ]


def _series(e: Element) -> list[Key]:
    keys, twist, share = [Key(0.0, STAND)], 0.0, 1.0 / len(e.phases)
    for index, phase in enumerate(e.phases):
        begin = 0.03 + 0.94 * share * index

        def at(part: float, begin: float = begin) -> float:
            return begin + 0.94 * share * part

        if phase in ("half turn", "full turn"):
            after = twist + (PI if phase == "half turn" else 2 * PI)
            passe = SHAPE_POSES["passe"]
            keys += [Key(at(0.12), passe, turn=(0.0, twist)), Key(at(0.86), passe, turn=(0.0, after))]
            twist = after
        else:
            crouched = _leaning(0.0, twist, LEAN * 0.8)
            tilt = _leaning(0.0, twist, 0.12)
            keys += [
                Key(at(0.12), CROUCH, turn=crouched),
                Key(at(0.24), REACH, None, lift=0.36, turn=(0.0, twist)),
                Key(at(0.44), SHAPE_POSES[phase], None, turn=tilt),
                Key(at(0.60), SHAPE_POSES[phase], None, turn=tilt),
                Key(at(0.80), REACH, turn=(0.0, twist)),
                Key(at(0.90), CROUCH, turn=crouched),
            ]
        keys.append(Key(at(1.0), STAND, turn=(0.0, twist)))
    return keys


def _handspring(e: Element) -> list[Key]:
    """The forward form; the backward forms are its time reversals."""
    split = e.shape == "split"
    legs = {"hip_left": -1.35, "hip_right": 1.25} if split else _both(hip=0.1)
    up = _both(shoulder=PI)
    lunge: Pose = up | ({"hip_left": -0.9, "hip_right": 1.5} if split else _both(hip=1.35, knee=0.5))
    arch: Pose = _both(shoulder=PI + 0.5, hip=-0.75) | (
        {"hip_left": -1.0, "hip_right": 0.9} if split else _both(hip=-0.7, knee=0.7)
    )
    start, hands, end = (-0.42, 0.0), (0.08, 0.0), (0.55, 0.0)
    return [
        Key(0.0, STAND, at=start),
        Key(0.08, STAND, at=start),
        Key(0.28, lunge, None, lift=0.0 if split else 0.08, turn=(1.55, 0.0)),
        Key(0.38, up | legs, "hands", hands, turn=(2.35, 0.0)),
        Key(0.5, up | legs, "hands", hands, turn=(PI, 0.0)),
        Key(0.62, up | legs, None, lift=0.0 if split else 0.12, turn=(4.1, 0.0)),
        Key(0.78, arch, at=end, turn=(5.35, 0.0)),
        Key(0.94, STAND, at=end, turn=(2 * PI, 0.0)),
        Key(1.0, STAND, at=end, turn=(2 * PI, 0.0)),
    ]


def _vault(e: Element) -> list[Key]:
    d, total = e.direction, 2 * PI * e.saltos * e.direction
    half_on = PI if "half on" in e.phases else 0.0
    table, start, end = (0.0, TABLE_HEIGHT), (-1.0 * d, 0.0), (1.05 * d, 0.0)
    support = _both(shoulder=PI)
    shape = SHAPE_POSES[e.shape]
    off, on = (0.34, 0.9) if e.saltos > 1 else (0.42, 0.9)

    def spin(time: float) -> tuple[float, float]:
        twist = np.clip((time - off - 0.05) / (on - off - 0.12), 0, 1) * 2 * PI * e.twists
        return 3.75 * d + (total - 3.75 * d) * (time - off) / (on - off), half_on + float(twist)

    after = (total, half_on + 2 * PI * e.twists)
    return [
        Key(0.0, CROUCH, at=start, turn=_leaning(0.0, 0.0)),
        Key(0.06, REACH, None, lift=0.12, turn=(0.0, 0.0)),
        Key(off - 0.1, support, "hands", table, turn=(2.55 * d, half_on)),
        Key(off, support, None, lift=0.42, turn=(3.75 * d, half_on)),
        Key(off + 0.1, shape, None, turn=spin(off + 0.1)),
        Key(on - 0.1, shape, None, turn=spin(on - 0.1)),
        Key(on, REACH, at=end, turn=after),
        Key(0.95, CROUCH, at=end, turn=_leaning(*after)),
        Key(1.0, STAND, at=end, turn=after),
    ]


CHOREOGRAPHIES: dict[str, Callable[[Element], list[Key]]] = {
    "salto": _salto,
    "circle": _circle,
    "dismount": _dismount,
    "turn": _turn,
    "series": _series,
    "handspring": _handspring,
    "vault": _vault,
}
