"""Clips to time reading on, and the readers to compare: one batched read, and what the released code does.

Shape suffixes: T frames, H, W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sefar.data.prepare.encoding import OPTIONS

WIDTH, HEIGHT = 340, 256
RELEASE_SHORT_SIDE = 480
KEY_FRAMES: dict[str, dict[str, str]] = {
    "where x264 puts them by itself": {},
    "every 8": OPTIONS,
    "every 12": {**OPTIONS, "g": "12"},
}
"""How clips are encoded: as most that one comes by, as `sefar prepare` writes them, and with fewer key frames."""


def make_clips(folder: Path, count: int, options: dict[str, str]) -> list[str]:
    """Encode clips of 100 to 150 frames of a moving scene with grain; the same for the same arguments.

    Returns:
        Their paths.
    """
    import av

    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:03}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={**options, "threads": "1"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame_HWC in scene(np.random.default_rng(number)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
            container.mux(stream.encode(None))
        paths.append(str(path))
    return paths


def scene(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Frames (H, W, C): the camera pans over a backdrop while two figures move before it; with sensor grain."""
    coarse = Image.fromarray(rng.integers(30, 226, (9, 16, 3), dtype=np.uint8))
    backdrop = np.asarray(coarse.resize((WIDTH + 200, HEIGHT + 20), Image.Resampling.BICUBIC))
    colours, phases = rng.integers(0, 256, (2, 3)), rng.uniform(0, 6.3, (2, 2))
    for t in range(int(rng.integers(100, 151))):
        frame = backdrop[10 : 10 + HEIGHT, t : t + WIDTH].copy()
        for colour, (a, b) in zip(colours, phases, strict=True):
            top, left = int(98 + 90 * np.sin(t / 9 + a)), int(150 + 140 * np.cos(t / 15 + b))
            frame[top : top + 60, left : left + 36] = colour
        yield np.clip(frame + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8)


def release_read(path: str, numbers: Sequence[int]) -> np.ndarray:
    """A view as the released code reads it: each frame sought by itself, in two passes, and enlarged.

    Returns:
        uint8 (T, H, W, C), RGB, of the second pass; the short side is `RELEASE_SHORT_SIDE`.
    """
    import cv2

    for _ in range(2):
        capture, frames = cv2.VideoCapture(path), []
        for number in numbers:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            _, frame = capture.read()
            scale = RELEASE_SHORT_SIDE / min(frame.shape[:2])
            frame = cv2.resize(frame, None, fx=scale, fy=scale)
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        capture.release()
    return np.stack(frames)
