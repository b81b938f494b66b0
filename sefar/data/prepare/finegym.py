"""FineGym: elements cut out of the source videos, or of event videos cut out of them before."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sefar.data.annotations.finegym import read_finegym
from sefar.data.annotations.finegym_elements import read_event_starts, read_timestamps
from sefar.data.prepare.cutting import Cut
from sefar.data.prepare.manifest import Manifest
from sefar.data.prepare.parallel import Task
from sefar.errors import DataError

TIMESTAMPS = "finegym_annotation_info_v*.json"
SUFFIXES = (".mp4", ".mkv", ".webm")


def prepare_finegym(
    annotations: Path,
    videos: Path,
    root: Path,
    *,
    subsets: Sequence[str] = ("gym99", "gym288"),
    workers: int = 0,
    progress: bool = True,
) -> Manifest:
    """Cut the elements of the lists to ``<root>/finegym/clips/<element id>.mp4``; those on disk are kept.

    Args:
        annotations: folder of FineGym's lists and timestamps.
        videos: folder of ``<youtube id>.mp4`` (or mkv, webm), else ``<youtube id>_E_<start>_<end>.mp4`` that begin at
            the event's timestamp.
        root: folder of the data sets.
        subsets: ``gym99``, ``gym288``; their lists v1.1.
        workers: processes; 0: one a core.
        progress: show a bar on a terminal.

    Returns:
        The manifest, which is also written, whatever happens.

    Raises:
        DataError: annotations are missing or faulty, none of the videos is there, or a clip cannot be written.
    """
    clips = root / "finegym" / "clips"
    wanted = pd.concat([_read_lists(annotations, subset, clips) for subset in subsets], ignore_index=True)
    manifest = Manifest(clips, wanted)
    tasks = _tasks(manifest, annotations, videos)
    try:
        manifest.cut(tasks, workers=workers, progress=progress)
    finally:
        manifest.write()
    return manifest


def _read_lists(annotations: Path, subset: str, clips: Path) -> pd.DataFrame:
    table, findings = read_finegym(annotations, subset=subset, clips=clips)
    findings.raise_fatal(f"finegym/{subset}")
    return table[["clip_id", "path"]].assign(split=f"{subset}/" + table.split)


def _tasks(manifest: Manifest, annotations: Path, videos: Path) -> list[Task]:
    """A task for each source of clips that are not on disk; clips without one are noted in the manifest."""
    file = _timestamps_file(annotations)
    seconds, _ = read_timestamps(file)  # senseless ones: their elements fail
    starts = read_event_starts(file)
    sources = _videos_by_stem(videos)
    cuts = defaultdict(list)
    absent = {}
    todo = manifest.keep()
    for clip_id, path in todo.items():
        event_id, video_id = clip_id.rpartition("_A_")[0], clip_id[:11]
        source = sources.get(video_id) or sources.get(event_id)
        if clip_id not in seconds:
            manifest.failed(clip_id, f"no sound timestamps in {file.name}")
        elif source is None:
            absent[clip_id] = f"no source video {video_id}"
        else:
            offset = starts[event_id] if source.stem == event_id else 0.0
            start, end = (max(0.0, second - offset) for second in seconds[clip_id])
            cuts[source].append(Cut(clip_id, Path(path), start, end))
    if absent and not cuts and len(todo) == manifest.total:
        example = f"{next(iter(absent))[:11]}.mp4"
        raise DataError(f"{videos}: no video has a FineGym name; expected <youtube id>.mp4, for instance {example}")
    for clip_id, cause in absent.items():
        manifest.missing(clip_id, cause)
    return [Task(source, tuple(of_source)) for source, of_source in cuts.items()]


def _timestamps_file(annotations: Path) -> Path:
    found = sorted(annotations.glob(TIMESTAMPS))
    if not found:
        raise DataError(f"{annotations}: no {TIMESTAMPS.replace('*', '1.1')}; fetch it from the FineGym project page")
    return found[-1]


def _videos_by_stem(videos: Path) -> dict[str, Path]:
    """Videos by the name before their ending; of several, the first of `SUFFIXES`."""
    try:
        names = sorted(os.listdir(videos))
    except OSError as error:
        cause = error.strerror
        raise DataError(f"{videos}: cannot be listed ({cause}); expected the source videos' folder") from error
    ranked = sorted((SUFFIXES.index(Path(n).suffix), n) for n in names if Path(n).suffix in SUFFIXES)
    return {Path(name).stem: videos / name for _, name in reversed(ranked)}
