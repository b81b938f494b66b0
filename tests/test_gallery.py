from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sefar import cli
from sefar.config import TrainConfig
from sefar.data.scopes import Scope, load_scope
from sefar.errors import ConfigError, DataError, ScopeError
from sefar.gallery import SAID, SECTIONS, Gallery, _patches, _pictures
from sefar.recipes import recipe
from sefar.ssl.perturb import KINDS
from sefar.strips import (
    BORDER_PIXELS,
    CAPTION_PIXELS,
    CONTEXT_COLOUR,
    FINE_COLOURS,
    GAP_PIXELS,
    LEGEND_PIXELS,
    NOTE_PIXELS,
    TITLE_PIXELS,
    Section,
    Strip,
    Tile,
    draw_sections,
    save_picture,
)

SCOPE = "synthgym/set:BB_jumps@1pc"
DATA = {"size": 64, "train_clips_per_element": 6, "test_clips_per_element": 1}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    data = {f"scope.synthgym.{key}": value for key, value in DATA.items()}
    root = str(tmp_path_factory.mktemp("data"))
    return recipe("synthgym_tiny", {"scope.root": root, "scope.name": SCOPE, **data})


@pytest.fixture(scope="module")
def scope(config: TrainConfig) -> Scope:
    return load_scope(config.scope, progress=False)


@pytest.fixture()
def gallery(config: TrainConfig, scope: Scope) -> Gallery:
    return Gallery(config=config, scope=scope)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def badges(strip: Strip) -> list[list[str]]:
    return [[tile.badge for tile in group] for group in strip.groups]


def test_a_strip_a_class_with_borders_of_its_granularities(gallery: Gallery, config: TrainConfig) -> None:
    strips = gallery.classes().strips
    assert len(strips) == 4
    # slots of (2, 2, 4): context at 0, 2, 4, 6, the first fine element at 3 and 7, the second at 1 and 5
    assert badges(strips[0]) == [list("01234567")]
    picture = gallery.draw(("classes",), scale=1)
    side = config.views.size + 2 * BORDER_PIXELS
    above = LEGEND_PIXELS + TITLE_PIXELS + NOTE_PIXELS + CAPTION_PIXELS
    assert picture.size == (8 * side, above - CAPTION_PIXELS + 4 * (side + CAPTION_PIXELS))
    borders = [picture.getpixel((t * side, above + 30)) for t in range(8)]
    first, second, context = rgb(FINE_COLOURS[0]), rgb(FINE_COLOURS[1]), rgb(CONTEXT_COLOUR)
    assert borders == [context, second, context, first, context, second, context, first]
    inside = np.asarray(picture)[above + BORDER_PIXELS + 20 : above + side - BORDER_PIXELS]
    assert inside[:, BORDER_PIXELS : side - BORDER_PIXELS].std() > 5


def test_views_end_with_what_the_student_sees(gallery: Gallery) -> None:
    weak, spatial, perturbed, dropped = gallery.views().strips
    assert badges(weak) == badges(spatial) == [["3", "7"], ["1", "5"], ["0", "2", "4", "6"]]
    assert badges(perturbed) == badges(dropped) == [["7", "3"], ["5", "1"], ["0", "2", "4", "6"]]
    for before, after in zip(spatial.groups[0], reversed(perturbed.groups[0]), strict=True):
        assert torch.equal(before.frame_CHW, after.frame_CHW)  # normalised and back without a rounding error
        assert not before.moved and after.moved
    frames = [torch.stack([t.frame_CHW for group in strip.groups for t in group]) for strip in (perturbed, dropped)]
    assert not torch.equal(*frames)
    grey = round(0.45 * 255)
    lost = (frames[1] == grey).flatten(2).all(2)  # per frame and channel
    assert lost.any() and not lost.all()
    assert torch.equal(lost[0], lost[1])  # a granularity loses a channel as a whole


def test_views_are_a_function_of_the_seed(gallery: Gallery, config: TrainConfig, scope: Scope) -> None:
    again = Gallery(config=config, scope=scope)
    other = Gallery(config=config, scope=scope, seed=1)
    first = gallery.draw(("views", "mixing"))
    assert first.tobytes() == again.draw(("views", "mixing")).tobytes()
    assert first.tobytes() != other.draw(("views", "mixing")).tobytes()


def test_perturbations_show_every_kind_on_the_same_frames(gallery: Gallery) -> None:
    strips = {strip.caption.split(":")[0]: strip for strip in gallery.perturbations().strips}
    assert set(strips) == set(KINDS) == set(SAID)
    assert next(iter(strips)) == "none"
    plain = badges(strips["none"])
    assert badges(strips["reverse_all"]) == [list(reversed(group)) for group in plain]
    assert badges(strips["slow"]) == [["3", "3"], ["1", "1"], ["0", "0", "2", "2"]]
    assert badges(strips["half"]) == [["3", "3"], ["1", "1"], ["0", "2", "0", "2"]]
    assert sorted(b for group in badges(strips["shuffle_all"]) for b in group) == list("01234567")
    flipped, own = strips["reverse_channels"].groups, strips["none"].groups
    assert torch.equal(flipped[0][0].frame_CHW, own[0][0].frame_CHW.flip(0))
    assert torch.equal(flipped[2][0].frame_CHW, own[2][0].frame_CHW)
    # a frame that moved keeps the colour of where it comes from
    moved = [tile for group in strips["shuffle_all"].groups for tile in group]
    assert {t.badge_colour for t in moved if t.badge in "0246"} == {CONTEXT_COLOUR}


def test_strength_zero_moves_nothing(config: TrainConfig, scope: Scope) -> None:
    still = Gallery(config=config.override({"perturb.strength": 0.0}), scope=scope)
    assert not any(t.moved for strip in still.perturbations().strips for group in strip.groups for t in group)


def test_mixed_patches_are_the_clips_inside_the_mask_and_its_partners_outside(gallery: Gallery) -> None:
    own, other, mixed = gallery.mixing().strips
    for g in range(3):
        for t, tile in enumerate(mixed.groups[g]):
            assert tile.mask_RQ is not None and tile.mask_RQ.shape == (4, 4)
            assert torch.equal(tile.mask_RQ, mixed.groups[g][0].mask_RQ)  # a tube
            inside = tile.mask_RQ.repeat_interleave(16, 0).repeat_interleave(16, 1)
            assert torch.equal(tile.frame_CHW[:, inside], own.groups[g][t].frame_CHW[:, inside])
            assert torch.equal(tile.frame_CHW[:, ~inside], other.groups[g][t].frame_CHW[:, ~inside])
    assert own.caption != other.caption


def test_patches_and_back() -> None:
    frames = torch.arange(2 * 3 * 3 * 8 * 8).view(2, 3, 3, 8, 8)
    patches = _patches(frames, 4)
    assert patches.shape == (2, 3, 4, 48)
    assert patches[0, 0, 1, :4].tolist() == [4, 5, 6, 7]  # the second patch lies right of the first
    assert torch.equal(_pictures(patches, 4), frames)


@pytest.mark.parametrize("frames", [(4,), (2, 3, 3)])
def test_other_granularities(config: TrainConfig, scope: Scope, frames: tuple[int, ...]) -> None:
    odd = config.override({"sampling.frames_per_granularity": frames, "sampling.mode": "local"})
    strips = Gallery(config=odd, scope=scope).views().strips
    assert [[len(g) for g in strip.groups] for strip in strips] == [list(frames)] * 4
    picture = Gallery(config=odd, scope=scope).draw(("all",), scale=1)
    assert picture.width >= sum(frames) * 70 + GAP_PIXELS * (len(frames) - 1)


def test_unknown_names(gallery: Gallery, config: TrainConfig, scope: Scope) -> None:
    with pytest.raises(ConfigError, match=r"^--what: 'veiws' is unknown — did you mean 'views'\?$"):
        gallery.draw(("veiws",))
    clip = str(scope.labelled.clip_id.iloc[0])
    for lost in ({"clip": clip[:-1]}, {"partner": clip[:-1]}):
        with pytest.raises(ScopeError, match=rf"has no clip '{clip[:-1]}' — did you mean 'bb-") as caught:
            Gallery(config=config, scope=scope, **lost).mixing()
        assert "\n" not in str(caught.value)
    with pytest.raises(ScopeError, match=r"has no clip '###'$"):  # and no list of thousands
        Gallery(config=config, scope=scope, clip="###").views()


def test_captions_are_never_cut() -> None:
    tile = Tile(torch.zeros(3, 8, 8, dtype=torch.uint8), "#FFFFFF", "0")
    short, long = (
        draw_sections([], [Section("t", [], [Strip(caption, [[tile]])])], 1) for caption in ("x", 30 * "long ")
    )
    assert short.width < 60 < 500 < long.width


def test_pictures_are_saved_whole_or_in_few_colours(gallery: Gallery, tmp_path: Path) -> None:
    picture = gallery.draw(("mixing",))
    save_picture(picture, tmp_path / "new" / "whole.png")
    save_picture(picture, tmp_path / "new" / "few.png", colours=16)
    assert Image.open(tmp_path / "new" / "whole.png").tobytes() == picture.tobytes()
    few = Image.open(tmp_path / "new" / "few.png")
    assert few.size == picture.size and len(few.getcolors() or []) <= 16


def test_unwritable_picture(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        save_picture(Image.new("RGB", (4, 4)), tmp_path / "file" / "x.png")


def test_command_line(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--scope", SCOPE, "--set", f"scope.root={config.scope.root}"]
    settings += [f"scope.synthgym.{key}={value}" for key, value in DATA.items()]

    def run(*flags: str) -> int:
        monkeypatch.setattr(sys, "argv", ["sefar", "gallery", *flags, *settings, "--out", str(tmp_path / "g.png")])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code

    assert run("--what", "views", "mixing", "--seed", "3", "--colours", "64") == 0
    assert capsys.readouterr().out == f"picture: {tmp_path / 'g.png'}\n"
    assert Image.open(tmp_path / "g.png").height > 900
    assert set(SECTIONS) == {"classes", "views", "perturbations", "mixing"}
    for flags, text in (
        (["--what", "perturbation"], "--what: 'perturbation' is unknown — did you mean 'perturbations'?"),
        (["--what"], "--what: expected at least one of classes, views, perturbations, mixing, all"),
        (["--scale", "0"], "--scale: expected an integer ≥ 1, got 0"),
        (["--seed", "-1"], "--seed: expected an integer ≥ 0, got -1"),
        (["--colours", "1"], "--colours: expected 0 or an integer from 2 to 256, got 1"),
        (["--what", "views", "--clip", "nothing-like-it"], f"scope '{SCOPE}' has no clip 'nothing-like-it'"),
    ):
        assert run(*flags) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"error: {text}") and said.err.count("\n") == 1
