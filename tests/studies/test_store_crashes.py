"""Whatever trials do, and wherever their processes are killed: no finished epoch is lost, none is seen twice."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.results.compaction import compact
from studies.results.store import ResultStore
from studies.results.verify import verify
from studies.results.writer import TrialWriter
from tests.studies.stores import SCOPE, Disk, Killed, breakable_disk, data_files, epoch, learned

TRIALS = ("t0", "t1", "t2")


class Study:
    """Trials that write, end, are taken up again, are compacted, and what a reader must see of them."""

    def __init__(self, folder: str, disk: Disk) -> None:
        disk.start()
        self.disk, self.store = disk, ResultStore(folder, create=True)
        self.writers: dict[str, TrialWriter] = {}
        self.epochs: dict[str, dict[int, float]] = {}
        self.status: dict[str, str] = {}
        self.value = 0.0

    def act(self, what: str, trial: str, kill_at: int) -> None:
        """Do something, and be killed before a step of it; 0: not at all."""
        self.disk.start(kill_at)
        epochs, status = {t: dict(e) for t, e in self.epochs.items()}, dict(self.status)
        try:
            getattr(self, what)(trial)
        except Killed:
            self.disk.start()
            self.writers.clear()  # they lived in one process
            # what was under way has happened, or has not
            if learned(self.store) == {t: e for t, e in epochs.items() if e}:
                self.epochs = epochs
            if self.seen_status() == status:
                self.status = status
        self.disk.start()
        self.check()

    def epoch(self, trial: str) -> None:
        if trial not in self.writers:
            self.writers[trial] = self.store.writer("s", SCOPE, trial)
            self.epochs.setdefault(trial, {})
            self.status[trial] = "running"
            self.writers[trial].trial({"status": "running", "epochs_done": len(self.epochs[trial])})
        # a trial that is taken up trains the epoch after its checkpoint again
        fresh = not self.writers[trial]._epochs
        number = max(1, max(self.epochs[trial], default=0) + (not fresh))
        self.value += 1.0
        self.epochs[trial] = {n: v for n, v in self.epochs[trial].items()} | {number: self.value}
        self.writers[trial].epoch(epoch(number, self.value))

    def end(self, trial: str) -> None:
        if trial in self.writers:
            self.status[trial] = "finished"
            done = len(self.epochs[trial])
            self.writers.pop(trial).trial({"status": "finished", "epochs_done": done})

    def prune(self, trial: str) -> None:
        """Record the end of a trial, or write its end anew: also one that was compacted meanwhile."""
        if self.status.get(trial, "finished") != "finished":
            self.value += 1.0
            self.status[trial] = f"pruned {self.value}"
            self.writers.pop(trial, None)
            self.store.amend("s", SCOPE, trial, {"status": "pruned", "notes": str(self.value)}, {})

    def compact(self, _: str) -> None:
        compact(ResultStore(self.store.uri), pause_seconds=0.0)

    def seen_status(self) -> dict[str, str]:
        rows = ResultStore(self.store.uri).trials(columns=["status", "notes"])
        assert rows.trial_id.is_unique
        said = [row.status if row.status != "pruned" else f"pruned {row.notes}" for row in rows.itertuples()]
        return dict(zip(rows.trial_id, said, strict=True))

    def check(self) -> None:
        reader = ResultStore(self.store.uri)
        assert learned(reader) == {t: e for t, e in self.epochs.items() if e}
        assert self.seen_status() == self.status
        assert reader.problems() == []


ACTS = st.tuples(
    st.sampled_from(["epoch", "epoch", "epoch", "end", "prune", "prune", "compact", "compact"]),
    st.sampled_from(TRIALS),
    st.one_of(st.just(0), st.integers(1, 20)),
)


def run(acts: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, breakable_disk() as disk:
        patch.setenv("SEFAR_SPOOL", f"{folder}/spool")
        study = Study(f"{folder}/store", disk)
        for act in acts:
            study.act(*act)
        study.act("compact", "", 0)
        ended = {t for t, status in study.status.items() if status != "running"}
        for table in ("epochs", "trials"):
            names = [path for path in data_files(study.store) if path.startswith(table)]
            assert sum(any(f"/{t}-" in path for t in ended) for path in names) <= 1  # a lone one is not joined
        # a trial whose process was killed before it began has no row, and one killed later may lack a file
        said = [finding.what for finding in verify(study.store, leftover_seconds=3600.0)]
        assert all("done, but has rows of" in text or "none of trials" in text for text in said), said


@settings(max_examples=15, deadline=None)
@given(st.lists(ACTS, max_size=12))
def test_readers_see_every_finished_epoch_once(acts: list[tuple[str, str, int]]) -> None:
    run(acts)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(ACTS, max_size=25))
def test_readers_see_every_finished_epoch_once_in_many_histories(acts: list[tuple[str, str, int]]) -> None:
    run(acts)


def test_a_writer_killed_before_any_step_leaves_the_old_rows_or_the_new() -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, breakable_disk() as disk:
        patch.setenv("SEFAR_SPOOL", f"{folder}/spool")
        seen = []
        for step in range(1, 5):
            disk.start()
            store = ResultStore(f"{folder}/store{step}", create=True)
            writer = store.writer("s", SCOPE, "t0")
            writer.epoch(epoch(1, 1.0))
            disk.start(kill_at=step)
            try:
                writer.epoch(epoch(2, 2.0))
            except Killed:
                seen.append("killed")
            disk.start()
            seen.append(len(store.epochs()))
            assert store.problems() == []
        # before the sync, the renaming, the clearing away of nothing; a fourth step there is not
        assert seen[:6] == ["killed", 1, "killed", 1, "killed", 2]


BEGUN = [(what, trial, 0) for what in ("epoch", "prune") for trial in TRIALS] + [("compact", "t0", 0)]
REWRITES = st.tuples(st.sampled_from(["prune", "compact"]), st.sampled_from(TRIALS), st.integers(0, 9))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(REWRITES, min_size=3, max_size=12))
def test_what_is_written_anew_after_a_compaction_holds(acts: list[tuple[str, str, int]]) -> None:
    run(BEGUN + acts)
