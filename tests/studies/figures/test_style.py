"""Looks, text that fits, and saving whole or not at all."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import matplotlib
import pytest
from matplotlib import image
from matplotlib.lines import Line2D

from studies.results.figures import style
from studies.results.figures.footer import footer
from studies.results.figures.style import (
    COLUMN_IN,
    LOOKS,
    NAMED_LOOKS,
    NothingToDraw,
    PlainLogLocator,
    fitted,
    looks,
    new_figure,
    rendered,
    save,
    styled,
    text_width_in,
    thinned,
    wrapped,
)
from tests.studies.figures.extents import assert_readable, strings


def simple(colour: str = "black"):
    figure = new_figure()
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=colour)
    axis.set_xlabel("x (s)")
    return figure


def test_no_figure_uses_pyplot():
    for path in Path(style.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [f"{getattr(node, 'module', '')}.{alias.name}" for node in imports for alias in node.names]
        assert not [name for name in names if "pyplot" in name or "pylab" in name], path.name


def test_drawing_leaves_the_callers_settings_alone():
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}):
        figure = styled(simple)()
        assert matplotlib.rcParams["font.size"] == 30
    assert figure.axes[0].xaxis.label.get_fontsize() == 8
    assert figure.axes[0].get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_methods_differ_in_colour_marker_and_line_so_that_grey_print_tells_them_apart():
    found = looks(["b", "SeFAR", "a", "supervised", "b", "c", "d", "e", "f"])
    assert list(found) == ["b", "SeFAR", "a", "supervised", "c", "d", "e", "f"]
    assert found["SeFAR"] == NAMED_LOOKS["SeFAR"] and found["b"] == LOOKS[0] and found["a"] == LOOKS[1]
    everyone = [*NAMED_LOOKS.values(), *LOOKS]
    for what in ("colour", "marker", "line"):
        assert len({str(getattr(look, what)) for look in everyone}) == len(everyone), what
    assert all(colour in style.OKABE_ITO for colour in (style.BEST, style.PAPER, style.BASELINE))


def test_long_text_loses_its_middle_and_keeps_both_ends():
    figure = new_figure()
    text = "(UB) giant circle backward with 1.5 turn to handstand"
    short = fitted(figure, text, 1.5)
    assert short.startswith("(UB) giant") and short.endswith("stand") and "…" in short
    assert text_width_in(figure, short) <= 1.5 < text_width_in(figure, text)
    assert fitted(figure, "brief", 1.5) == "brief"
    assert fitted(figure, text, 0.01) == "…"


def test_configurations_break_between_their_parts():
    figure = new_figure()
    text = "025 drop 0.25 · adaptive κ 39.2 α 2.94 S 12 · γ₁ 0.649 γ₂ 2.5"
    assert wrapped(figure, text, 1.7).split("\n") == [
        "025 drop 0.25 ·",
        "adaptive κ 39.2 α 2.94 S 12 ·",
        "γ₁ 0.649 γ₂ 2.5",
    ]
    assert wrapped(figure, text, 9.0) == text
    lines = wrapped(figure, "word " * 60, 1.0, lines=3).split("\n")
    assert len(lines) == 3 and lines[2].count("…") == 1
    assert all(text_width_in(figure, line) <= 1.0 for line in lines)


def test_positions_are_thinned_to_a_gap():
    assert thinned([0, 0.4, 1.1, 1.2, 5], 1.0) == [0, 2, 4]
    assert thinned([], 1.0) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(4, 80, [5, 10, 20, 50]), (8, 900, [10, 30, 100, 300]), (8, 40000, [10, 100, 1000, 10000])],
)
def test_logarithmic_ticks_are_plain_and_few(low, high, expected):
    assert PlainLogLocator().tick_values(low, high) == pytest.approx(expected)


def test_label_legend_and_note_under_the_panels_each_have_their_room():
    figure = simple()
    before = figure.get_figheight()
    handles = [Line2D([], [], label=f"a method with a long name {n}") for n in range(5)]
    footer(figure, handles, xlabel="shared label (s)", ylabel="shared (%)", note="A sentence that explains. " * 12)
    assert figure.get_figheight() > before + 0.8
    assert_readable(figure)
    axes = figure.axes[0].get_window_extent().height / figure.dpi
    assert axes > 0.6 * before  # the panels kept their height
    assert {"shared label (s)", "shared (%)", "x (s)"} <= set(strings(figure))


def test_saving_writes_png_and_svg_of_the_width_asked_for(tmp_path):
    png, svg = save(simple(), tmp_path / "new" / "core@0.05.png")
    assert [p.name for p in (png, svg)] == ["core@0.05.png", "core@0.05.svg"]
    assert image.imread(png).shape[1] == round(200 * COLUMN_IN)
    assert svg.read_text().startswith("<?xml") and "<!-- x (s) -->" in svg.read_text()
    assert sorted(os.listdir(png.parent)) == ["core@0.05.png", "core@0.05.svg"]
    again, _ = save(simple(), tmp_path / "core@0.05")
    assert again.name == "core@0.05.png" and again.read_bytes() == png.read_bytes()
    assert rendered(simple(), "svg") == svg.read_bytes()


@pytest.mark.parametrize("blocked", ["a.png", "a.svg"])
def test_a_failed_save_leaves_both_files_as_they_were(tmp_path, blocked, monkeypatch):
    png, svg = save(simple(), tmp_path / "a")
    old = png.read_bytes(), svg.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(simple("red"), tmp_path / "a")
    monkeypatch.undo()
    assert (png.read_bytes(), svg.read_bytes()) == old
    assert sorted(os.listdir(tmp_path)) == ["a.png", "a.svg"]
    (tmp_path / blocked).unlink()
    (tmp_path / blocked).mkdir()
    other = svg if blocked == "a.png" else png
    with pytest.raises(IsADirectoryError, match=f"{blocked}: expected a file or nothing"):
        save(simple("red"), tmp_path / "a")
    assert other.read_bytes() in old


def test_nothing_to_draw_is_a_value_error():
    assert issubclass(NothingToDraw, ValueError)
