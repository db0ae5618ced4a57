"""The few things all parts of the page are made of."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from nicegui import ui

BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="  # one transparent pixel


class Slider(ui.slider):
    """A slider whose thumb the browser moves by itself: an answer that comes late does not pull it back."""

    LOOPBACK = False


class Picture:
    """A picture with a caption, in a box that keeps its size when the picture changes or is missing."""

    def __init__(self, caption: str, mark: str):
        with ui.element("figure").classes("picture"):
            self.image = ui.element("img").props(f"src={BLANK}")
            self.image.props["alt"] = caption
            self.image.props["data-mark"] = mark
            with ui.element("figcaption"):
                self.caption = ui.label(caption)

    def show(self, url: str | None, caption: str | None = None) -> None:
        """Another picture, or an empty box; the caption stays if none is given."""
        self.image.props["src"] = url or BLANK
        if caption is not None:
            self.caption.set_text(caption)
            self.image.props["alt"] = caption


class Thumbnail:
    """A picture that is a button."""

    def __init__(self, large: bool = False):
        self.button = ui.element("button").classes("large thumbnail" if large else "thumbnail")
        self.button.props["type"] = "button"
        with self.button:
            self.image = ui.element("img").props(f"src={BLANK}").props('alt=""')

    def show(self, url: str, name: str) -> None:
        """Another picture."""
        self.image.props["src"] = url
        self.button.props["title"] = self.button.props["aria-label"] = name


@dataclass(frozen=True)
class Range:
    """What a slider is for, its ends, and where it stands at first."""

    label: str
    low: float
    high: float
    value: float


class Sliders:
    """Sliders with labels and numbers, in columns.

    The numbers are those of the picture that is shown: whoever draws it sets both, and the page changes once.

    Args:
        ranges: one for each.
        changed: called when any of them moves; draws, and calls `tell`.
        step: of all.
    """

    def __init__(self, ranges: Sequence[Range], changed: Callable[[], Awaitable[None]], step: float = 0.1):
        self.ranges = ranges
        self.sliders: list[Slider] = []
        self.rows: list[ui.element] = []
        self.numbers: list[ui.label] = []
        self.places = len(f"{step:g}".partition(".")[2])
        with ui.element("div").classes("sliders"):
            for given in ranges:
                with ui.element("div").classes("slider") as row:
                    ui.label(given.label).classes("name").props["title"] = given.label
                    slider = Slider(min=given.low, max=given.high, step=step, value=given.value, on_change=changed)
                    slider.props["aria-label"] = given.label
                    if given.low < 0:  # a bar from the left end would say that the value is large
                        slider.props["selection-color"] = "transparent"
                    self.numbers.append(ui.label().classes("value"))
                self.rows.append(row)
                self.sliders.append(slider)
        self.tell(self.values())

    def values(self) -> list[float]:
        """Where they stand."""
        return [float(slider.value or 0) for slider in self.sliders]

    def tell(self, values: Sequence[float]) -> None:
        """Write numbers beside the sliders."""
        for number, value in zip(self.numbers, values, strict=True):
            number.set_text(f"{round(value, self.places) + 0.0:.{self.places}f}")  # + 0.0: no "-0.0"

    def set(self, values: Sequence[float]) -> None:
        """Move them."""
        for slider, value in zip(self.sliders, values, strict=True):
            slider.set_value(value)

    def reset(self) -> None:
        """Move all to where they stood at first."""
        self.set([given.value for given in self.ranges])

    def filter(self, text: str) -> None:
        """Show those alone whose label holds the text."""
        for given, row in zip(self.ranges, self.rows, strict=True):
            row.set_visibility(text.strip().lower() in given.label.lower())


def button(text: str, on_click: Callable[[], object] | None = None) -> ui.button:
    """A plain button."""
    return ui.button(text, on_click=on_click).props("unelevated no-caps outline")


def sentence(text: str) -> ui.label:
    """A sentence that says why something is missing, or what to do."""
    return ui.label(text).classes("sentence")
