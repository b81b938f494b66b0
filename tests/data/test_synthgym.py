import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sefar
from sefar.data.annotations import CLIP_COLUMNS
from sefar.data.synthgym import (
    DIFFICULTIES,
    ELEMENTS,
    EVENTS,
    PRETRAIN_TARGETS,
    SynthGymConfig,
    clip_frames,
    clip_table,
    dataset_dir,
    prepare,
    pretrain_frames,
    truth_table,
)
from sefar.data.synthgym.conditions import Conditions, draw_conditions, generator
from sefar.data.synthgym.figure import make_performer
from sefar.data.synthgym.motion import pose_trajectory
from sefar.data.synthgym.processes import in_processes
from sefar.data.synthgym.render import clip_points, film, render_frames
from sefar.data.synthgym.skeleton import COLUMN, POINT, Proportions, relative_points
from sefar.data.synthgym.video import encode_clip
from sefar.errors import ConfigError, DataError

SMALL = SynthGymConfig(
    size=64, train_clips_per_element=2, test_clips_per_element=1, train_performers=2, test_performers=1
)
PERFORMER = make_performer(0, "someone", palette=0.5)


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Catalogue


def test_catalogue_counts():
    assert len(ELEMENTS) >= 40
    assert [e.element_id for e in ELEMENTS] == list(range(len(ELEMENTS)))
    assert len({e.name for e in ELEMENTS}) == len(ELEMENTS)
    assert {e.event for e in ELEMENTS} == set(EVENTS) == {"VT", "UB", "BB", "FX"}
    sets = Counter(e.set for e in ELEMENTS)
    assert len(sets) >= 10
    assert set(sets.values()) == {4}
    assert sum(e.event == "FX" for e in ELEMENTS) == 12
    assert all(e.set.startswith(f"{e.event} ") and e.name.startswith(f"({e.event}) ") for e in ELEMENTS)


def test_turns_are_slow_enough_for_eight_frames():
    # Half a turn between two sampled frames could not be told from its reversal.
    times = np.linspace(0, 1, 200)
    for element in ELEMENTS:
        pose = pose_trajectory(element, times)
        assert np.ptp(pose[:, COLUMN["rotation"]]) <= 2.2 * 2 * np.pi, element.name
        step = np.abs(np.diff(pose_trajectory(element, (np.arange(8) + 0.5) / 8)[:, :2], axis=0))
        assert step.max() < 0.8 * np.pi, element.name


def test_rotation_has_the_named_direction():
    for element in ELEMENTS:
        rotation = pose_trajectory(element, np.array([0.0, 1.0]))[:, COLUMN["rotation"]]
        for word, sign in (("forward", 1), ("backward", -1)):
            if word in element.name and "flic" not in element.name:
                facing = np.cos(pose_trajectory(element, np.array([0.0]))[0, COLUMN["twist"]])
                assert np.sign((rotation[1] - rotation[0]) * facing) == sign, element.name


def test_pairs_point_at_each_other():
    pairs = [e for e in ELEMENTS if e.reverse_of is not None]
    assert len(pairs) >= 6
    assert len({e.event for e in pairs}) >= 2
    for element in ELEMENTS:
        if element.pair_of is not None:
            other = ELEMENTS[element.pair_of]
            assert other.pair_of == element.element_id
            assert (element.reverse_of is None) != (other.reverse_of is None)
            assert element.event == other.event


# Motion


@pytest.mark.parametrize("element", [e for e in ELEMENTS if e.reverse_of is not None], ids=lambda e: e.name)
def test_pair_is_the_exact_time_reversal(element):
    other = ELEMENTS[element.reverse_of]
    conditions = Conditions(frames=21, clutter=0)
    mine = clip_points(element, PERFORMER, conditions)
    theirs = clip_points(other, PERFORMER, conditions)
    np.testing.assert_allclose(mine, theirs[::-1], atol=1e-9)
    # The direction is what differs, so the pair must not be its own reversal.
    assert np.abs(mine - theirs).max() > 0.3
    frames = [render_frames(e, PERFORMER, conditions, size=64) for e in (element, other)]
    np.testing.assert_array_equal(frames[0], frames[1][::-1])


def test_bodies_move_without_jumps():
    for element in ELEMENTS:
        points = clip_points(element, PERFORMER, Conditions(frames=400))
        assert np.abs(np.diff(points[:, POINT["pelvis"]], axis=0)).max() < 0.1, element.name


def test_forward_kinematics_by_hand():
    pose = np.zeros((3, 12))
    pose[1, COLUMN["rotation"]] = np.pi / 2  # Head forward, to the right.
    pose[2, COLUMN["hip_right"]] = np.pi / 2
    pose[2, COLUMN["twist"]] = np.pi  # The thigh now points left.
    p = Proportions()
    points = relative_points(pose, p)
    np.testing.assert_allclose(points[0, POINT["neck"]], [0, p.torso, 0], atol=1e-12)
    np.testing.assert_allclose(points[0, POINT["foot_right"]], [0, -p.thigh - p.shank, p.hip_half], atol=1e-12)
    np.testing.assert_allclose(points[1, POINT["neck"]], [p.torso, 0, 0], atol=1e-12)
    np.testing.assert_allclose(points[2, POINT["knee_right"]], [-p.thigh, 0, -p.hip_half], atol=1e-12)


# Pictures


@pytest.mark.parametrize("name", ["(FX) salto backward with 0.5 turn", "(VT) tsukahara piked", "(UB) stalder forward"])
def test_facing_left_is_the_mirror_of_facing_right(name):
    element = next(e for e in ELEMENTS if e.name == name)
    conditions = draw_conditions(DIFFICULTIES["standard"], 0, "clip")
    right, left = (
        render_frames(element, PERFORMER, dataclasses.replace(conditions, facing=facing), size=64) for facing in (1, -1)
    )
    np.testing.assert_array_equal(left, right[:, :, ::-1])


def test_figure_stays_in_the_central_crop():
    config = SynthGymConfig(train_clips_per_element=1, test_clips_per_element=4)
    outside = []
    for element in ELEMENTS:
        for index in range(4):
            conditions = draw_conditions(config.ranges, 0, f"{element.name}{index}")
            points = clip_points(element, PERFORMER, conditions)
            picture = film(points, conditions, 100).project(points)[..., :2]
            # a hand may leave the picture for a moment, the performer never does
            assert ((picture < 0) | (picture > 100)).mean() < 0.05, element.name
            outside.append(float(((picture < 10) | (picture > 90)).mean()))
    assert np.mean(outside) < 0.02


def test_conditions_do_not_depend_on_the_picture_size():
    small = clip_table(SMALL)
    large = clip_table(dataclasses.replace(SMALL, size=96))
    pd.testing.assert_frame_equal(small, large)
    clip_id = small["clip_id"][0]
    assert clip_frames(SMALL, clip_id).shape == (small["end_frame"][0], 64, 64, 3)


# Clip table


def test_clip_table():
    table = clip_table(SMALL)
    assert list(table.columns) == [*CLIP_COLUMNS, "pairs", "core"]
    assert len(table) == 3 * len(ELEMENTS)
    assert table["clip_id"].is_unique
    assert table["path"].is_unique
    assert sorted(table["label"].unique()) == list(range(len(ELEMENTS)))
    groups = table.groupby("split")["group"].agg(set)
    assert not groups["train"] & groups["test"]
    assert table["pairs"].sum() == 3 * sum(e.pair_of is not None for e in ELEMENTS)
    assert table[table["core"]].groupby("event")["label"].nunique().tolist() == [3, 3, 3, 3]
    assert ((table["end_frame"] >= 24) & (table["end_frame"] <= 40)).all()


def test_clips_do_not_depend_on_how_many_there_are():
    more = clip_table(dataclasses.replace(SMALL, train_clips_per_element=5))
    fewer = clip_table(SMALL)
    common = more.merge(fewer, on="clip_id", suffixes=("_more", "_fewer"))
    assert len(common) == len(fewer)
    assert (common["end_frame_more"] == common["end_frame_fewer"]).all()


def test_random_numbers_are_pinned():
    # A change here silently changes every data set: raise GENERATOR_VERSION.
    assert generator(3, "a").integers(1000, size=3).tolist() == [949, 470, 712]


def test_truth_matches_the_clips():
    table, truth = clip_table(SMALL), truth_table(SMALL)
    assert (truth["clip_id"] == table["clip_id"]).all()
    assert (truth["pose_rotation_rad"].map(len) == table["end_frame"]).all()


# Files


def test_files_are_decoded_with_the_stated_number_of_frames(tmp_path):
    decord = pytest.importorskip("decord")
    table = clip_table(SMALL).iloc[::17]
    folder = prepare(tmp_path, SMALL, clip_ids=list(table["clip_id"]), progress=False)
    for row in table.itertuples():
        reader = decord.VideoReader(str(folder / row.path), num_threads=1)
        assert len(reader) == row.end_frame
        frames = reader.get_batch(range(row.end_frame)).asnumpy()
        assert frames.shape == (row.end_frame, 64, 64, 3)
        assert reader.get_avg_fps() == 25
        # Frames come in order and as drawn, up to compression, which smooths picture noise of up to 13 levels.
        assert np.abs(frames.astype(int) - clip_frames(SMALL, row.clip_id)).mean() < 10


def test_same_bytes_whatever_the_number_of_workers(tmp_path):
    ids = list(clip_table(SMALL)["clip_id"][::24])
    one = prepare(tmp_path / "one", SMALL, clip_ids=ids, workers=1, progress=False)
    two = prepare(tmp_path / "two", SMALL, clip_ids=ids, workers=2, progress=False)
    assert _digest(one) == _digest(two)
    assert len(list(one.rglob("*.mp4"))) == len(ids)
    assert {"clips.parquet", "truth.parquet", "synthgym.json"} <= set(_digest(one))


def test_second_prepare_adds_only_what_is_missing(tmp_path, monkeypatch):
    ids = list(clip_table(SMALL)["clip_id"][:3])
    folder = prepare(tmp_path, SMALL, clip_ids=ids[:2], progress=False)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert prepare(tmp_path, SMALL, clip_ids=ids, progress=False) == folder == dataset_dir(tmp_path, SMALL)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.rglob("*.mp4"))) == 3
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "clips.parquet"), clip_table(SMALL))
    assert json.loads((folder / "synthgym.json").read_text())["config"]["size"] == 64

    def refuse(*args: object) -> None:
        raise AssertionError("nothing is missing")

    monkeypatch.setattr("sefar.data.synthgym.dataset.render_clip", refuse)
    prepare(tmp_path, SMALL, clip_ids=ids, progress=False)


def test_two_processes_at_once_and_an_interruption_end_well(tmp_path):
    ids = list(clip_table(SMALL)["clip_id"][:40])
    script = (
        "import sys, json\n"
        "from sefar.data.synthgym import SynthGymConfig, prepare\n"
        "prepare(sys.argv[1], SynthGymConfig(**json.loads(sys.argv[2])), clip_ids=json.loads(sys.argv[3]), workers=1)\n"
    )
    source = str(Path(sefar.__file__).parents[1])
    command = [sys.executable, "-c", script, str(tmp_path), json.dumps(dataclasses.asdict(SMALL)), json.dumps(ids)]
    environment = {**os.environ, "PYTHONPATH": source}
    both = [subprocess.Popen(command, env=environment) for _ in range(3)]
    both[2].kill()  # At whatever point it has reached.
    assert [process.wait() for process in both[:2]] == [0, 0]
    both[2].wait()
    folder = dataset_dir(tmp_path, SMALL)
    table = clip_table(SMALL).set_index("clip_id")
    for clip_id in ids:
        path = folder / table.loc[clip_id, "path"]
        assert path.read_bytes() == encode_clip(clip_frames(SMALL, clip_id))
    assert len(list(folder.rglob("*.mp4"))) == len(ids)


def test_interrupted_clip_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    clip_id = clip_table(SMALL)["clip_id"][0]
    folder = prepare(tmp_path, SMALL, clip_ids=[], progress=False)
    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, SMALL, clip_ids=[clip_id], progress=False)
    assert [p for p in folder.rglob("*") if p.suffix in (".tmp", ".mp4")] == []


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 65}, "even and at least 64 pixels .* got 65"),
        ({"size": 32}, "got 32"),
        ({"difficulty": "standart"}, "unknown difficulty 'standart' — did you mean 'standard'"),
        ({"test_performers": 0}, "test_performers must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_wrong_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        SynthGymConfig(**changes)


def test_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*cannot write .*choose a root folder that you may write to"):
        prepare(tmp_path / "file", SMALL, clip_ids=[], progress=False)


@pytest.mark.parametrize("target", ["os.replace", "os.fsync"])
def test_full_disk(tmp_path, monkeypatch, target):
    clip_id = clip_table(SMALL)["clip_id"][0]
    folder = prepare(tmp_path, SMALL, clip_ids=[], progress=False)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(target, full)
    with pytest.raises(DataError, match=rf"{clip_id}\.mp4: cannot write \(No space left on device\); free some space"):
        prepare(tmp_path, SMALL, clip_ids=[clip_id], progress=False)
    assert not list(folder.rglob("*.part"))


def test_unknown_clip(tmp_path):
    with pytest.raises(DataError, match="no clip 'nobody'"):
        prepare(tmp_path, SMALL, clip_ids=["nobody"], progress=False)


def test_errors_of_rendering_processes_reach_the_caller(tmp_path):
    clip_id = clip_table(SMALL)["clip_id"][0]
    with pytest.raises(DataError, match=r"^no SynthGym clip is called 'nobody'"):
        list(in_processes(tmp_path, SMALL, [("nobody", "nobody.mp4")], workers=1))
    with pytest.raises(DataError, match=r"^/.*/absent/a\.mp4: cannot write \(No such file or directory\)"):
        list(in_processes(tmp_path, SMALL, [(clip_id, "a.mp4"), (clip_id, "absent/a.mp4")], workers=2))


# Pretraining


def test_pretrain_frames():
    pictures, targets = pretrain_frames(40, size=64, seed=5)
    assert pictures.shape == (40, 64, 64, 3)
    assert pictures.dtype == np.uint8
    assert targets.shape == (40, len(PRETRAIN_TARGETS))
    assert targets.dtype == np.float32
    assert np.abs(targets).max() < 3
    again = pretrain_frames(40, size=64, seed=5)
    np.testing.assert_array_equal(pictures, again[0])
    np.testing.assert_array_equal(targets, again[1])
    assert (pretrain_frames(40, size=64, seed=6)[0] != pictures).any()
    column = {name: index for index, name in enumerate(PRETRAIN_TARGETS)}
    for angle in ("rotation", "twist"):
        squares = targets[:, column[f"{angle}_sin"]] ** 2 + targets[:, column[f"{angle}_cos"]] ** 2
        np.testing.assert_allclose(squares, 1, atol=1e-5)


def test_pretrain_targets_agree_with_the_points_in_the_picture():
    _, targets = pretrain_frames(60, size=64, seed=1)
    value = dict(zip(PRETRAIN_TARGETS, targets.T, strict=True))
    # The trunk's angle is defined by two points that are targets themselves, so mirroring must keep them consistent.
    angle = np.arctan2(value["neck_x"] - value["pelvis_x"], value["pelvis_y"] - value["neck_y"])
    np.testing.assert_allclose(np.sin(angle), value["rotation_sin"], atol=1e-4)
    np.testing.assert_allclose(np.cos(angle), value["rotation_cos"], atol=1e-4)


def test_import_needs_no_video_library():
    code = "import sys, sefar.data.synthgym; print({'av', 'tqdm', 'decord'} & set(sys.modules))"
    source = str(Path(sefar.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "set()", done.stderr
