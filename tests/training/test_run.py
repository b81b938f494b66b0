"""A run in a folder: what is written, and what is said when it cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.errors import CheckpointError, ConfigError, DataError, SefarError
from sefar.training import run
from sefar.training.device import choose_device
from sefar.training.run import train_in_folder
from sefar.training.run_folder import keep_epochs, to_json
from sefar.training.trainer import Trainer


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clip may be looked for."""

    def fail(*args: object) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr(run, "load_scope", fail)


def test_a_run_is_strict_json_and_prints_nothing(
    tiny_config: TrainConfig, tiny_scope: Scope, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config.override({"optim.epochs": 2})
    metrics = train_in_folder(config, tmp_path / "run", resume=False, device="cpu")
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "run" / "evaluation-test.json").read_text())["metrics"] == metrics

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert [line["unlabelled_loss"] is None for line in lines] == [True, False]  # the first epoch is warm-up
    events, *others = sorted((p.name for p in (tmp_path / "run").iterdir()), key=lambda n: (n[:6] != "events", n))
    assert events.startswith("events.out.tfevents.")
    assert others == [
        "checkpoint.pt",
        "config.json",
        "confusion-test.csv",
        "evaluation-test.json",
        "metrics.jsonl",
        "per_class-test.csv",
        "predictions-test.parquet",
        "pseudo_labels-test.csv",
        "reliability-test.csv",
        "versions.json",
    ]
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0] and versions["decord"] == "0.6.0"
    assert versions["device"] == "cpu" and versions["split_hash"] == tiny_scope.split_hash
    assert {"python", "sefar", "torchvision", "timm", "numpy", "platform"} < set(versions)
    assert None not in versions.values()


def test_a_run_that_could_not_save_an_epoch_resumes_from_the_one_before(
    tiny_config: TrainConfig,
    tiny_scope: Scope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    metrics = train_in_folder(tiny_config, whole, resume=False, device="cpu")
    save = torch.save

    def half(state: dict[str, Any], out: Any) -> None:
        save(state, out)
        if state["step"] == 4:  # the second epoch's
            out.truncate(100)
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt: cannot be written"):
            train_in_folder(tiny_config, torn, resume=False, device="cpu")
    assert len((torn / "metrics.jsonl").read_text().splitlines()) == 2  # written before the checkpoint
    assert not (torn / "evaluation-test.json").exists()
    (torn / "checkpoint.pt.x.part").write_bytes(b"of a killed writer")
    versions = json.loads((torn / "versions.json").read_text())
    (torn / "versions.json").write_text(json.dumps({**versions, "timm": "0.1"}))

    assert train_in_folder(tiny_config, torn, resume=True, device="cpu") == metrics
    assert [json.loads(line)["epoch"] for line in (torn / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert not list(torn.glob("*.part"))
    assert json.loads((torn / "versions.json").read_text()) == versions
    assert [r.message for r in caplog.records if r.name == "sefar.training.run"] == [
        f"{torn}: the run goes on with other versions (timm 0.1 → {versions['timm']})"
    ]
    for name in ("per_class-test.csv", "confusion-test.csv", "reliability-test.csv", "pseudo_labels-test.csv"):
        assert (torn / name).read_text() == (whole / name).read_text()


def test_json_knows_no_nan() -> None:
    assert to_json({"a": float("nan"), "b": {"c": float("inf"), "d": 1.5}, "e": "x"}) == (
        '{"a": null, "b": {"c": null, "d": 1.5}, "e": "x"}'
    )


def test_metrics_are_cut_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = tmp_path / "metrics.jsonl"
    text = '{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3}\n{"epo'
    metrics.write_text(text)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError):
            keep_epochs(metrics, 2)
    assert metrics.read_text() == text
    keep_epochs(metrics, 2)
    assert metrics.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("below", ["", "run", "deep/run"])
def test_a_folder_that_cannot_be_made_is_said_at_once(untouched: None, tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match=r"file.*: cannot be written \(.*file is not a folder\); choose another --out"):
        train_in_folder(TrainConfig(), file / below, resume=False, device="cpu")


def test_a_read_only_folder_is_said_at_once(untouched: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(DataError, match=rf"run: cannot be written \(no permission in {tmp_path}\)"):
        train_in_folder(TrainConfig(), tmp_path / "run", resume=True, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line_and_the_trainer_is_closed(
    tiny_config: TrainConfig, tiny_scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "write_whole", fail)
    monkeypatch.setattr(Trainer, "close", lambda self: closed.append(self))
    with pytest.raises(DataError, match=r"run: cannot be written \(No space left on device\); make room"):
        train_in_folder(tiny_config, tmp_path / "run", resume=False, device="cpu")
    assert len(closed) == 1


@pytest.mark.parametrize("device", ["cud", "cpu:x", "cuda:99", "meta"])
def test_an_unknown_device_is_named_before_any_clip_is_made(untouched: None, tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=rf"^device: '{device}' cannot be used here \(.*\) — valid: cpu") as caught:
        train_in_folder(TrainConfig(), tmp_path / "run", resume=False, device=device)
    assert isinstance(caught.value, SefarError) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_devices_that_are_there() -> None:
    names: list[Any] = ["cpu", torch.device("cpu")]
    assert [choose_device(name) for name in names] == [torch.device("cpu")] * 2
    assert choose_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
