"""FineDiving: clips from its folders of frames, or from videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sefar.data.annotations.finediving import read_finediving
from sefar.data.annotations.finediving_dives import Dive, read_dives
from sefar.data.findings import Findings
from sefar.data.prepare.cutting import Cut
from sefar.data.prepare.manifest import Manifest
from sefar.data.prepare.parallel import Task
from sefar.data.prepare.reading import VIDEO_SUFFIXES
from sefar.errors import DataError


def prepare_finediving(
    annotations: Path, sources: Path, root: Path, *, workers: int = 0, progress: bool = True
) -> Manifest:
    """Encode the dives to ``<root>/finediving/clips/<video id>_<clip number>.mp4``; those on disk are kept.

    Args:
        annotations: folder of FineDiving's pickles.
        sources: holds, for each dive, ``<video id>/<clip number>/*.jpg``, or ``<video id>/<clip number>.mp4`` (or avi,
            mkv, mov, webm), or the whole ``<video id>.mp4``, of which the annotated frames are taken, counted from 0.
        root: folder of the data sets.
        workers: processes; 0: one a core.
        progress: show a bar on a terminal.

    Returns:
        The manifest, which is also written, whatever happens.

    Raises:
        DataError: annotations are missing or faulty, there is no source, or a clip cannot be written.
    """
    clips = root / "finediving" / "clips"
    table, findings = read_finediving(annotations, subset="all", clips=clips)
    findings.raise_fatal("finediving/all")
    manifest = Manifest(clips, table[["clip_id", "path", "split"]])
    dives = {dive.clip_id: dive for dive in read_dives(annotations, Findings()).values()}
    if not sources.is_dir():
        raise DataError(f"{sources}: no such folder; expected <video id>/<clip number>/*.jpg or videos")
    tasks = list(_tasks(manifest, dives, sources))
    try:
        manifest.cut(tasks, workers=workers, progress=progress)
    finally:
        manifest.write()
    return manifest


def _tasks(manifest: Manifest, dives: dict[str, Dive], sources: Path) -> Iterator[Task]:
    """A task for each source of clips that are not on disk; clips without one are noted in the manifest."""
    folders, videos = _listed(sources)
    own: dict[str, dict[str, Path]] = {}
    cuts = defaultdict(list)
    for clip_id, path in manifest.keep().items():
        dive, target = dives[clip_id], Path(path)
        if dive.video_id in folders and dive.video_id not in own:
            of_frames, of_video = _listed(folders[dive.video_id])
            own[dive.video_id] = {name.lstrip("0") or "0": p for name, p in (of_video | of_frames).items()}
        source = own.get(dive.video_id, {}).get(str(dive.number))
        if source is not None:
            yield Task(source, (Cut(clip_id, target),), numbered=True)
        elif dive.video_id in videos:
            cuts[videos[dive.video_id]].append(Cut(clip_id, target, dive.start_frame, dive.end_frame + 1))
        else:
            manifest.missing(clip_id, f"no frames or video of {dive.video_id}")
    for source, of_source in cuts.items():
        yield Task(source, tuple(of_source), numbered=True)


def _listed(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Folders by name, and videos by name without ending."""
    paths = sorted(folder.iterdir())
    videos = [p for p in paths if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
    return {p.name: p for p in paths if p.is_dir()}, {p.stem: p for p in videos}
