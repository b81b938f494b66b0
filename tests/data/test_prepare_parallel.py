from __future__ import annotations

import multiprocessing
import os
from pathlib import Path, PosixPath
from typing import NoReturn

import pytest

from sefar.data.prepare.cutting import Cut, Outcome
from sefar.data.prepare.parallel import Task, cut_all
from sefar.errors import DataError
from tests.data.prepare_sources import write_source


class Deadly(PosixPath):
    """A source that takes the process along that looks at it."""

    def is_dir(self) -> NoReturn:
        os._exit(7)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    return [write_source(folder / f"{k}.mp4", 60 + 20 * k) for k in range(3)]


def tasks(sources: list[Path], clips: Path) -> list[Task]:
    spans = ((0.0, 0.8), (1.0, 2.0), (9.0, 9.5))
    return [
        Task(s, tuple(Cut(f"{s.stem}_{k}", clips / f"{s.stem}_{k}.mp4", *span) for k, span in enumerate(spans)))
        for s in sources
    ]


def test_two_processes_write_what_one_does(tmp_path: Path, sources: list[Path]) -> None:
    outcomes = [set(cut_all(tasks(sources, tmp_path / str(n)), workers=n, progress=False)) for n in (1, 2)]
    assert outcomes[0] == outcomes[1]
    assert {o.clip_id: o.frames for o in outcomes[0]} == {
        f"{k}_{n}": frames for k in range(3) for n, frames in enumerate((20, 25, 0))
    }
    names = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("1", "2")]
    assert names[0] == names[1] == [f"{k}_{n}.mp4" for k in range(3) for n in range(2)]
    for name in names[0]:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_source_that_kills_its_process_fails_alone(tmp_path: Path, sources: list[Path]) -> None:
    deadly = Task(Deadly("deadly.mp4"), (Cut("x", tmp_path / "x.mp4"), Cut("y", tmp_path / "y.mp4")), numbered=True)
    outcomes = {o.clip_id: o for o in cut_all([deadly, *tasks(sources, tmp_path)], workers=2, progress=False)}
    cause = "deadly.mp4: the process that reads it dies"
    assert (outcomes["x"], outcomes["y"]) == (Outcome("x", 0, cause), Outcome("y", 0, cause))
    assert sorted(i for i, o in outcomes.items() if o.frames) == [f"{k}_{n}" for k in range(3) for n in range(2)]


def test_an_interruption_ends_the_processes(tmp_path: Path, sources: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        for _ in cut_all(tasks(sources, tmp_path), workers=2, progress=False):
            raise KeyboardInterrupt
    assert multiprocessing.active_children() == []
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".mp4"]


def test_a_folder_that_cannot_be_written_stops_all(tmp_path: Path, sources: list[Path]) -> None:
    (tmp_path / "clips").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        list(cut_all(tasks(sources, tmp_path / "clips"), workers=2, progress=False))
    assert multiprocessing.active_children() == []
