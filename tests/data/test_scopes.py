from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sefar.data.scopes import ScopeConfig, ScopeName, _choose_labelled, load_scope, parse_scope
from sefar.data.synthgym import SynthGymConfig
from sefar.errors import ConfigError, DataError, ScopeError

SMALL = SynthGymConfig(
    size=64, train_clips_per_element=10, test_clips_per_element=2, train_performers=5, test_performers=2
)


@pytest.fixture(autouse=True)
def no_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sefar.data.synthgym.prepare", lambda *args, **kwargs: None)


def scope_config(name: str, tmp_path: Path) -> ScopeConfig:
    return ScopeConfig(name=name, root=str(tmp_path), synthgym=SMALL)


def test_grammar() -> None:
    assert parse_scope("synthgym/event:FX@0.05#3") == ScopeName("synthgym", "event:FX", 0.05, None, 3)
    assert parse_scope("synthgym/all@2pc").labels_per_class == 2
    assert parse_scope("synthgym/all") == ScopeName("synthgym", "all", 1.0, None, 0)
    assert parse_scope("lists:/data/my lists").subset == "/data/my lists"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthgm/all", "did you mean 'synthgym'"),
        ("all", "expected dataset/subset@fraction#seed"),
        ("synthgym/all@0", r"must lie in \(0, 1\]"),
        ("synthgym/all@1.5", r"must lie in \(0, 1\]"),
        ("synthgym/all@0.5pc", "labels per class must be an integer"),
        ("synthgym/all@1..2", "is not a number"),
        ("lists:", "expected lists:DIR"),
    ],
)
def test_bad_names_say_how_to_mend(name: str, message: str) -> None:
    with pytest.raises(ScopeError, match=message):
        parse_scope(name)


def test_unknown_subset_and_bad_dev_fraction(tmp_path: Path) -> None:
    with pytest.raises(ScopeError, match="did you mean 'event:FX'"):
        load_scope(scope_config("synthgym/event:FZ", tmp_path))
    with pytest.raises(ScopeError, match="only 8 training clips"):
        load_scope(scope_config("synthgym/event:FX@50pc", tmp_path))
    with pytest.raises(ConfigError, match="dev_fraction"):
        ScopeConfig(dev_fraction=1.0)


def test_one_label_per_class_and_disjoint_parts(tmp_path: Path) -> None:
    scope = load_scope(scope_config("synthgym/event:FX@1pc#0", tmp_path))
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
        load_scope(scope_config(f"synthgym/event:FX@{name}", tmp_path)) for name in ("1pc#0", "3pc#0", "1pc#1")
    )
    assert set(small.labelled.clip_id) < set(large.labelled.clip_id)
    assert set(small.labelled.clip_id) != set(other.labelled.clip_id)
    assert small.dev.clip_id.tolist() == large.dev.clip_id.tolist() == other.dev.clip_id.tolist()
    assert len({s.split_hash for s in (small, large, other)}) == 3


def test_everything_labelled_reuses_the_labelled_clips(tmp_path: Path) -> None:
    scope = load_scope(scope_config("synthgym/event:FX@1", tmp_path))
    assert scope.unlabelled.clip_id.tolist() == scope.labelled.clip_id.tolist()
    assert any("every training clip is labelled" in note for note in scope.notes)


def test_too_small_a_fraction_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScopeError, match="labelled part needs clips with labels, found 0; ask for a larger fraction"):
        load_scope(scope_config("synthgym/all@0.01", tmp_path))


def test_missing_classes_are_named(tmp_path: Path) -> None:
    train = "".join(f"a{i}.mp4 0\n" for i in range(5))
    name = lists(tmp_path, train=train, unlabel="u.mp4 0\nv.mp4 0\n", test="t.mp4 0\ns.mp4 1\n")
    (tmp_path / "classes.txt").write_text("0 swing\n1 dismount\n")
    scope = load_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert scope.missing_classes == ["dismount"]
    assert any("1 classes have no labelled clip: dismount" in note for note in scope.notes)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fractions=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 3),
)
def test_nested_and_stratified(sizes: list[int], fractions: tuple[float, float], seed: int) -> None:
    pool = pd.DataFrame([{"clip_id": f"{k}-{i}", "label": k} for k, size in enumerate(sizes) for i in range(size)])
    low, high = sorted(fractions)
    chosen = [_choose_labelled(pool, ScopeName("synthgym", "all", f, None, seed)) for f in (low, high)]
    assert chosen[0] <= chosen[1]
    for k, size in enumerate(sizes):
        count = sum(c.startswith(f"{k}-") for c in chosen[0])
        assert abs(count - low * size) < 1


def test_split_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    script = (
        "import sefar.data.synthgym as s; s.prepare = lambda *a, **k: None\n"
        "from sefar.data.scopes import *\n"
        "c = s.SynthGymConfig(size=64, train_clips_per_element=10, test_clips_per_element=2, "
        "train_performers=5, test_performers=2)\n"
        f"print(load_scope(ScopeConfig(name='synthgym/event:FX@1pc#0', root={str(tmp_path)!r}, synthgym=c)).split_hash)"
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
    scope = load_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert (scope.classes, scope.class_ids) == (["3", "7"], [3, 7])
    assert scope.labelled.label.tolist() == [0, 1]
    assert (len(scope.dev), len(scope.unlabelled)) == (2, 8)
    assert "cut from the unlabel list" in scope.notes[0]


def test_lists_without_hidden_labels_cut_dev_from_train(tmp_path: Path) -> None:
    train = "".join(f"a{i}.mp4 0\nb{i}.mp4 1\n" for i in range(5))
    name = lists(tmp_path, train=train, unlabel="u.mp4 -1\n", test="t.mp4 0\n")
    scope = load_scope(ScopeConfig(name=name, root=str(tmp_path)))
    assert len(scope.dev) == 2
    assert len(scope.labelled) == 8
    assert scope.unlabelled.label.tolist() == [-1]


def test_lists_that_leak_or_spare_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in test too, wholly or in part"):
        load_scope(ScopeConfig(name=lists(tmp_path, train="a.mp4 0\n", test="a.mp4 0\n"), root=str(tmp_path)))
    with pytest.raises(ScopeError, match="no clip can be spared to choose by"):
        load_scope(ScopeConfig(name=lists(tmp_path, train="a.mp4 0\n", test="b.mp4 0\n"), root=str(tmp_path)))
