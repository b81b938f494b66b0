"""UCF101 and HMDB51: clips of an unpacked folder under the names that the annotations use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pandas as pd
from tqdm import tqdm

from sefar.data.annotations.hmdb51 import read_hmdb51
from sefar.data.annotations.ucf101 import read_ucf101
from sefar.data.prepare.cutting import Cut
from sefar.data.prepare.manifest import Manifest
from sefar.data.prepare.parallel import Task
from sefar.data.synthgym.video import cannot_write
from sefar.errors import DataError
from sefar.files import replacing

READERS = {"ucf101": read_ucf101, "hmdb51": read_hmdb51}

How = Literal["link", "copy", "reencode"]


def prepare_folders(
    dataset: str,
    annotations: Path,
    videos: Path,
    root: Path,
    *,
    splits: Sequence[int] = (1, 2, 3),
    how: How = "link",
    workers: int = 0,
    progress: bool = True,
) -> Manifest:
    """Bring clips to ``<root>/<dataset>/clips/<Class>/<file>``; those on disk are kept.

    Args:
        dataset: ``ucf101`` or ``hmdb51``.
        annotations: folder of its split files.
        videos: the unpacked folder, ``<Class>/<file>`` at any depth; capitals do not matter (UCF101's folder
            HandstandPushups holds files named HandStandPushups).
        root: folder of the data sets.
        splits: which of the three.
        how: hard links, or symbolic ones where hard ones cannot be; copies; or H.264 with a key frame every 8 frames.
        workers: processes that re-encode; 0: one a core.
        progress: show a bar on a terminal.

    Returns:
        The manifest, which is also written, whatever happens.

    Raises:
        DataError: annotations are missing or faulty, there is none of the clips, or one cannot be written.
    """
    clips = root / dataset / "clips"
    if how == "reencode" and os.path.realpath(videos) == os.path.realpath(clips):
        raise DataError(f"{videos}: re-encoding would overwrite the source; move it, {clips} takes the clips")
    manifest = Manifest(clips, _read_splits(dataset, annotations, splits, clips))
    sources = _clips_by_name(videos)

    def whole(clip_id: str, path: str) -> bool:
        source = sources.get(_name(path))
        return how != "reencode" or source is None or not os.path.samefile(source, path)

    todo = manifest.keep(whole)
    if todo and not sources:
        example = _name(next(iter(todo.values())))
        raise DataError(f"{videos}: holds no clips; expected the unpacked folder, for instance {example}")
    found = {clip_id: sources[_name(path)] for clip_id, path in todo.items() if _name(path) in sources}
    for clip_id, path in todo.items():
        if clip_id not in found:
            manifest.missing(clip_id, f"no source clip, class {Path(path).parent.name}")
    try:
        if how == "reencode":
            tasks = [Task(source, (Cut(clip_id, Path(todo[clip_id])),), True) for clip_id, source in found.items()]
            manifest.cut(tasks, workers=workers, progress=progress)
        else:
            for clip_id, source in tqdm(found.items(), how, unit="clip", disable=None if progress else True):
                _place(source, Path(todo[clip_id]), how)
                manifest.available(clip_id)
    finally:
        manifest.write()
    return manifest


def _read_splits(dataset: str, annotations: Path, splits: Sequence[int], clips: Path) -> pd.DataFrame:
    tables = []
    for number in splits:
        table, findings = READERS[dataset](annotations, split=number, clips=clips)
        findings.raise_fatal(f"{dataset}/split{number}")
        tables.append(table[["clip_id", "path"]].assign(split=f"split{number}/" + table.split))
    return pd.concat(tables, ignore_index=True)


def _name(path: str | Path) -> str:
    """``<class>/<file>`` without regard to capitals."""
    return "/".join(Path(path).parts[-2:]).casefold()


def _clips_by_name(videos: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(videos):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(".avi") and os.path.isfile(os.path.join(folder, name)):  # no link into the void
                found.setdefault(_name(Path(folder, name)), Path(folder, name))
    return found


def _place(source: Path, target: Path, how: How) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy":
            with replacing(target) as out, source.open("rb") as content:
                shutil.copyfileobj(content, out)
            return
        link = target.with_name(f"{target.name}.part")
        link.unlink(missing_ok=True)
        real = Path(os.path.realpath(source))
        with suppress(OSError):  # another file system, or one without hard links
            os.link(real, link)
        if not link.exists():
            link.symlink_to(real)
        os.replace(link, target)
    except OSError as error:
        raise cannot_write(target, error) from error
