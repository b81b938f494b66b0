"""Filling a frame store with Ray Data: each clip once, restartable, with what does not decode told."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from sefar.config import TrainConfig
from sefar.data.loaders import open_store
from sefar.data.synthgym import SynthGymConfig, clip_table, prepare
from sefar.errors import ConfigError, DataError
from sefar.recipes import recipe
from studies import predecode as command
from studies.engine import predecode, shared_folder
from studies.engine.predecode import Filled, Window, fill

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SMALL = SynthGymConfig(
    size=64, train_clips_per_element=2, test_clips_per_element=1, train_performers=1, test_performers=1
)
CLIPS = 24


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    table = clip_table(SMALL).iloc[:CLIPS]
    folder = prepare(tmp_path_factory.mktemp("clips"), SMALL, clip_ids=list(table.clip_id), progress=False, workers=1)
    return [str(folder / path) for path in table.path]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # socket paths must be short
    paths = {"PYTHONPATH": str(ROOT)}
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": paths},
        _temp_dir=folder,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return recipe("synthgym_tiny", {"loader.frame_store_folder": str(tmp_path / "frames"), "scope.root": str(tmp_path)})


def stored(config: TrainConfig) -> dict[str, int]:
    root = open_store(config.loader, config.views, config.scope.root).root
    return {str(file.relative_to(root)): file.stat().st_mtime_ns for file in root.glob("[0-9a-f][0-9a-f]/*")}


def windows(clips: list[str]) -> list[Window]:
    return [(path, 0, 20) for path in clips]


def test_each_clip_is_decoded_once_and_what_lies_there_is_left_alone(cluster, config, clips):
    dealt: list[int] = []
    first = fill(config, windows(clips[:5]), address="local", on_clips=dealt.append)
    assert (first.decoded, first.there, first.failures, sum(dealt)) == (5, 0, [], 5)
    assert sum(first.hosts.values()) == 5
    before = stored(config)
    assert len(before) == 5
    second = fill(config, windows(clips), address="local", on_clips=dealt.append)
    assert (second.decoded, second.there, second.failures) == (CLIPS - 5, 5, [])
    assert before.items() <= stored(config).items() and len(stored(config)) == CLIPS
    assert (
        second.stored_bytes
        == sum(file.stat().st_size for file in Path(config.loader.frame_store_folder).glob("??/*")) - first.stored_bytes
    )
    assert sum(dealt) == 5 + CLIPS
    # as trials find them
    store = open_store(config.loader, config.views, config.scope.root)
    assert store.frames(clips[0], 0, 20)[[0, 19]].shape[0] == 2


def test_a_full_store_needs_no_cluster(config, clips, monkeypatch):
    store = open_store(config.loader, config.views, config.scope.root)
    for window in windows(clips[:2]):
        store.frames(*window)
    monkeypatch.setattr(predecode, "connected", lambda cluster: pytest.fail("Ray was started"))
    assert fill(config, windows(clips[:2]), address="local").there == 2


def test_what_does_not_decode_is_told_and_the_rest_is_stored(cluster, config, clips, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(Path(clips[0]).read_bytes()[:600])
    filled = fill(config, windows([*clips[:3], str(broken), str(tmp_path / "gone.mp4")]), address="local")
    assert filled.decoded == 3 and len(stored(config)) == 3
    assert len(filled.failures) == 2
    assert any("broken.mp4" in line for line in filled.failures) and any("gone.mp4" in line for line in filled.failures)


def test_what_finds_no_room_is_told(cluster, config, clips):
    config = config.override({"loader.frame_store_gb": 1e-6})
    filled = fill(config, windows(clips[:3]), address="local")
    ((reason, count),) = filled.not_kept.items()
    assert count == 3 and "limit of 1e-06 GB" in reason and filled.decoded == 0


def test_every_node_gets_a_store_of_its_own(cluster, config, clips):
    filled = fill(config, windows(clips[:4]), address="local", each_node=True)
    assert filled.decoded == 4 and len(stored(config)) == 4
    again = fill(config, windows(clips[:4]), address="local", each_node=True)
    assert (again.decoded, again.there) == (0, 4)


def test_a_folder_that_some_node_does_not_see_is_refused(cluster, config, clips, monkeypatch):
    monkeypatch.setattr(shared_folder, "_sees", lambda path: ("node-b", False))
    with pytest.raises(ConfigError, match=r"frames: node node-b does not see this folder; put it on .* --each-node$"):
        fill(config, windows(clips[:1]), address="local")
    assert list(Path(config.loader.frame_store_folder).iterdir()) == []


def test_without_a_store_there_is_nothing_to_fill(config, clips):
    with pytest.raises(ConfigError, match="no frame store to fill"):
        fill(config.override({"loader.frame_store": "off"}), windows(clips), address="local")


@pytest.mark.parametrize(("flags", "failures", "code"), [([], ["x"], 1), (["--allow-missing"], ["x"], 0), ([], [], 0)])
def test_clips_that_do_not_decode_are_an_error_unless_allowed(lists, monkeypatch, capsys, flags, failures, code):
    monkeypatch.setattr(predecode, "fill", lambda *args, **kwargs: Filled(decoded=3, failures=failures, seconds=2.0))
    arguments = ["--scopes", f"lists:{lists}", "--root", str(lists.parent / "data"), *flags]
    assert command.run(command.parser().parse_args(arguments)) == code
    said = capsys.readouterr().out.splitlines()
    assert said[:-2] == ["does not decode: x"] * len(failures)
    assert said[-2] == f"240 clips: 3 decoded (0.00 GB), 0 were there, {len(failures)} do not decode; 2.0 s"
    assert said[-1] == f"store: {lists.parent}/data/.frames"


def test_no_room_is_an_error(lists, monkeypatch):
    monkeypatch.setattr(predecode, "fill", lambda *args, **kwargs: Filled(not_kept={"node-a: the disk is full": 7}))
    arguments = ["--scopes", f"lists:{lists}", "--root", str(lists.parent / "data")]
    with pytest.raises(DataError, match=r"^7 clips are not in the store, which says: node-a: the disk is full$"):
        command.run(command.parser().parse_args(arguments))


def test_counts() -> None:
    filled = Filled()
    for outcome in (("a", "decoded", "", 10), ("b", "decoded", "", 5), ("a", "there", "", 0), ("a", "failed", "x", 0)):
        filled.add(*outcome)
    filled.add("a", "not kept", "full", 0)
    filled.add("b", "not kept", "full", 0)
    assert (filled.decoded, filled.stored_bytes, filled.there) == (2, 15, 1)
    assert (filled.hosts, filled.failures, filled.not_kept) == ({"a": 1, "b": 1}, ["x"], {"full": 2})


@pytest.fixture
def lists(tmp_path: Path, clips: list[str]) -> Path:
    """A scope of plain lists over copies of the clips, many enough to be killed amid."""
    folder = tmp_path / "lists"
    (folder / "clips").mkdir(parents=True)
    paths = []
    for number in range(10 * CLIPS):
        paths.append(folder / f"clips/{number:03d}.mp4")
        shutil.copy(clips[number % CLIPS], paths[-1])
    for part, chosen in (("train", paths[:40]), ("unlabel", paths[40:200]), ("test", paths[200:])):
        (folder / f"{part}.csv").write_text("".join(f"{path} {i % 2}\n" for i, path in enumerate(chosen)))
    return folder


def script(lists: Path, frames: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "studies/predecode.py"), "--scopes", f"lists:{lists}", "--address", "local"]
    command += ["--set", f"loader.frame_store_folder={frames}", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=lists.parent)


def test_killed_and_run_again_it_finishes_what_is_missing(lists, tmp_path):
    frames = tmp_path / "frames"
    first = script(lists, frames)
    deadline = time.monotonic() + 120
    while len(list(frames.glob("[0-9a-f][0-9a-f]/*"))) < 20:
        assert first.poll() is None and time.monotonic() < deadline, first.communicate(timeout=10)
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    time.sleep(3)  # its workers end with it
    there = {f for f in frames.glob("[0-9a-f][0-9a-f]/*") if not f.name.endswith(".part")}
    times = {f: f.stat().st_mtime_ns for f in there}
    assert 20 <= len(there) < 240
    (lists / "clips/239.mp4").write_bytes(b"no video")
    again = script(lists, frames)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 1, err  # for the clip that does not decode
    lines = out.splitlines()
    assert lines[0].startswith("does not decode: ") and "239.mp4" in lines[0]
    counts = f"240 clips: {239 - len(there)} decoded ("
    assert lines[1].startswith(counts) and f"{len(there)} were there, 1 do not decode" in lines[1]
    assert {f: f.stat().st_mtime_ns for f in there} == times


def test_a_wrong_flag_is_one_line(lists, tmp_path):
    done = script(lists, tmp_path, "--each-nod")
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out, err) == (2, "", "error: --each-nod: unknown flag — did you mean '--each-node'?\n")
