"""Several stores become one, and nothing is overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sefar.errors import ConfigError, StoreError
from studies.results.compaction import compact
from studies.results.merge import merge
from studies.results.schema import TABLES
from studies.results.storage import Location
from studies.results.store import ResultStore
from studies.results.verify import verify
from tests.studies.stores import OTHER, SCOPE, attempt, data_files, epoch, learned


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))


def make(folder: Path, trials: dict[str, dict[int, float]], study: str = "s", **more) -> ResultStore:
    store = ResultStore(str(folder), create=True)
    for trial_id, values in trials.items():
        attempt(store, trial_id, values, study=study, clips=2, **more)
    return store


def test_trials_of_all_stores_come_together_and_a_second_merge_does_nothing(tmp_path):
    first = make(tmp_path / "a", {"s.0": {1: 1.0}, "s.1": {1: 2.0, 2: 3.0}})
    second = make(tmp_path / "b", {"s.2": {1: 4.0}, "s.3": {1: 5.0}})
    attempt(second, "s.3", {1: 6.0})  # an attempt more
    attempt(second, "o.0", {1: 7.0}, study="o", scope=OTHER)
    compact(first, pause_seconds=0.0)
    before = {table: first.read(table) for table in TABLES}
    target = ResultStore(str(tmp_path / "all"), create=True)
    done = merge(target, [first, second])
    assert done.copied == len(data_files(first)) + len(data_files(second)) and done.there == 0 and not done.renamed
    expected = {"s.0": {1: 1.0}, "s.1": {1: 2.0, 2: 3.0}, "s.2": {1: 4.0}, "s.3": {1: 6.0}, "o.0": {1: 7.0}}
    assert learned(target) == expected and target.problems() == []
    assert target.writer("s", "synthgym/core@1pc#0", "s.3").attempt == 3
    names = data_files(target)
    again = merge(target, [second, first])
    assert again.copied == 0 and data_files(target) == names and list(verify(target)) == []
    assert all(first.read(table).equals(rows) for table, rows in before.items())


def test_identical_rows_are_fine_however_they_are_stored(tmp_path):
    one = make(tmp_path / "a", {"s.0": {1: 1.0}, "s.1": {1: 2.0}})
    two = ResultStore(str(shutil.copytree(one.uri, tmp_path / "b")))
    attempt(two, "s.2", {1: 3.0}, study="s", clips=2)
    compact(two, pause_seconds=0.0)
    merge(one, [two])
    assert learned(one) == {"s.0": {1: 1.0}, "s.1": {1: 2.0}, "s.2": {1: 3.0}}
    assert len(one.trials(all_attempts=True)) == 3 and list(verify(one)) == []


def test_different_content_is_refused_before_anything_is_written(tmp_path):
    one = make(tmp_path / "a", {"s.0": {1: 1.0}}, study_hash="x")
    files = data_files(one)
    other = make(tmp_path / "b", {"s.0": {1: 9.0}, "s.1": {1: 2.0}}, study_hash="x")
    with pytest.raises(
        StoreError, match=r"study 's': 1 trials \(s.0\) have other trials in .*/a and .*/b; with --rename"
    ):
        merge(one, [other])
    settings = make(tmp_path / "c", {"s.5": {1: 1.0}}, study_hash="y")
    with pytest.raises(StoreError, match="run with different settings"):
        merge(one, [settings])
    target = ResultStore(str(tmp_path / "all"), create=True)
    with pytest.raises(StoreError, match="run with different settings"):  # of two sources
        merge(target, [one, settings])
    assert data_files(one) == files and data_files(target) == []
    with pytest.raises(ConfigError, match="into itself"):
        merge(one, [one])


def test_a_study_that_conflicts_gets_a_new_name_with_its_trials(tmp_path):
    one = make(tmp_path / "a", {"s.0": {1: 1.0}})
    two = make(tmp_path / "b", {"s.0": {1: 9.0}, "s.1": {1: 8.0}}, confirms="s.0")
    three = make(tmp_path / "c", {"s.0": {1: 7.0}})
    compact(two, pause_seconds=0.0)
    done = merge(one, [two, three], rename=True)
    assert done.renamed == {(two.uri, "s"): "s-2", (three.uri, "s"): "s-3"}
    rows = one.trials().set_index(["study", "trial_id"])
    assert rows.dev_student_top1.to_dict() == {
        ("s", "s.0"): 1.0, ("s-2", "s-2.0"): 9.0, ("s-2", "s-2.1"): 8.0, ("s-3", "s-3.0"): 7.0
    }  # fmt: skip
    assert rows.confirms["s-2"].tolist() == ["s-2.0", "s-2.0"] and list(verify(one)) == []
    assert one.predictions(study="s-2").trial_id.unique().tolist() == ["s-2.0", "s-2.1"]
    assert merge(one, [two, three], rename=True).copied == 0


def test_a_merge_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    source = make(tmp_path / "a", {"s.0": {1: 1.0, 2: 2.0}, "s.1": {1: 3.0}})
    attempt(source, "s.0", {2: 4.0}, clips=1)
    write, target = Location.write, ResultStore(str(tmp_path / "all"), create=True)
    for last in range(1, len(data_files(source)) + 1):
        left = iter(range(last))

        def broken(self: Location, name: str, data: bytes, left=left, **more) -> None:
            if next(left, None) is None:
                raise StoreError("no space left there")
            write(self, name, data, **more)

        shutil.rmtree(target.uri)
        target = ResultStore(target.uri, create=True)
        with monkeypatch.context() as patch, pytest.MonkeyPatch.context():
            patch.setattr(Location, "write", broken)
            try:
                merge(target, [source])
            except StoreError as error:
                assert "no space" in str(error)
        merge(target, [source])
        assert learned(target) == {"s.0": {1: 1.0, 2: 4.0}, "s.1": {1: 3.0}} and list(verify(target)) == []


def cut_off(merging: Callable[[], object], after: int) -> None:
    """Merge until so many files are written."""
    write, left = Location.write, iter(range(after))

    def broken(self: Location, name: str, data: bytes, **more) -> None:
        if not name.startswith("_") and next(left, None) is None:
            raise StoreError("no space left there")
        write(self, name, data, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Location, "write", broken)
        with pytest.raises(StoreError, match="no space"):
            merging()


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_merge_under_a_new_name_that_was_cut_off_goes_on(tmp_path, after, compacted):
    one, two = make(tmp_path / "a", {"s.0": {1: 1.0}}), make(tmp_path / "b", {"s.1": {1: 7.0}})
    attempt(two, "s.0", {1: 8.0, 2: 9.0}, "running")
    attempt(two, "s.0", {2: 8.0}, clips=2)
    cut_off(lambda: merge(one, [two], rename=True), after)
    if compacted:  # what was replaced is gone from it since
        compact(two, pause_seconds=0.0)
    merge(one, [two], rename=True)
    assert learned(one) == {"s.0": {1: 1.0}, "s-2.0": {1: 8.0, 2: 8.0}, "s-2.1": {1: 7.0}}
    assert list(verify(one)) == [] and merge(one, [two], rename=True).copied == 0
    assert one.trials().groupby("study").size().to_dict() == {"s": 1, "s-2": 2}


@pytest.mark.parametrize("after", [1, 2])
def test_a_merge_that_was_cut_off_goes_on_after_the_source_was_compacted(tmp_path, after):
    source, target = make(tmp_path / "a", {}), make(tmp_path / "all", {})
    attempt(source, "s.0", {1: 1.0, 2: 2.0}, "running", study="s")
    attempt(source, "s.0", {2: 3.0}, study="s")
    cut_off(lambda: merge(target, [source]), after)
    compact(source, pause_seconds=0.0)
    merge(target, [source])
    assert learned(target) == {"s.0": {1: 1.0, 2: 3.0}} and target.trials().status.tolist() == ["finished"]
    assert merge(target, [source]).copied == 0


def test_an_earlier_state_of_a_store_and_a_later_one_in_any_order(tmp_path):
    early = make(tmp_path / "early", {"s.1": {1: 1.0}})
    attempt(early, "s.0", {1: 1.0}, "running")
    late = ResultStore(str(shutil.copytree(early.uri, tmp_path / "late")))
    attempt(late, "s.0", {1: 5.0, 2: 6.0})
    expected = {"s.0": {1: 5.0, 2: 6.0}, "s.1": {1: 1.0}}
    for number, order in enumerate(([early, late], [late, early])):
        target = ResultStore(str(tmp_path / f"all{number}"), create=True)
        merge(target, order)
        assert learned(target) == expected
        for again in ([early, late], [late, early], [early]):
            assert merge(target, again).copied == 0 and learned(target) == expected


@pytest.mark.parametrize("rename", [False, True])
def test_a_trial_that_ran_when_it_was_merged_has_gone_on_since(tmp_path, rename):
    source, target = ResultStore(str(tmp_path / "a"), create=True), ResultStore(str(tmp_path / "all"), create=True)
    begun = {"number": 0, "started_at": "2026-01-01T00:00:00+00:00", "host": "node"}
    writer, other = (source.writer("s", SCOPE, trial) for trial in ("s.0", "s.1"))
    for one in (writer, other):
        one.trial(begun | {"status": "running", "epochs_done": 1})
        one.epoch(epoch(1, 1.0))
    merge(target, [source])
    writer.epoch(epoch(2, 2.0))
    writer.trial(begun | {"status": "finished", "epochs_done": 2})
    source.amend("s", SCOPE, "s.1", {"status": "pruned"}, {})  # by the driver
    done = merge(target, [source], rename=rename)
    assert done.copied == 3 and not done.renamed
    assert learned(target) == {"s.0": {1: 1.0, 2: 2.0}, "s.1": {1: 1.0}}
    assert target.trials().status.tolist() == ["finished", "pruned"] and merge(target, [source]).copied == 0
    attempt(target, "s.0", {2: 3.0})  # which now is the later state
    writer.epoch(epoch(3, 3.0))
    with pytest.raises(StoreError, match=r"1 trials \(s.0\) have other epochs"):  # both have gone on
        merge(target, [source])


def test_a_number_here_and_a_number_there_beside_texts_are_the_same(tmp_path):
    one = make(tmp_path / "a", {"s.0": {1: 1.0}}, **{"config.x": 0.5})
    two = ResultStore(str(shutil.copytree(one.uri, tmp_path / "b")))
    attempt(two, "s.1", {1: 2.0}, study="s", **{"config.x": "none"})
    merge(one, [two])
    assert one.trials()["config.x"].tolist() == ["0.5", "none"]
    assert merge(two, [one]).copied == 0


def test_grids_of_another_recipe_are_another_study_and_an_unrelated_name_is_not_taken(tmp_path):
    one = make(tmp_path / "a", {"s.0": {1: 1.0}}, recipe="synthgym_tiny")
    attempt(one, "x.7", {1: 3.0}, study="s-2")
    two = make(tmp_path / "b", {"s.1": {1: 2.0}}, recipe="fx")
    with pytest.raises(StoreError, match="study 's' was run with different settings"):
        merge(one, [two])
    assert merge(one, [two], rename=True).renamed == {(two.uri, "s"): "s-3"}
    assert one.trials()[["study", "trial_id"]].values.tolist() == [["s", "s.0"], ["s-2", "x.7"], ["s-3", "s-3.1"]]


def test_a_torn_file_of_the_target_is_named_and_left(tmp_path):
    source, target = make(tmp_path / "a", {"s.0": {1: 1.0}}), ResultStore(str(tmp_path / "all"), create=True)
    merge(target, [source])
    (torn,) = Path(target.uri, "epochs").rglob("s.0-a1.parquet")
    torn.write_bytes(b"torn")
    done = merge(target, [source])
    assert done.copied == 0 and torn.read_bytes() == b"torn"
    (problem,) = done.skipped
    assert str(torn) in problem and "torn" in problem
    torn.unlink()
    assert merge(target, [source]).copied == 1 and learned(target) == {"s.0": {1: 1.0}}


def test_torn_files_are_left_out_and_named(tmp_path):
    source = make(tmp_path / "a", {"s.0": {1: 1.0}, "s.1": {1: 3.0}})
    (torn,) = Path(source.uri, "epochs").rglob("s.1-a1.parquet")
    torn.write_bytes(b"torn")
    target = ResultStore(str(tmp_path / "all"), create=True)
    done = merge(target, [source])
    assert len(done.skipped) == 1 and "s.1-a1.parquet: torn" in done.skipped[0]
    assert learned(target) == {"s.0": {1: 1.0}}
