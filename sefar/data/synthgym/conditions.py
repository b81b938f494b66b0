"""How each clip is disturbed: named difficulties and the draw of one clip's conditions.

Every random number comes from a counter-based generator keyed by (seed, name), so a clip looks the same
whoever renders it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from sefar.data.synthgym.skeleton import POSE_COLUMNS, Array

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """Ranges of everything that varies within a class. Pairs are (low, high) of a uniform draw.

    Attributes:
        frames: Clip length, both ends included.
        height: Performer's height as a share of the picture's side.
        zoom_change: Change of that height over the clip, as a factor; half of it before and half after the
            middle.
        offset: Largest displacement of the performer from the picture's middle, share of the side.
        drift: Largest displacement by camera movement over the clip, share of the side.
        follow: How closely the camera follows the performer, 1 = exactly.
        yaw, pitch: Camera angles in radians; 0 is exactly from the side.
        trim: Largest share of the element cut off, or waited, at either end.
        warp: Largest tempo change; 0.3 makes the pace vary between 0.7 and 1.3.
        pose_noise: Standard deviation of slow joint-angle noise, radians.
        style: Standard deviation of a performer's constant joint-angle offsets, radians.
        pixel_noise: Standard deviation of picture noise, 0 to 255.
        light: Factor on the whole picture's brightness.
        other_side: Probability that the performer twists the other way and shows the darker limbs to the
            camera.
        palette: Width of the range of performers' colours, 0 to 1.
        clutter: Number of background objects, both ends included.
    """

    frames: tuple[int, int] = (24, 40)
    height: Range = (0.38, 0.74)
    zoom_change: Range = (0.88, 1.12)
    offset: float = 0.095
    drift: float = 0.04
    follow: Range = (0.65, 0.95)
    yaw: Range = (-0.82, 1.02)
    pitch: Range = (-0.2, 0.46)
    trim: float = 0.08
    warp: float = 0.37
    pose_noise: float = 0.265
    style: float = 0.265
    pixel_noise: Range = (3.0, 13.0)
    light: Range = (0.7, 1.25)
    other_side: float = 0.5
    palette: float = 1.0
    clutter: tuple[int, int] = (4, 12)


DIFFICULTIES: dict[str, Difficulty] = {
    "easy": Difficulty(
        frames=(32, 32), height=(0.58, 0.6), zoom_change=(1.0, 1.0), offset=0.01, drift=0.0, follow=(0.9,
        0.95), yaw=(0.28, 0.32), pitch=(0.08, 0.1), trim=0.01, warp=0.05, pose_noise=0.02, style=0.02,
        pixel_noise=(0.0, 2.0), light=(0.97, 1.03), other_side=0.0, palette=0.3, clutter=(0, 2),
    ),
    "standard": Difficulty(),
    "hard": Difficulty(
        frames=(20, 44), height=(0.33, 0.77), zoom_change=(0.8, 1.2), offset=0.12, drift=0.06, follow=(0.5,
        0.95), yaw=(-1.0, 1.2), pitch=(-0.3, 0.55), trim=0.12, warp=0.5, pose_noise=0.33, style=0.33,
        pixel_noise=(6.0, 20.0), light=(0.55, 1.3), clutter=(6, 16),
    ),
}  # fmt: skip


def generator(seed: int, name: str) -> np.random.Generator:
    """A generator keyed by a seed and a name, the same on every machine and in every process."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(digest, "little"))))


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """One clip's draw of a `Difficulty`; fields as there.

    Attributes:
        facing: +1 if the performer faces right at twist 0, -1 if the whole picture is mirrored.
        handed: -1 if left and right are exchanged (twist the other way).
        time_start, time_end: Part of the element shown; outside [0, 1] the end pose is held.
        noise: Amplitudes (2 frequencies x sine, cosine x P) of the joint noise, radians.
        background_seed: Seed of the background and of the picture noise.
    """

    frames: int
    facing: int = 1
    handed: int = 1
    height: float = 0.58
    zoom_change: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)
    drift: tuple[float, float] = (0.0, 0.0)
    follow: float = 0.9
    yaw: float = 0.3
    pitch: float = 0.1
    time_start: float = 0.0
    time_end: float = 1.0
    warp: float = 0.0
    noise: tuple[float, ...] = ()
    pixel_noise: float = 0.0
    light: float = 1.0
    clutter: int = 3
    background_seed: int = 0

    def times(self) -> Array:
        """Element time of each frame (T,)."""
        share = np.linspace(0.0, 1.0, self.frames)
        warped = share + self.warp / (2 * np.pi) * np.sin(2 * np.pi * share)
        return self.time_start + (self.time_end - self.time_start) * warped

    def pose_noise(self) -> Array:
        """Slow joint noise (T, P) in radians, to be added to the poses."""
        if not self.noise:
            return np.zeros((self.frames, len(POSE_COLUMNS)))
        phase = 2 * np.pi * np.linspace(0.0, 1.0, self.frames)[:, None]
        waves = np.concatenate([np.sin(phase), np.cos(phase), np.sin(2 * phase), np.cos(2 * phase)], axis=1)
        return waves @ np.asarray(self.noise).reshape(4, -1)


def draw_conditions(difficulty: Difficulty, seed: int, clip_id: str) -> Conditions:
    """Draws one clip's conditions; they do not depend on picture size or number of clips."""
    rng, d = generator(seed, clip_id), difficulty
    frames = int(rng.integers(d.frames[0], d.frames[1], endpoint=True))
    noise = rng.normal(0.0, d.pose_noise / 2, size=(4, len(POSE_COLUMNS)))
    noise[:, 0:2] *= 0.5  # Rotation and twist carry the label, so they are disturbed less than the joints.

    def pair(limit: float) -> tuple[float, float]:
        x, y = rng.uniform(-limit, limit, size=2)
        return float(x), float(y)

    return Conditions(
        frames=frames,
        facing=1 if rng.random() < 0.5 else -1,
        handed=-1 if rng.random() < d.other_side else 1,
        height=float(rng.uniform(*d.height)),
        zoom_change=float(rng.uniform(*d.zoom_change)),
        offset=pair(d.offset),
        drift=pair(d.drift),
        follow=float(rng.uniform(*d.follow)),
        yaw=float(rng.uniform(*d.yaw)),
        pitch=float(rng.uniform(*d.pitch)),
        time_start=float(rng.uniform(-d.trim, d.trim)),
        time_end=1.0 + float(rng.uniform(-d.trim, d.trim)),
        warp=float(rng.uniform(-d.warp, d.warp)),
        noise=tuple(noise.ravel().tolist()),
        pixel_noise=float(rng.uniform(*d.pixel_noise)),
        light=float(rng.uniform(*d.light)),
        clutter=int(rng.integers(d.clutter[0], d.clutter[1], endpoint=True)),
        background_seed=int(rng.integers(2**62)),
    )
