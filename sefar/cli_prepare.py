"""``sefar prepare``: data sets as clips on disk."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from tyro.conf import (
    DisallowNone,
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    create_mutex_group,
    subcommand,
)

from sefar.errors import ConfigError

if TYPE_CHECKING:
    from sefar.data.prepare.manifest import Manifest

T = TypeVar("T")

HOW = create_mutex_group(required=False, title="how")
SOURCE = create_mutex_group(required=True, title="source")


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

    videos: Path
    """Folder of the source videos, <youtube id>.mp4, .mkv or .webm, or of event videos cut out of them before."""
    annotations: DisallowNone[Path | None] = None
    """Folder of the element lists and the timestamps JSON; <root>/finegym/annotations unless given."""
    root: Path = Path("data")
    """Folder of the data sets; the clips go to <root>/finegym/clips."""
    splits: tuple[Literal["gym99", "gym288"], ...] = ("gym99", "gym288")
    """Which element lists."""
    workers: int = 0
    """Processes; 0: one a core."""

    def run(self) -> None:
        """Cut what is missing and print what there is."""
        from sefar.data.prepare.finegym import prepare_finegym

        annotations = self.annotations or self.root / "finegym" / "annotations"
        subsets = _chosen(self.splits)
        workers = _at_least("--workers", self.workers, 0)
        manifest = prepare_finegym(annotations, self.videos, self.root, subsets=subsets, workers=workers)
        _report(manifest, f"finegym/{self.splits[0]}", self.root, self.annotations)


@dataclass(frozen=True)
class _PrepareFolders:
    videos: Path
    """The unpacked folder, <Class>/<file>.avi at any depth."""
    annotations: DisallowNone[Path | None] = None
    """Folder of the split files; <root>/<data set>/annotations unless given."""
    root: Path = Path("data")
    """Folder of the data sets; the clips go to <root>/<data set>/clips."""
    splits: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    """Which of the three splits."""
    link: FlagCreatePairsOff[Annotated[bool, HOW]] = False
    """Hard links, or symbolic ones where hard ones cannot be; what is done unless told otherwise."""
    copy: FlagCreatePairsOff[Annotated[bool, HOW]] = False
    """Copies."""
    reencode: FlagCreatePairsOff[Annotated[bool, HOW]] = False
    """H.264 with a key frame every 8 frames, short side 256 at most."""
    workers: int = 0
    """Processes that re-encode; 0: one a core."""

    def _run(self, dataset: str) -> None:
        from sefar.data.prepare.folders import prepare_folders

        manifest = prepare_folders(
            dataset,
            self.annotations or self.root / dataset / "annotations",
            self.videos,
            self.root,
            splits=_chosen(self.splits),
            how="copy" if self.copy else "reencode" if self.reencode else "link",
            workers=_at_least("--workers", self.workers, 0),
        )
        _report(manifest, f"{dataset}/split{self.splits[0]}", self.root, self.annotations)


@dataclass(frozen=True)
class PrepareUcf101(_PrepareFolders):
    """Bring the clips of an unpacked UCF101 to where label scopes look for them."""

    def run(self) -> None:
        """Place what is missing and print what there is."""
        self._run("ucf101")


@dataclass(frozen=True)
class PrepareHmdb51(_PrepareFolders):
    """Bring the clips of an unpacked HMDB51 to where label scopes look for them."""

    def run(self) -> None:
        """Place what is missing and print what there is."""
        self._run("hmdb51")


@dataclass(frozen=True)
class PrepareFinediving:
    """Encode the dives of FineDiving from folders of frames or from videos."""

    frames: DisallowNone[Annotated[Path | None, SOURCE]] = None
    """Folder with <video id>/<clip number>/*.jpg."""
    videos: DisallowNone[Annotated[Path | None, SOURCE]] = None
    """Folder with <video id>/<clip number>.mp4, or with whole videos <video id>.mp4."""
    annotations: DisallowNone[Path | None] = None
    """Folder of the pickles; <root>/finediving/annotations unless given."""
    root: Path = Path("data")
    """Folder of the data sets; the clips go to <root>/finediving/clips."""
    workers: int = 0
    """Processes; 0: one a core."""

    def run(self) -> None:
        """Encode what is missing and print what there is."""
        from sefar.data.prepare.finediving import prepare_finediving

        sources = self.frames or self.videos
        if sources is None:
            raise ConfigError("finediving: expected --frames DIR or --videos DIR")
        annotations = self.annotations or self.root / "finediving" / "annotations"
        workers = _at_least("--workers", self.workers, 0)
        manifest = prepare_finediving(annotations, sources, self.root, workers=workers)
        _report(manifest, "finediving/all", self.root, self.annotations)


@dataclass(frozen=True)
class PrepareCheck:
    """Decode every clip of a scope within a time limit, list the broken ones, count what there is.

    The exit code is 0 if every clip is there and decodes, else 1.
    """

    scope: str
    """Which clips, for instance finegym/gym99 or lists:DIR."""
    root: Path = Path("data")
    """Folder of the data sets; the list of broken clips goes to <root>/quarantine."""
    annotations: str = ""
    """Folder of the annotation files; empty: <root>/<data set>/annotations."""
    clips: str = ""
    """Folder of the clips; empty: <root>/<data set>/clips."""
    path_prefix: str = ""
    """OLD=NEW: paths of lists that begin with OLD are looked for under NEW."""
    dev_fraction: float = 0.2
    """Share of the training clips kept apart to choose by; 0: none."""
    limit_seconds: float = 20.0
    """A clip that takes longer to decode is broken."""
    workers: int = 0
    """Processes; 0: one a core."""

    def run(self) -> int:
        """Check and print; 1 if clips are missing or broken."""
        from sefar.data.prepare.check import check_scope
        from sefar.data.scopes import ScopeConfig

        if not 0 < self.limit_seconds <= 1e6:
            raise ConfigError(f"--limit-seconds: expected seconds above 0, at most 1e6, got {self.limit_seconds}")
        config = ScopeConfig(
            name=self.scope,
            root=str(self.root),
            annotations=self.annotations,
            clips=self.clips,
            path_prefix=self.path_prefix,
            dev_fraction=self.dev_fraction,
        )
        workers = _at_least("--workers", self.workers, 0)
        report = check_scope(config, limit_seconds=self.limit_seconds, workers=workers)
        print(report.text())
        return 0 if report.complete else 1


@dataclass(frozen=True)
class Prepare:
    """Bring a data set to disk as clips, or check the clips of a label scope."""

    data_set: OmitArgPrefixes[
        OmitSubcommandPrefixes[
            Annotated[PrepareSynthgym, subcommand("synthgym")]
            | Annotated[PrepareFinegym, subcommand("finegym")]
            | Annotated[PrepareFinediving, subcommand("finediving")]
            | Annotated[PrepareUcf101, subcommand("ucf101")]
            | Annotated[PrepareHmdb51, subcommand("hmdb51")]
            | Annotated[PrepareCheck, subcommand("check")]
        ]
    ]

    def run(self) -> int | None:
        """Do what the subcommand says and return its exit code."""
        return self.data_set.run()


def _chosen(splits: tuple[T, ...]) -> tuple[T, ...]:
    if not splits:
        raise ConfigError("--splits: expected at least one")
    return tuple(dict.fromkeys(splits))


def _at_least(flag: str, value: int, least: int) -> int:
    if value < least:
        raise ConfigError(f"{flag}: expected an integer ≥ {least}, got {value}")
    return value


def _report(manifest: Manifest, scope: str, root: Path, annotations: Path | None) -> None:
    print(manifest.summary())
    where = f" --annotations {shlex.quote(str(annotations))}" if annotations else ""
    print(f"next: sefar prepare check --scope {scope} --root {shlex.quote(str(root))}{where}")
