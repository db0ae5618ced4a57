"""The way from one face to another."""

from typing import TYPE_CHECKING

from nicegui import ui

from dfcvae.explore.explorer import STEPS, Face
from dfcvae.explore.newest import Newest
from dfcvae.explore.threads import in_thread
from dfcvae.explore.widgets import Picture, Range, Sliders, button

if TYPE_CHECKING:
    from dfcvae.explore.page import Page


class Interpolation:
    """Two faces, a face between them, and a slider from one to the other."""

    def __init__(self, page: "Page"):
        self.page, self.explorer = page, page.explorer
        self.draw = Newest(self._draw)
        self.ends = [page.face, self._another()]
        captions = (("From", "from"), ("Between", "between"), ("To", "to"))
        with ui.element("div").classes("pictures"):
            self.start, self.between, self.end = (Picture(caption, f"interpolate-{mark}") for caption, mark in captions)
        with ui.element("div").classes("controls"):
            button("From the current face", lambda: self._take(0))
            button("To the current face", lambda: self._take(1))
            self.kind = ui.toggle(["straight", "spherical"], value="straight", on_change=self._turn).props(
                "no-caps unelevated toggle-color=primary color=white text-color=primary"
            )
        with ui.element("div").classes("wide"):
            self.slider = Sliders([Range("Fraction of the way", 0, 1, 0.5)], self.draw, step=1 / (STEPS - 1))
        self._lay()
        ui.timer(0, self._show, once=True)

    def _another(self) -> Face:
        explorer = self.explorer
        return explorer.held_out(1) if len(explorer.faces) > 1 else explorer.samples(explorer.usual, seed=1, count=1)[0]

    async def _take(self, end: int) -> None:
        self.ends[end] = self.page.face
        self._lay()
        await self._show()

    async def _turn(self) -> None:
        self._lay()
        await self.draw()

    async def _show(self) -> None:
        for picture, caption, face in zip((self.start, self.end), ("From", "To"), self.ends, strict=True):
            picture.show((await in_thread(self.explorer.pictures, face.z[None]))[0], f"{caption}: {face.name}")
        await self.draw()

    def _lay(self) -> None:
        start, end = (face.z for face in self.ends)
        self.way = self.explorer.way(start, end, spherical=self.kind.value == "spherical")

    async def _draw(self) -> None:
        fraction = self.slider.values()
        z = self.way[round(fraction[0] * (STEPS - 1))]
        self.between.show((await in_thread(self.explorer.pictures, z[None]))[0])
        self.slider.tell(fraction)
