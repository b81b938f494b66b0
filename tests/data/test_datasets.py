"""The subsets that scopes can name, and what they hold in the real annotation files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sefar.data.datasets import DATASETS, Source, known_scopes, read_source, source_name
from sefar.data.scope_name import DATASETS as NAMES
from sefar.data.scope_name import ScopeConfig
from sefar.data.scopes import resolve_scope
from sefar.errors import DataError, ScopeError
from tests.data.annotations.test_finediving import write as write_finediving

SETS = {"VT": 1, "FX": 5, "BB": 5, "UB": 4}


@pytest.fixture(scope="module")
def finegym(real_annotations: Path) -> dict[tuple[str, str], Source]:
    names = ("finegym/gym99", "finegym/gym288")
    configs = [ScopeConfig(name=name, annotations=str(real_annotations / "finegym")) for name in names]
    return {source_name(config): read_source(config) for config in configs}


def test_every_data_set_that_a_name_may_have_is_there() -> None:
    assert tuple(DATASETS) == NAMES
    sets = [f"finegym/set:{event}-S{n}" for event, count in SETS.items() for n in range(1, count + 1)]
    events = [f"finegym/event:{event}" for event in SETS]
    assert known_scopes("finegym", ScopeConfig()) == ["finegym/gym99", "finegym/gym288", *events, *sets]
    assert known_scopes("finediving", ScopeConfig()) == [f"finediving/{name}" for name in ("all", "10m", "5253B")]
    assert known_scopes("hmdb51", ScopeConfig()) == [f"hmdb51/split{n}" for n in (1, 2, 3)]
    assert known_scopes("synthgym", ScopeConfig())[:4] == [
        f"synthgym/{n}" for n in ("all", "core", "pairs", "event:VT")
    ]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("finegym/event:UB", "gym99"),
        ("finegym/gym288.event:UB@0.1", "gym288"),
        ("finegym/set:FX-S3", "gym288"),
        ("finegym/gym99-v1.0.set:UB-S1", "gym99-v1.0"),
        ("finediving/407C", "407C"),
        ("ucf101/split2", "split2"),
        ("lists:/some where", "/some where"),
        ("folders:/x@0.1", "/x"),
    ],
)
def test_scopes_tell_their_source(name: str, source: str) -> None:
    assert source_name(ScopeConfig(name=name))[1] == source


def test_unknown_subsets_name_the_nearest() -> None:
    with pytest.raises(ScopeError, match="finegym has no 'gym98' — did you mean 'gym99'"):
        source_name(ScopeConfig(name="finegym/gym98@0.1"))
    with pytest.raises(ScopeError, match="finegym has no 'set:ub-s1' — did you mean 'set:UB-S1'"):
        source_name(ScopeConfig(name="finegym/set:ub-s1"))
    with pytest.raises(ScopeError, match="ucf101 has no 'split4' — did you mean 'split"):
        source_name(ScopeConfig(name="ucf101/split4"))


@pytest.mark.parametrize("name", ["finegym/gym99", "finediving/all", "ucf101/split1", "hmdb51/split1", "folders:none"])
def test_files_that_are_not_there_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"finegym|finediving|ucf101|hmdb51|none"):
        read_source(ScopeConfig(name=name, root=str(tmp_path)))


@pytest.mark.parametrize("name", ["lists:", "folders:", "ucf101/split1"])
def test_names_that_no_disk_can_hold_are_told(name: str) -> None:
    folder = "x" * 300
    with pytest.raises(DataError, match=r"^x{300}"):
        read_source(ScopeConfig(name=name if "/" in name else name + folder, annotations=folder))


@pytest.mark.parametrize(
    ("name", "classes", "training", "test"),
    [
        ("gym99", 99, 26320, 8521),
        ("gym288", 288, 29334, 9646),
        ("event:VT", 6, 1080, 446),  # as the lists that were released: 108 + 972
        ("event:UB", 25, 9594, 2814),  # 959 + 8,635
        ("set:FX-S1", 11, 1892, 777),  # 189 + 1,703
    ],
)
def test_real_finegym_scopes(
    finegym: dict[tuple[str, str], Source], real_annotations: Path, name: str, classes: int, training: int, test: int
) -> None:
    config = ScopeConfig(name=f"finegym/{name}@0.05", annotations=str(real_annotations / "finegym"))
    scope = resolve_scope(config, finegym[source_name(config)])
    assert (scope.num_classes, len(scope.test)) == (classes, test)
    assert len(scope.labelled) + len(scope.unlabelled) + len(scope.dev) == training
    assert not scope.findings.fatal


def test_five_percent_of_gym99_is_as_many_clips_as_the_paper_labels(
    finegym: dict[tuple[str, str], Source], real_annotations: Path
) -> None:
    config = ScopeConfig(name="finegym/gym99@0.05#0", annotations=str(real_annotations / "finegym"))
    scope = resolve_scope(config, finegym["finegym", "gym99"])
    assert len(scope.labelled) == 1316
    assert scope.missing_classes == []
    assert scope.test.path[0].startswith("data/finegym/clips/")


def test_every_finegym_scope_has_clips_to_train_and_test_on(
    finegym: dict[tuple[str, str], Source], real_annotations: Path
) -> None:
    sizes = {}
    for name in known_scopes("finegym", ScopeConfig()):
        config = ScopeConfig(name=name, annotations=str(real_annotations / "finegym"))
        scope = resolve_scope(config, finegym[source_name(config)])
        sizes[name.removeprefix("finegym/")] = len(scope.labelled) + len(scope.dev)
        assert scope.missing_classes == []
    for event, count in SETS.items():
        inside = [sizes[f"set:{event}-S{n}"] for n in range(1, count + 1) if (event, n) != ("FX", 3)]
        assert sum(inside) == sizes[f"event:{event}"]
    assert sum(sizes[f"event:{event}"] for event in SETS) == sizes["gym99"] == 26320


@pytest.mark.parametrize(
    ("dataset", "classes", "training", "test"), [("ucf101", 101, 9537, 3783), ("hmdb51", 51, 3570, 1530)]
)
def test_real_splits(real_annotations: Path, dataset: str, classes: int, training: int, test: int) -> None:
    config = ScopeConfig(name=f"{dataset}/split1@0.4", annotations=str(real_annotations / dataset))
    scope = resolve_scope(config)
    assert (scope.num_classes, len(scope.test)) == (classes, test)
    assert len(scope.labelled) + len(scope.unlabelled) + len(scope.dev) == training
    assert abs(len(scope.labelled) - 0.4 * training) <= 0.5 and not scope.findings.fatal


def test_ucf101_keeps_its_groups_whole(real_annotations: Path) -> None:
    config = ScopeConfig(name="ucf101/split1@0.1", annotations=str(real_annotations / "ucf101"), keep_groups=True)
    scope = resolve_scope(config)
    parts = [set(part.group) for part in (scope.labelled, scope.unlabelled, scope.dev)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 101 * 18
    assert scope.missing_classes == [] and abs(len(scope.labelled) - 953.7) < 7


@pytest.mark.parametrize(
    ("folder", "labelled", "classes", "missing"),
    [
        ("finegym/all99_5", 1316, 99, 0),
        ("finegym/all288_10", 2933, 288, 74),
        ("finegym-new/list_finegym_new_10", 651, 40, 9),
        ("list_ucf_5", 477, 101, 1),
        ("list_hmdb_40", 2094, 51, 0),
    ],
)
def test_released_lists_are_usable_with_their_faults_reported(
    released_lists: Path, folder: str, labelled: int, classes: int, missing: int
) -> None:
    scope = resolve_scope(ScopeConfig(name=f"lists:{released_lists / folder}", path_prefix="/data=/mnt/clips"))
    assert (len(scope.labelled), scope.num_classes, len(scope.missing_classes)) == (labelled, classes, missing)
    assert scope.test.path.str.startswith("/mnt/clips/").all()
    assert len(scope.findings) and not scope.findings.fatal


@pytest.mark.parametrize(
    ("subset", "classes", "labelled", "test"),
    [
        ("all", ["407C", "5253B"], 3, 2),
        ("10m", ["407C", "5253B"], 3, 0),
        ("5253B", ["1 > 14 > 9 > 36", "1 > 9 > 14 > 36"], 2, 1),
        ("407c", ["4 > 25 > 36"], 1, 1),
    ],
)
def test_finediving_scopes(subset: str, classes: list[str], labelled: int, test: int, tmp_path: Path) -> None:
    config = ScopeConfig(
        name=f"finediving/{subset}", annotations=str(write_finediving(tmp_path)), clips="/clips", dev_fraction=0
    )
    if not test:
        with pytest.raises(ScopeError, match="the test part needs clips with labels, found 0"):
            resolve_scope(config)
        return
    scope = resolve_scope(config)
    assert (sorted(scope.classes), len(scope.labelled), len(scope.test)) == (classes, labelled, test)
    assert scope.labelled.path.str.startswith("/clips/").all()


def test_dev_clips_of_sources_that_are_trained_on_are_told(finegym: dict[tuple[str, str], Source]) -> None:
    for keep_groups, told in ((False, 1), (True, 0)):
        config = ScopeConfig(name="finegym/gym99@0.05", keep_groups=keep_groups)
        scope = resolve_scope(config, finegym["finegym", "gym99"])
        notes = [n for n in scope.notes if re.search("^dev: 152 of the 153 sources of its clips are trained on too", n)]
        assert len(notes) == told
