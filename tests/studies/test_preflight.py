"""What the driver does with a scope's clips before any trial starts."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from sefar.config import TrainConfig
from sefar.data import framestore, scopes
from sefar.data.loaders import open_store
from sefar.data.synthgym import SynthGymConfig, clip_table, prepare
from sefar.errors import ConfigError, ScopeError
from sefar.recipes import recipe
from studies.engine.options import study_of, sweep_parser
from studies.engine.space import SCOPE_SWEEP
from studies.engine.workload import SefarWorkload

SMALL = SynthGymConfig(
    size=64, train_clips_per_element=2, test_clips_per_element=1, train_performers=1, test_performers=1
)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Plain lists of eight clips: two classes, two train, one unlabelled and one test clip each."""
    table = clip_table(SMALL).iloc[:8]
    folder = prepare(tmp_path / "clips", SMALL, clip_ids=list(table.clip_id), progress=False, workers=1)
    paths = [str(folder / path) for path in table.path]
    lists = tmp_path / "lists"
    lists.mkdir()
    for part, chosen in (("train", paths[:4]), ("unlabel", paths[4:6]), ("test", paths[6:])):
        (lists / f"{part}.csv").write_text("".join(f"{path} {i % 2}\n" for i, path in enumerate(chosen)))
    return recipe("synthgym_tiny", {"scope.name": f"lists:{lists}", "scope.root": str(tmp_path / "data")})


def clips_of(config: TrainConfig) -> list[Path]:
    scope = scopes.load_scope(config.scope)
    return [Path(p) for part in (scope.labelled, scope.unlabelled, scope.dev, scope.test) for p in part.path]


def test_all_parts_are_decoded_once(config, monkeypatch):
    decoded: list[str] = []
    real = framestore.decode_clip
    monkeypatch.setattr(framestore, "decode_clip", lambda path, *a, **k: decoded.append(path) or real(path, *a, **k))
    split_hash = SefarWorkload().prepare(config)
    assert split_hash == scopes.load_scope(config.scope).split_hash
    assert sorted(decoded) == sorted(str(p) for p in clips_of(config)) and len(decoded) == 8
    trainer = SefarWorkload().trainer(config)
    next(iter(trainer.source.batches(range(1), with_unlabelled=True)))
    trainer.close()
    SefarWorkload().prepare(config)
    assert len(decoded) == 8  # the trainer and a second run find everything


def test_where_no_trial_runs_nothing_is_decoded(config, monkeypatch):
    monkeypatch.setattr(framestore, "decode_clip", lambda path, *a, **k: pytest.fail("decoded"))
    assert SefarWorkload().prepare(config, decode=False) == scopes.load_scope(config.scope).split_hash


def test_missing_clips_stop_the_sweep_in_one_line(config):
    first, second = clips_of(config)[2:4]
    first.unlink()
    second.unlink()
    with pytest.raises(ScopeError, match=r"lists:.*: 2 clips are absent .*--allow-missing") as caught:
        SefarWorkload().prepare(config)
    assert str(first) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_clips_may_be_left_out(config):
    clips_of(config)[-1].unlink()
    allowed = config.override({"scope.allow_missing": True})
    split_hash = SefarWorkload().prepare(allowed)
    trainer = SefarWorkload().trainer(allowed)
    assert trainer.scope.missing == {"labelled": 0, "unlabelled": 0, "dev": 0, "test": 1}
    assert trainer.scope.split_hash == split_hash != trainer.scope.available_hash
    trainer.close()


def test_flags_of_scopes_reach_the_trials(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = sweep_parser("").parse_args(["--allow-missing", "--scopes", "folders:clips@0.1#2", "lists:some"])
    study = study_of(flags, "scope-sweep", SCOPE_SWEEP)
    assert study.base.scope.allow_missing
    assert study.scopes.values == (f"folders:{tmp_path}/clips@0.1#2", f"lists:{tmp_path}/some")
    assert not study_of(sweep_parser("").parse_args([]), "scope-sweep", SCOPE_SWEEP).base.scope.allow_missing


def test_a_study_needs_dev_clips(config):
    with pytest.raises(ConfigError, match=r"scope\.dev_fraction: a study chooses by dev clips, .* got 0"):
        SefarWorkload().prepare(config.override({"scope.dev_fraction": 0}))


def test_a_clip_that_does_not_decode_is_logged_once_and_stops_nothing(config, caplog):
    bad = clips_of(config)[-1]
    bad.write_bytes(b"no video")
    with caplog.at_level(logging.WARNING, logger="studies"):
        SefarWorkload().prepare(config)
    (record,) = [r for r in caplog.records if r.name.startswith("studies")]
    assert "1 of 8 clips" in record.getMessage() and str(bad) in record.getMessage()
    assert len(list(Path(config.scope.root, ".frames").rglob("*.npy"))) == 7


def test_a_frame_store_that_cannot_be_written_does_not_decode_everything(config, monkeypatch, tmp_path):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "data").mkdir()
    decoded: list[str] = []
    real = framestore.decode_clip
    monkeypatch.setattr(framestore, "decode_clip", lambda path, *a, **k: decoded.append(path) or real(path, *a, **k))
    monkeypatch.setattr("tempfile.mkstemp", full)
    monkeypatch.setattr("studies.engine.workload.os.sched_getaffinity", lambda _: {0, 1})
    SefarWorkload().prepare(config)
    assert 1 <= len(decoded) <= 2


def test_the_frame_store_flag_reaches_the_store(config, tmp_path):
    flags = sweep_parser("").parse_args(["--frame-store-gb", "2.5", "--root", str(tmp_path)])
    base = study_of(flags, "scope-sweep", SCOPE_SWEEP).base
    assert open_store(base.loader, base.views, base.scope.root).budget.limit_bytes == 2_500_000_000
    with pytest.raises(ConfigError, match=r"--frame-store-gb: expected a number ≥ 0, got '-1'"):
        sweep_parser("").parse_args(["--frame-store-gb", "-1"])


def test_a_store_that_is_off_is_not_filled(config):
    SefarWorkload().prepare(config.override({"loader.frame_store": "off"}))
    assert not Path(config.scope.root, ".frames").exists()
