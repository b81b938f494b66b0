"""The command that draws what a store allows."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sefar.errors import ConfigError, DataError
from studies.results.figures import __main__ as gallery
from studies.results.figures.__main__ import draw_store
from studies.results.store import ResultStore
from tests.studies.figures.synthetic import SIX_SCOPES, epochs_of, predictions_of, regulation_of, search_trials


@pytest.fixture
def store(tmp_path) -> ResultStore:
    """A sweep of one scope with everything that its trials write, but for the regulation of one."""
    store = ResultStore(tmp_path / "store", create=True)
    trials = search_trials(SIX_SCOPES[:1], 6)
    epochs = epochs_of(trials)
    for number, row in enumerate(trials.replace({np.nan: None}).to_dict("records")):
        writer = store.writer("s", row["scope"], row["trial_id"])
        writer.trial({k: v for k, v in row.items() if k not in ("study", "scope")} | {"space_hash": "x"})
        writer.write("epochs", epochs[epochs.trial_id == row["trial_id"]].drop(columns=["scope", "trial_id"]))
        if row["status"] == "finished":
            writer.write("predictions", predictions_of(row["trial_id"], 5, 4, seed=number).drop(columns="trial_id"))
        if row["role"] == "default":
            writer.write("regulation", regulation_of(epochs=1).drop(columns="trial_id"))
    return store


def test_every_figure_is_drawn_or_its_absence_explained(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["figures", store.uri, "--out", str(tmp_path / "out")])
    gallery.main()
    lines = capsys.readouterr().out.splitlines()
    pictures = {path.name for path in (tmp_path / "out" / "s").iterdir()}
    drawn = {name.removesuffix(".png") for name in pictures if name.endswith(".png")}
    assert {"leaderboard", "learning-curves", "cost", "regulation", "confusion", "per-class", "regret"} <= drawn
    assert {f"{name}.svg" for name in drawn} | {f"{name}.png" for name in drawn} == pictures
    assert {line for line in lines if not line.startswith("not drawn")} == {
        str(tmp_path / "out" / "s" / f"{name}.png") for name in drawn
    }
    assert any(line.startswith("not drawn: s/importance: no importance of parameters") for line in lines)


def test_a_folder_that_cannot_be_written_and_an_unknown_study_are_one_line(store, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"--out .*file: cannot be written \(.*\); name another folder"):
        draw_store(store, tmp_path / "file")
    with pytest.raises(ConfigError, match="has no study 't'"):
        draw_store(store, tmp_path / "out", study="t")
