"""Where the texts of a figure stand once it is drawn: inside it, and not upon one another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCH_PIXELS = 1.0  # boxes of letters have air around them


@contextmanager
def _recording(drawn: list[Text]) -> Iterator[None]:
    """Note every text that is really drawn: ticks outside the view exist too, but are not."""
    original = Text.draw

    def draw(self: Text, renderer: object, *args: object, **kwargs: object) -> None:
        drawn.append(self)
        original(self, renderer, *args, **kwargs)

    Text.draw = draw
    try:
        yield
    finally:
        Text.draw = original


def texts(figure: Figure) -> list[tuple[str, Bbox, float]]:
    """Every text drawn: itself, its box in pixels, its size in points."""
    drawn: list[Text] = []
    with _recording(drawn):
        figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    shown = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    return [(t.get_text(), Text.get_window_extent(t, renderer), t.get_fontsize()) for t in shown]


def strings(figure: Figure) -> list[str]:
    """The texts alone."""
    return [text for text, _, _ in texts(figure)]


def assert_readable(figure: Figure, *, least_pt: float = 7.0) -> None:
    """Every text lies within the figure, touches no other, and is of a readable size."""
    found = texts(figure)
    assert found, "the figure has no text"
    page = figure.bbox
    for text, box, size in found:
        assert size >= least_pt, f"{text!r} has {size} pt"
        inside = box.x0 >= page.x0 - 1 and box.y0 >= page.y0 - 1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        assert inside, f"{text!r} is cut: {box} of {page}"
    for number, (text, box, _) in enumerate(found):
        for other, other_box, _ in found[number + 1 :]:
            width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert min(width, height) <= TOUCH_PIXELS, f"{text!r} and {other!r} overlap by {width:.1f} × {height:.1f}"
