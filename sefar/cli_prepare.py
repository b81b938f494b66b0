"""``sefar prepare``: data sets as clips on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from sefar.errors import ConfigError


@dataclass(frozen=True)
class PrepareSynthgym:
    """Render SynthGym, the embedded data set, as H.264 clips."""

    root: Path = Path("data")
    """Folder of the data sets."""
    size: int = 80
    """Side of the square frames in pixels, even, from 64 up."""
    difficulty: str = "standard"
    """easy, standard or hard."""
    train_clips_per_element: int = 64
    """Training clips of each element."""
    test_clips_per_element: int = 24
    """Test clips of each element."""
    seed: int = 0
    """Seed of everything drawn."""
    scope: str = "synthgym/all"
    """Render only the clips of this scope, for instance synthgym/event:FX."""
    workers: int = 0
    """Processes; 0: one a core."""

    def run(self) -> None:
        """Render what is missing and say where it lies."""
        from sefar.data.scopes import ScopeConfig, parse_scope, subset_clips
        from sefar.data.synthgym import SynthGymConfig, prepare

        if parse_scope(self.scope).dataset != "synthgym":
            raise ConfigError(f"--scope: expected synthgym/…, got '{self.scope}'")
        config = SynthGymConfig(
            size=self.size,
            difficulty=self.difficulty,
            train_clips_per_element=self.train_clips_per_element,
            test_clips_per_element=self.test_clips_per_element,
            seed=self.seed,
        )
        clips = subset_clips(ScopeConfig(name=self.scope, root=str(self.root), synthgym=config))
        folder = prepare(self.root, config, clip_ids=clips.clip_id.tolist(), workers=self.workers or None)
        print(f"{len(clips)} clips of {clips.label.nunique()} elements in {folder}")


@dataclass(frozen=True)
class PrepareFinegym:
    """Cut the elements of FineGym out of their source videos."""

    annotations: Path
    """Folder of the element lists and the time stamps (finegym_annotation_info_v1.1.json)."""
    videos: Path
    """Folder of the source videos, <youtube id>.mp4, .mkv or .webm, or of event videos cut out of them before."""
    root: Path = Path("data")
    """Folder of the data sets; the clips go to <root>/finegym/clips."""
    splits: tuple[Literal["gym99", "gym288"], ...] = ("gym99", "gym288")
    """Which element lists."""
    workers: int = 0
    """Processes; 0: one a core."""

    def run(self) -> None:
        """Cut what is missing and print what there is."""
        from sefar.data.prepare.finegym import prepare_finegym

        print(prepare_finegym(self.annotations, self.videos, self.root, splits=self.splits, workers=self.workers))


@dataclass(frozen=True)
class Prepare:
    """Bring a data set to disk as clips."""

    data_set: OmitArgPrefixes[
        OmitSubcommandPrefixes[
            Annotated[PrepareSynthgym, subcommand("synthgym")] | Annotated[PrepareFinegym, subcommand("finegym")]
        ]
    ]

    def run(self) -> int | None:
        """Do what the subcommand says and return its exit code."""
        return self.data_set.run()
