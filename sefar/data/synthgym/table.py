"""SynthGym's configuration and its clip table: which clips there are, before any is rendered."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from sefar.data.synthgym.conditions import DIFFICULTIES, Conditions, Difficulty, draw_conditions
from sefar.data.synthgym.elements import CORE, ELEMENTS, Element
from sefar.data.synthgym.figure import Performer, make_performer
from sefar.data.synthgym.motion import pose_trajectory
from sefar.data.synthgym.render import Frames, render_frames
from sefar.data.synthgym.skeleton import POSE_COLUMNS
from sefar.errors import ConfigError, DataError, nearest

GENERATOR_VERSION = 2
"""Raised whenever the same configuration would give other pictures or another table; part of the folder's
name."""

FRAMES_PER_SECOND = 25
SPLITS = ("train", "test")
COLUMNS = (
    "clip_id", "path", "label", "label_name", "event", "set", "group", "start_frame", "end_frame", "split",
    "pairs", "core",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SynthGymConfig:
    """What to generate.

    Attributes:
        size: Picture side in pixels, even and at least 64.
        difficulty: Name of one of `DIFFICULTIES`.
        train_clips_per_element: Training clips of every element.
        test_clips_per_element: Test clips of every element.
        train_performers: Performers seen in training clips.
        test_performers: Performers seen in test clips, disjoint from those of training.
        seed: Root of all randomness.

    Raises:
        ConfigError: A value is out of range or the difficulty is unknown.
    """

    size: int = 80
    difficulty: str = "standard"
    train_clips_per_element: int = 64
    test_clips_per_element: int = 24
    train_performers: int = 24
    test_performers: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.difficulty not in DIFFICULTIES:
            raise ConfigError(f"unknown difficulty {self.difficulty!r}{nearest(self.difficulty, DIFFICULTIES)}")
        if self.size < 64 or self.size % 2:
            raise ConfigError(f"size must be even and at least 64 pixels (yuv420 video), got {self.size}")
        for name in ("train_clips_per_element", "test_clips_per_element", "train_performers", "test_performers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")

    def content_hash(self) -> str:
        """Eight hexadecimal digits of all that decides the pictures, ranges and version included."""
        content = {
            "config": asdict(self), "version": GENERATOR_VERSION, "ranges":
            asdict(DIFFICULTIES[self.difficulty]), "elements": [asdict(element) for element in ELEMENTS],
        }  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def ranges(self) -> Difficulty:
        """The ranges behind `difficulty`."""
        return DIFFICULTIES[self.difficulty]


def dataset_dir(root: str | Path, config: SynthGymConfig) -> Path:
    """The folder of a configuration under `root`."""
    return Path(root) / f"synthgym-{config.difficulty}-{config.size}px-{config.content_hash()}"


def _slug(element: Element) -> str:
    plain = unicodedata.normalize("NFKD", element.name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace(".", "p")).strip("-")


@dataclass(frozen=True, kw_only=True)
class _Clip:
    clip_id: str
    element: Element
    split: str
    group: str


def _clips(config: SynthGymConfig) -> Iterator[_Clip]:
    for element in ELEMENTS:
        for split in SPLITS:
            performers = getattr(config, f"{split}_performers")
            for index in range(getattr(config, f"{split}_clips_per_element")):
                # Elements start with different performers, so that every performer appears in few clips of
                # many elements.
                performer = (index + 5 * element.element_id) % performers
                yield _Clip(
                    clip_id=f"{_slug(element)}-{split}-{index:04d}", element=element, split=split,
                    group=f"{split}-performer-{performer:02d}",
                )  # fmt: skip


def clip_table(config: SynthGymConfig) -> pd.DataFrame:
    """The clip table, without rendering anything.

    Returns:
        One row a clip with the columns `COLUMNS`; `path` is relative to the data set's folder, `end_frame` is
        exclusive, `label` is the element's id, `pairs` tells whether the element has an exact time reversal
        and `core` whether it is one of `CORE`.
    """
    rows = []
    for clip in _clips(config):
        element = clip.element
        frames = draw_conditions(config.ranges, config.seed, clip.clip_id).frames
        path = f"clips/{element.event}/{clip.clip_id}.mp4"
        named = (clip.clip_id, path, element.element_id, element.name, element.event, element.set)
        rows.append((*named, clip.group, 0, frames, clip.split, element.pair_of is not None, element.name in CORE))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def truth_table(config: SynthGymConfig) -> pd.DataFrame:
    """True conditions and undisturbed poses per frame (lists, radians) of every clip: never an input of training."""
    rows = []
    for clip in _clips(config):
        conditions = draw_conditions(config.ranges, config.seed, clip.clip_id)
        row: dict[str, object] = {"clip_id": clip.clip_id, **asdict(conditions)}
        row["noise"] = list(conditions.noise)
        pose_TP = pose_trajectory(clip.element, conditions.times()).astype("float32")
        row |= {f"pose_{name}_rad": pose_TP[:, index] for index, name in enumerate(POSE_COLUMNS)}
        rows.append(row)
    return pd.DataFrame(rows)


def _find(config: SynthGymConfig, clip_id: str) -> _Clip:
    for element in ELEMENTS:
        stem, _, number = clip_id.rpartition("-")
        slug, _, split = stem.rpartition("-")
        if slug == _slug(element) and split in SPLITS and number.isdigit():
            performer = (int(number) + 5 * element.element_id) % getattr(config, f"{split}_performers")
            return _Clip(clip_id=clip_id, element=element, split=split, group=f"{split}-performer-{performer:02d}")
    raise DataError(f"no SynthGym clip is called {clip_id!r}; clip_table(config).clip_id lists all")


def clip_parts(config: SynthGymConfig, clip_id: str) -> tuple[Element, Performer, Conditions]:
    """What a clip shows: element, performer and conditions.

    Raises:
        DataError: No clip has this name.
    """
    clip = _find(config, clip_id)
    performer = make_performer(config.seed, clip.group, palette=config.ranges.palette)
    return clip.element, performer, draw_conditions(config.ranges, config.seed, clip_id)


def clip_frames(config: SynthGymConfig, clip_id: str) -> Frames:
    """Renders one clip without writing it, (T, size, size, 3) RGB."""
    element, performer, conditions = clip_parts(config, clip_id)
    return render_frames(element, performer, conditions, size=config.size, style=config.ranges.style)
