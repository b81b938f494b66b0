from __future__ import annotations

import csv
import os
from pathlib import Path

import av
import pytest

from sefar.data.annotations import read_ucf101
from sefar.data.prepare.finediving import prepare_finediving
from sefar.data.prepare.folders import prepare_folders
from sefar.errors import DataError
from tests.data.annotations import test_finediving
from tests.data.awkward_videos import picture
from tests.data.prepare_sources import numbers, write_source

STAND = "HandstandPushups/v_HandStandPushups_g01_c01.avi"
BOW, GONE = "Bowling/v_Bowling_g02_c01.avi", "Bowling/v_Bowling_g03_c01.avi"
DRAW = "draw_sword/Ein!Test#1_draw_sword_u_nm_np1_ba_goo_0.avi"


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "classInd.txt").write_text("1 Bowling\r\n2 HandstandPushups\r\n")
    (folder / "trainlist01.txt").write_text(f"{BOW} 1\r\n{GONE} 1\r\n")
    (folder / "testlist01.txt").write_text(f"{STAND}\r\n")
    return folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """The unpacked folder, with the names of files in other capitals than the lists'."""
    folder = tmp_path / "unpacked" / "UCF-101"
    for name in ("HandstandPushups/v_HandstandPushups_g01_c01.avi", BOW):
        (folder / name).parent.mkdir(parents=True)
        write_source(folder / name, 20, codec="mpeg4", bf="2", size=(340, 288))
    return folder.parent


def prepare(annotations: Path, videos: Path, root: Path, how: str, dataset: str = "ucf101") -> Path:
    prepare_folders(dataset, annotations, videos, root, splits=(1,), how=how, workers=1, progress=False)  # type: ignore[arg-type]
    return root / dataset / "clips"


def statuses(clips: Path) -> dict[str, tuple[str, str, str, str]]:
    with (clips / "manifest.csv").open(newline="") as file:
        return {r["clip_id"]: (r["split"], r["status"], r["cause"], r["frames"]) for r in csv.DictReader(file)}


@pytest.mark.parametrize("how", ["link", "copy"])
def test_clips_lie_where_the_scope_looks(tmp_path: Path, annotations: Path, videos: Path, how: str) -> None:
    clips = prepare(annotations, videos, tmp_path, how)
    table, _ = read_ucf101(annotations, split=1, clips=clips)
    assert [Path(path).exists() for path in table.path] == [True, False, True]
    assert statuses(clips) == {
        "v_Bowling_g02_c01": ("split1/train", "available", "", ""),
        "v_Bowling_g03_c01": ("split1/train", "missing", "no source clip, class Bowling", ""),
        "v_HandStandPushups_g01_c01": ("split1/test", "available", "", ""),
    }
    source = videos / "UCF-101" / BOW
    assert os.path.samefile(clips / BOW, source) == (how == "link")
    assert (clips / BOW).read_bytes() == source.read_bytes()
    before = (clips / BOW).stat().st_mtime_ns
    prepare(annotations, videos, tmp_path, how)
    assert (clips / BOW).stat().st_mtime_ns == before


def test_where_hard_links_cannot_be_symbolic_ones_are(
    tmp_path: Path, annotations: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.chdir(tmp_path)
    clips = prepare(annotations, Path("unpacked"), tmp_path, "link")
    assert (clips / BOW).is_symlink()
    assert numbers(clips / BOW)[:3] == numbers(videos / "UCF-101" / BOW)[:3]


def test_reencoded_clips_replace_links_not_sources(tmp_path: Path, annotations: Path, videos: Path) -> None:
    source = (videos / "UCF-101" / BOW).read_bytes()
    prepare(annotations, videos, tmp_path, "link")
    clips = prepare(annotations, videos, tmp_path, "reencode")
    assert (videos / "UCF-101" / BOW).read_bytes() == source
    with av.open(str(clips / BOW)) as clip:
        stream = clip.streams.video[0]
        assert (clip.format.name, stream.codec_context.name, stream.frames) == ("avi", "h264", 20)
        frames = list(clip.decode(video=0))
    assert (frames[0].width, frames[0].height) == (302, 256)
    assert [k for k, frame in enumerate(frames) if frame.key_frame] == [0, 8, 16]
    assert numbers(clips / BOW) == list(range(20))
    assert statuses(clips)["v_Bowling_g02_c01"] == ("split1/train", "available", "", "20")
    before = (clips / BOW).stat().st_mtime_ns
    prepare(annotations, videos, tmp_path, "reencode")
    assert (clips / BOW).stat().st_mtime_ns == before
    assert statuses(clips)["v_Bowling_g02_c01"][3] == "20"


def test_a_source_is_never_overwritten_and_folders_must_hold_clips(tmp_path: Path, annotations: Path) -> None:
    clips = tmp_path / "ucf101" / "clips"
    clips.mkdir(parents=True)
    with pytest.raises(DataError, match="re-encoding would overwrite the source"):
        prepare(annotations, clips, tmp_path, "reencode")
    with pytest.raises(DataError, match=r"none: holds no clips; expected the unpacked folder, for instance bowling/v_"):
        prepare(annotations, tmp_path / "none", tmp_path, "link")


def test_links_into_the_void_are_no_clips(tmp_path: Path, annotations: Path, videos: Path) -> None:
    gone = videos / "UCF-101" / GONE
    gone.symlink_to(tmp_path / "nowhere.avi")
    clips = prepare(annotations, videos, tmp_path, "link")
    assert statuses(clips)["v_Bowling_g03_c01"][1] == "missing"
    assert not (clips / GONE).is_symlink()


def test_hmdb51_names_that_shells_read_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    for k in range(50):
        (folder / f"c{k}_test_split1.txt").write_text(f"a_c{k}_u_nm_np1_ba_goo_0.avi 1 \n")
    (folder / "draw_sword_test_split1.txt").write_text(f"{Path(DRAW).name} 2 \n")
    source = tmp_path / "videos" / DRAW
    source.parent.mkdir(parents=True)
    source.write_bytes(b"a clip")
    clips = prepare(folder, tmp_path / "videos", tmp_path, "link", "hmdb51")
    assert (clips / DRAW).read_bytes() == b"a clip"
    assert statuses(clips)[Path(DRAW).stem] == ("split1/test", "available", "", "")
    assert sum(row[1] == "missing" for row in statuses(clips).values()) == 50


# FineDiving

HIGH, LOW, SYNCHRONISED = test_finediving.HIGH, test_finediving.LOW, test_finediving.SYNCHRONISED


def test_dives_from_frames_clips_and_whole_videos(tmp_path: Path) -> None:
    from PIL import Image

    annotations = tmp_path / "annotations"
    annotations.mkdir()
    test_finediving.write(annotations)
    sources = tmp_path / "sources"
    frames = sources / HIGH / "00"  # padded, as in the release
    frames.mkdir(parents=True)
    for number in range(98, 104):
        Image.fromarray(picture(number, 96, 64)).save(frames / f"{number:05}.jpg", quality=95)
    write_source(sources / HIGH / "1.mp4", 12)
    write_source(sources / f"{LOW}.mp4", 130)  # dives 0 and 2 are frames 100 … 104 and 100 … 103
    manifest = prepare_finediving(annotations, sources, tmp_path, workers=1, progress=False)
    clips = tmp_path / "finediving" / "clips"
    assert numbers(clips / f"{HIGH}_0.mp4") == list(range(98, 104))
    assert numbers(clips / f"{HIGH}_1.mp4") == list(range(12))
    assert numbers(clips / f"{LOW}_0.mp4") == [100, 101, 102, 103, 104]
    assert numbers(clips / f"{LOW}_2.mp4") == [100, 101, 102, 103]
    missing = f"no frames or video of {SYNCHRONISED}"
    assert statuses(clips)[f"{SYNCHRONISED}_3"] == ("train", "missing", missing, "")
    assert manifest.summary().splitlines()[1:3] == [
        "test          2          2         0         0",
        "train         3          2         1         0",
    ]
    with pytest.raises(DataError, match="none: no such folder; expected <video id>/<clip number>"):
        prepare_finediving(annotations, tmp_path / "none", tmp_path)
