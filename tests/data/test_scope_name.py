"""Names of scopes and the settings beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sefar.data.scope_name import ScopeConfig, ScopeName, parse_scope
from sefar.errors import ConfigError, ScopeError


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("synthgym/event:FX@0.05#3", ScopeName("synthgym", "event:FX", 0.05, None, 3)),
        ("synthgym/all@2pc", ScopeName("synthgym", "all", 1.0, 2, 0)),
        ("synthgym/all", ScopeName("synthgym", "all", 1.0, None, 0)),
        ("finegym/gym288.set:UB-S1@0.2", ScopeName("finegym", "gym288.set:UB-S1", 0.2, None, 0)),
        ("ucf101/split1#4", ScopeName("ucf101", "split1", 1.0, None, 4)),
        ("lists:/data/my lists", ScopeName("lists", "/data/my lists")),
        ("folders:/data/my @clips#1@1pc#2", ScopeName("folders", "/data/my @clips#1", 1.0, 1, 2)),
        ("folders:clips@0.1", ScopeName("folders", "clips", 0.1)),
        ("folders:clips", ScopeName("folders", "clips")),
    ],
)
def test_grammar(name: str, parsed: ScopeName) -> None:
    assert parse_scope(name) == parsed


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
        ("folders:", "or folders:DIR@fraction#seed"),
        ("folders/x", "unknown data set 'folders'"),
        ("folders:x@2", r"must lie in \(0, 1\]"),
        ("synthgym/all\n", "expected dataset/subset@fraction#seed"),
        ("synthgym/all#" + "9" * 5000, "expected dataset/subset@fraction#seed"),
        ("Finegym/gym99", "expected dataset/subset@fraction#seed"),
    ],
)
def test_bad_names_say_how_to_mend(name: str, message: str) -> None:
    with pytest.raises(ScopeError, match=message):
        parse_scope(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dev_fraction": 1.0}, r"dev_fraction: expected a share in \[0, 1\), got 1"),
        ({"keep_groups": True, "name": "lists:x"}, "keep_groups: does not go with 'lists:x', since lists are taken"),
        ({"keep_groups": True, "name": "synthgym/all@1pc"}, "whole groups hold no exact @Npc; use @fraction"),
        ({"path_prefix": "/a", "name": "lists:x"}, "path_prefix: expected OLD=NEW .*, got '/a'"),
        ({"path_prefix": "=/b", "name": "lists:x"}, "path_prefix: expected OLD=NEW .*, got '=/b'"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ScopeConfig(**settings)  # type: ignore[arg-type]


def test_where_things_lie() -> None:
    config = ScopeConfig(name="finegym/gym99", root="/d")
    assert (config.annotations_dir(), config.clips_dir()) == (Path("/d/finegym/annotations"), Path("/d/finegym/clips"))
    config = ScopeConfig(name="finegym/gym99", root="/d", annotations="/a", clips="c")
    assert (config.annotations_dir(), config.clips_dir()) == (Path("/a"), Path("c"))
    assert ScopeConfig(name="lists:x", path_prefix="/a=/b=c").replaced_prefix() == ("/a", "/b=c")
    assert ScopeConfig(name="lists:x").replaced_prefix() is None
