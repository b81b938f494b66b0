from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from sefar.data.quarantine import quarantine_file, quarantined, write_quarantine
from sefar.data.scopes import ScopeConfig, load_scope, resolve_scope, subset_clips
from sefar.data.synthgym import SynthGymConfig
from sefar.errors import DataError, ScopeError

SMALL = SynthGymConfig(
    size=64, train_clips_per_element=10, test_clips_per_element=2, train_performers=5, test_performers=2
)


def scope_config(name: str, tmp_path: Path) -> ScopeConfig:
    return ScopeConfig(name=name, root=str(tmp_path), synthgym=SMALL)


def test_unknown_subset_and_too_many_labels(tmp_path: Path) -> None:
    with pytest.raises(ScopeError, match="did you mean 'event:FX'"):
        resolve_scope(scope_config("synthgym/event:FZ", tmp_path))
    with pytest.raises(ScopeError, match="only 8 training clips"):
        resolve_scope(scope_config("synthgym/event:FX@50pc", tmp_path))


def test_one_label_per_class_and_disjoint_parts(tmp_path: Path) -> None:
    scope = resolve_scope(scope_config("synthgym/event:FX@1pc#0", tmp_path))
    assert scope.num_classes == 12
    parts = [set(p.clip_id) for p in (scope.labelled, scope.unlabelled, scope.dev, scope.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 12 * 12
    assert sorted(scope.labelled.label) == list(range(12))
    # dev shares no performer with the clips trained on, nor does test
    trained = set(scope.labelled.group) | set(scope.unlabelled.group)
    assert not trained & set(scope.dev.group)
    assert not (trained | set(scope.dev.group)) & set(scope.test.group)


def test_splits_nest_differ_by_seed_and_share_dev(tmp_path: Path) -> None:
    small, large, other = (
        resolve_scope(scope_config(f"synthgym/event:FX@{name}", tmp_path)) for name in ("1pc#0", "3pc#0", "1pc#1")
    )
    assert set(small.labelled.clip_id) < set(large.labelled.clip_id)
    assert set(small.labelled.clip_id) != set(other.labelled.clip_id)
    assert small.dev.clip_id.tolist() == large.dev.clip_id.tolist() == other.dev.clip_id.tolist()
    assert len({s.split_hash for s in (small, large, other)}) == 3


def test_everything_labelled_reuses_the_labelled_clips(tmp_path: Path) -> None:
    scope = resolve_scope(scope_config("synthgym/event:FX@1", tmp_path))
    assert scope.unlabelled.clip_id.tolist() == scope.labelled.clip_id.tolist()
    assert any("every training clip is labelled" in note for note in scope.notes)


def test_too_small_a_fraction_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScopeError, match="labelled part needs clips with labels, found 0; ask for a larger fraction"):
        resolve_scope(scope_config("synthgym/all@0.0005", tmp_path))


def test_missing_classes_are_named(tmp_path: Path) -> None:
    train = "".join(f"a{i}.mp4 0\n" for i in range(5))
    name = lists(tmp_path, train=train, unlabel="u.mp4 0\nv.mp4 0\n", test="t.mp4 0\ns.mp4 1\n")
    (tmp_path / "classes.txt").write_text("0 swing\n1 dismount\n")
    scope = resolve_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert scope.missing_classes == ["dismount"]
    assert any("1 classes have no labelled clip: dismount" in note for note in scope.notes)


def test_split_does_not_depend_on_the_hash_seed() -> None:
    script = (
        "import sefar.data.synthgym as s\n"
        "from sefar.data.scopes import *\n"
        "c = s.SynthGymConfig(size=64, train_clips_per_element=10, test_clips_per_element=2, "
        "train_performers=5, test_performers=2)\n"
        "print(resolve_scope(ScopeConfig(name='synthgym/event:FX@1pc#0', synthgym=c)).split_hash)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def lists(tmp_path: Path, **parts: str) -> str:
    for name, text in parts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return f"lists:{tmp_path}"


def test_lists_scope(tmp_path: Path) -> None:
    unlabelled = "".join(f"u{i}.mp4 {3 + 4 * (i % 2)}\n" for i in range(10))
    name = lists(tmp_path, train="a.mp4 3\nb.mp4 7\n", unlabel=unlabelled, test="t.mp4 7\ns.mp4 3\n")
    scope = resolve_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert (scope.classes, scope.class_ids) == (["3", "7"], [3, 7])
    assert scope.labelled.label.tolist() == [0, 1]
    assert (len(scope.dev), len(scope.unlabelled)) == (2, 8)
    assert "cut from the unlabel list" in scope.notes[0]


def test_what_dev_has_in_common_with_training_clips_is_told(tmp_path: Path) -> None:
    unlabelled = "".join(f"v.mp4#{10 * i}-{10 * i + 15} {i % 2}\n" for i in range(10))
    name = lists(tmp_path, train="a.mp4 0\nb.mp4 1\n", unlabel=unlabelled, test="t.mp4 0\n")
    scope = resolve_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert [note.split(",")[0] for note in scope.notes[1:3]] == [
        "dev: 2 clips share frames with training clips",
        "dev: 1 of the 1 sources of its clips are trained on too",
    ]


def test_lists_without_hidden_labels_cut_dev_from_train(tmp_path: Path) -> None:
    train = "".join(f"a{i}.mp4 0\nb{i}.mp4 1\n" for i in range(5))
    name = lists(tmp_path, train=train, unlabel="u.mp4 -1\n", test="t.mp4 0\n")
    scope = resolve_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert len(scope.dev) == 2
    assert len(scope.labelled) == 8
    assert scope.unlabelled.label.tolist() == [-1]


def test_lists_that_spare_nothing(tmp_path: Path) -> None:
    name = lists(tmp_path, train="a.mp4 0\n", test="b.mp4 0\n")
    with pytest.raises(ScopeError, match="no clip can be spared to choose by"):
        resolve_scope(ScopeConfig(name=name, root=str(tmp_path)))
    scope = resolve_scope(ScopeConfig(name=name, root=str(tmp_path), dev_fraction=0))
    assert (len(scope.labelled), len(scope.dev), len(scope.test)) == (1, 0, 1)


def test_fatal_faults_are_told_together_and_stop_training_alone(tmp_path: Path) -> None:
    name = lists(tmp_path, train="a.mp4 0\nb.mp4 0\nc.mp4\n", unlabel="u.mp4 -1\n", test="a.mp4 0\n")
    config = ScopeConfig(name=name, root=str(tmp_path))
    for use in (load_scope, subset_clips):
        with pytest.raises(DataError, match=r"(?s)2 faults to mend first.*train\.csv:3.*'a\.mp4' is in test too"):
            use(config)
    assert {finding.kind for finding in resolve_scope(config).findings.fatal} == {"malformed row", "in train and test"}


def test_no_dev_part(tmp_path: Path) -> None:
    scope = resolve_scope(ScopeConfig(name="synthgym/event:FX@1pc", root=str(tmp_path), synthgym=SMALL, dev_fraction=0))
    assert (len(scope.labelled), len(scope.unlabelled), len(scope.dev)) == (12, 108, 0)
    assert list(scope.dev.columns) == list(scope.labelled.columns)


def test_whole_performers_are_labelled(tmp_path: Path) -> None:
    config = ScopeConfig(name="synthgym/event:FX@0.4", root=str(tmp_path), synthgym=SMALL, keep_groups=True)
    scope = resolve_scope(config)
    groups = [set(part.group) for part in (scope.labelled, scope.unlabelled, scope.dev)]
    assert [len(group) for group in groups] == [2, 2, 1] and len(set().union(*groups)) == 5


def tree(folder: Path) -> ScopeConfig:
    """Two classes of four training clips and one test clip each; three unlabelled clips."""
    for split, count in (("train", 4), ("test", 1)):
        for name in ("jump", "turn"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                (folder / split / name / f"{i}.mp4").write_bytes(b"clip")
    (folder / "unlabelled").mkdir()
    for i in range(3):
        (folder / "unlabelled" / f"{i}.mp4").write_bytes(b"clip")
    return ScopeConfig(name=f"folders:{folder}@0.25#1", root=str(folder / "data"), dev_fraction=0.25)


def counts(scope: object) -> list[int]:
    return [len(getattr(scope, part)) for part in ("labelled", "unlabelled", "dev", "test")]


def test_folders_with_unlabelled_clips(tmp_path: Path) -> None:
    scope = load_scope(tree(tmp_path))
    assert scope.classes == ["jump", "turn"]
    assert counts(scope) == [2, 4 + 3, 2, 2]
    assert (scope.unlabelled.label == -1).sum() == 3
    assert scope.available_hash == scope.split_hash
    assert scope.missing == {"labelled": 0, "unlabelled": 0, "dev": 0, "test": 0}


def listed(folder: Path) -> ScopeConfig:
    """Two classes, each of two training clips, four unlabelled ones, of which one goes to dev, and one test clip."""
    for part, count in (("train", 4), ("unlabel", 8), ("test", 2)):
        names = [f"{part}{i}.mp4" for i in range(count)]
        (folder / f"{part}.csv").write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate(names)))
        for name in names:
            (folder / name).write_bytes(b"clip")
    return ScopeConfig(name=f"lists:{folder}", root=str(folder / "data"))


def test_missing_clips_stop_unless_allowed_and_then_are_counted(tmp_path: Path) -> None:
    config = listed(tmp_path)
    whole = load_scope(config)
    absent, broken = Path(whole.labelled.path[0]), whole.unlabelled.iloc[0]
    absent.unlink()
    entry = quarantined(broken.clip_id, broken.path, 0, -1, "truncated")
    write_quarantine(quarantine_file(Path(config.root), config.name), [entry])
    expected = (
        r"1 clips are absent and 1 quarantined \(1 of 4 labelled, 1 of 6 unlabelled\), first .*\(absent, .*\); .*"
        r"\(quarantined: truncated, .*sefar prepare.*sefar prepare check.*--allow-missing \(scope\.allow_missing=true\)"
    )
    with pytest.raises(ScopeError, match=expected) as caught:
        load_scope(config)
    assert "\n" not in str(caught.value)
    scope = load_scope(dataclasses.replace(config, allow_missing=True))
    assert counts(scope) == [3, 5, 2, 2]
    assert scope.missing == {"labelled": 1, "unlabelled": 1, "dev": 0, "test": 0}
    assert scope.missing_clips[["part", "cause"]].values.tolist() == [
        ["labelled", "absent"],
        ["unlabelled", "quarantined: truncated"],
    ]
    assert scope.split_hash == whole.split_hash != scope.available_hash
    assert any("goes on without 2 missing clips (1 labelled, 1 unlabelled, 0 dev, 0 test)" in n for n in scope.notes)
    other = dataclasses.replace(config, quarantine=str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match=r"none\.csv: expected a quarantine list"):
        load_scope(other)


def test_a_part_may_not_vanish(tmp_path: Path) -> None:
    config = dataclasses.replace(listed(tmp_path), allow_missing=True)
    for path in load_scope(config).dev.path:
        Path(path).unlink()
    with pytest.raises(ScopeError, match="all 2 dev clips are missing; bring some to disk"):
        load_scope(config)


def test_the_published_splits_have_not_moved() -> None:
    hashes = {
        "synthgym/core@1pc#0": "5e106ca7d274",
        "synthgym/core@3pc#1": "3b71fff0be6a",
        "synthgym/pairs@1pc#0": "358602fe6b2d",
        "synthgym/core@1": "89cb9dc1e8cd",
    }
    assert {name: resolve_scope(ScopeConfig(name=name)).split_hash for name in hashes} == hashes
