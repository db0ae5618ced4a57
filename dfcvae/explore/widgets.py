"""What the page is made of: pictures, thumbnails, labelled sliders, and the style sheet."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from nicegui import ui

BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="  # one transparent pixel
ACCENT = "#1f5fa8"


class Slider(ui.slider):
    """A slider whose thumb moves in the browser alone: a late answer does not pull it back."""

    LOOPBACK = False


class Picture:
    """A picture with a caption, in a box that keeps its size; the main one is the largest on a narrow screen."""

    def __init__(self, caption: str, mark: str, main: bool = False):
        with ui.element("figure").classes("picture main" if main else "picture") as self.figure:
            self.image = ui.element("img").props(f"src={BLANK} data-mark={mark}")
            self.image.props["alt"] = caption
            with ui.element("figcaption"):
                self.caption = ui.label(caption).classes("ellipsis")

    def show(self, url: str, caption: str | None = None) -> None:
        """Replace the picture and, if given, the caption."""
        self.image.props["src"] = url
        if caption is not None:
            self.caption.text = self.image.props["alt"] = caption


class Thumbnail:
    """A picture that is a button."""

    def __init__(self, on_click: Callable[[], Awaitable[None]]):
        with ui.element("button").classes("thumbnail").props("type=button").on("click", on_click) as self.button:
            self.image = ui.element("img").props(f'src={BLANK} alt=""')

    def show(self, url: str, name: str) -> None:
        """Replace the picture."""
        self.image.props["src"] = url
        self.button.props["title"] = self.button.props["aria-label"] = name


@dataclass(frozen=True)
class Range:
    """Label, ends and initial value of a slider, and the heading of its group."""

    label: str
    low: float
    high: float
    value: float = 0
    group: str = ""


class Sliders:
    """Sliders with labels and numbers, in columns; successive ones of a group are below its heading."""

    def __init__(self, ranges: Sequence[Range], on_change: Callable[[], Awaitable[None]], step: float = 0.1):
        self.on_change, self.step, self.decimals = on_change, step, len(f"{step:g}".partition(".")[2])
        self.sliders: list[Slider] = []
        self.groups: list[tuple[ui.element, dict[str, ui.element]]] = []  # each with its rows by label
        for title, members in groupby(ranges, lambda given: given.group):
            with ui.element("div").classes("group") as group:
                if title:
                    ui.label(title).classes("heading")
                with ui.element("div").classes("sliders"):
                    self.groups.append((group, {given.label: self._row(given) for given in members}))

    def _row(self, given: Range) -> ui.element:
        with ui.element("div").classes("slider") as row:
            ui.label(given.label).classes("name ellipsis").props["title"] = given.label
            slider = Slider(min=given.low, max=given.high, step=self.step, value=given.value, on_change=self.on_change)
            slider.props["aria-label"] = given.label
            if given.low < 0:  # a bar from the left end would suggest a large value
                slider.props["selection-color"] = "transparent"
            ui.label().classes("value").bind_text_from(slider, "value", self._number)
        self.sliders.append(slider)
        return row

    def _number(self, value: float | None) -> str:
        return f"{round(value or 0, self.decimals) + 0.0:.{self.decimals}f}"  # + 0.0: no "-0.0"

    def filter(self, text: str) -> bool:
        """Show only those whose label contains the text, and the groups that have any; whether there are any."""
        for group, rows in self.groups:
            for label, row in rows.items():
                row.set_visibility(text.lower() in label.lower())
            group.set_visibility(any(row.visible for row in rows.values()))
        return any(group.visible for group, _ in self.groups)

    @property
    def values(self) -> list[float]:
        """Their positions."""
        return [float(slider.value or 0) for slider in self.sliders]

    @values.setter
    def values(self, values: Sequence[float]) -> None:
        for slider, value in zip(self.sliders, values, strict=True):
            slider.value = value


def button(text: str, on_click: Callable[[], object] | None = None) -> ui.button:
    """A plain button."""
    return ui.button(text, on_click=on_click).props("unelevated no-caps outline")


CSS = """
:root { --line: #d8dade; --soft: #f3f4f6; --muted: #5c6470; --empty: #e4e6ea; }
body { font-family: system-ui, sans-serif; font-size: 15px; color: #1d2126; background: #fff; }
.nicegui-content { display: block; padding: 0; }
.page { max-width: 1240px; margin: 0 auto; padding: 14px 20px 32px; }
.top, .bar, .current, .faces, .controls { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 20px; }
.top { align-items: baseline; gap: 4px 16px; margin-bottom: 12px; }
.top h1, .sentence, .message { overflow-wrap: anywhere; }
.top h1 { font-size: 20px; line-height: 28px; font-weight: 650; letter-spacing: 0; margin: 0; }
.top .about, .sentence, figcaption { color: var(--muted); }
.sentence { max-width: 46em; line-height: 1.4; margin: 0; }
.bar { padding: 10px 12px; background: var(--soft); border-radius: 6px; min-height: 96px; }
.bar .sentence { flex: 1 1 300px; }
.bar .message { order: 1; flex: 1 1 160px; line-height: 15px; font-size: 13px; max-height: 76px;
                overflow: auto; color: #a32b1f; }
@media (max-width: 1000px) { .bar .message { order: 0; min-height: 30px; align-content: center; } }
.current { flex-wrap: nowrap; gap: 12px; width: 290px; }
.current img { width: 76px; height: 76px; border-radius: 4px; background: var(--empty); }
.current .text { display: flex; flex-direction: column; gap: 6px; min-width: 0; align-items: flex-start; }
.current .name { font-weight: 600; max-width: 190px; }
.faces { gap: 6px; }
.thumbnail { padding: 0; border: 0; border-radius: 4px; background: var(--empty); cursor: pointer;
             line-height: 0; overflow: hidden; }
.thumbnail img { width: 60px; height: 60px; }
.thumbnail:hover { outline: 2px solid #9db9d8; }
.thumbnail:focus-visible, .q-btn:focus-visible { outline: 2px solid var(--q-primary); outline-offset: 1px; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(192px, 45%), 1fr)); gap: 8px;
           max-width: 960px; }
.samples .thumbnail img { width: 100%; height: auto; aspect-ratio: 1; }
.controls { min-height: 48px; margin-bottom: 12px; }
.controls .group { width: min(360px, 100%); }
.controls + .sentence { margin-bottom: 8px; min-height: 21px; }
.pictures { display: flex; gap: 16px; padding: 4px 0 10px; position: sticky; top: 0; background: #fff; z-index: 2; }
.picture { margin: 0; flex: 0 1 256px; min-width: 0; }
.picture img { width: 100%; aspect-ratio: 1; display: block; border-radius: 4px; background: var(--soft); }
@media (max-width: 600px) {  /* the face that changes is the largest */
  .page { padding: 10px 12px 24px; }
  .pictures { display: grid; grid-template-columns: 1fr 2fr; gap: 2px 10px; align-items: start; }
  .picture.main { grid-column: 2; grid-row: 1 / span 2; }
  .slider { grid-template-columns: 8.5em 1fr 2.6em; gap: 10px; height: 36px; }
}
figcaption { line-height: 20px; height: 24px; padding-top: 4px; font-size: 14px; }
img { object-fit: cover; }
.sliders { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: 0 40px; }
.group .heading { font-weight: 600; margin: 10px 0 2px; }
.slider { display: grid; grid-template-columns: 10.5em 1fr 2.6em; align-items: center; gap: 14px; height: 30px; }
.slider .name { font-size: 14px; }
.slider .value { font-variant-numeric: tabular-nums; text-align: right; }
.q-tab { padding: 0 14px; } .q-tab__label { font-size: 15px; font-weight: 500; }
.q-tabs { border-bottom: 1px solid var(--line); margin-top: 10px; }
.q-tab-panel { display: block; padding: 14px 0 0; }
.q-tab-panels { overflow: visible; } .q-panel { overflow: visible !important; }
.q-field--outlined .q-field__control { border-radius: 4px; }
.q-btn { min-height: 34px; } .q-uploader, .q-loading-bar { display: none; }
"""
