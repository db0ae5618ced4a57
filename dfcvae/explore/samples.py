"""New faces."""

from typing import TYPE_CHECKING

import torch
from nicegui import ui

from dfcvae.errors import UserError
from dfcvae.explore.explorer import Face
from dfcvae.explore.newest import Newest
from dfcvae.explore.threads import in_thread
from dfcvae.explore.widgets import Range, Sliders, Thumbnail, button

if TYPE_CHECKING:
    from dfcvae.explore.page import Page

COUNT = 8
USUAL = "A click on a face makes it the current one."


class Samples:
    """Faces drawn from a prior; a click on one makes it the current face."""

    def __init__(self, page: "Page"):
        self.page, self.explorer = page, page.explorer
        self.faces: list[Face] = []
        self.draw = Newest(self._draw)
        with ui.element("div").classes("controls"):
            button("Draw new faces", self._next)
            self.seed = ui.number("Seed", value=0, min=0, max=2**31, precision=0, on_change=self.draw)
            self.seed.props("dense outlined").style("width: 8em")
            self.kind = ui.select(self.explorer.kinds, label="Prior", value=self.explorer.usual, on_change=self.draw)
            self.kind.props("dense outlined options-dense").style("width: 9em")
            with ui.element("div").style("width: 360px"):
                self.temperature = Sliders([Range("Temperature", 0, 1.5, 1)], self.draw, step=0.05)
        self.message = ui.label(USUAL).classes("sentence")
        with ui.element("div").classes("samples"):
            self.thumbnails = [Thumbnail(large=True) for _ in range(COUNT)]
        for place, thumbnail in enumerate(self.thumbnails):
            thumbnail.button.on("click", lambda place=place: self._take(place))
        ui.timer(0, self.draw, once=True)

    def _next(self) -> None:
        self.seed.set_value(int(self.seed.value or 0) + 1)

    async def _take(self, place: int) -> None:
        if self.faces:
            await self.page.choose(self.faces[place])

    def _drawn(self, kind: str, seed: int, temperature: float) -> tuple[list[Face], list[str]]:
        faces = self.explorer.samples(kind, seed=seed, count=COUNT, temperature=temperature)
        return faces, self.explorer.pictures(torch.stack([face.z for face in faces]))

    def _show(self, faces: list[Face], pictures: list[str]) -> None:
        self.faces = faces
        for thumbnail, face, url in zip(self.thumbnails, faces, pictures, strict=True):
            thumbnail.show(url, face.name)

    async def _draw(self) -> None:
        kind, seed, temperature = self.kind.value, max(0, int(self.seed.value or 0)), self.temperature.values()
        if kind not in self.explorer.priors:
            self.message.set_text(
                f"Fitting the prior {kind} to the training faces, once; this can take a minute or two."
            )
        try:
            self._show(*await in_thread(self._drawn, kind, seed, temperature[0]))
        except (UserError, OSError) as error:
            self.message.set_text(str(error))
        else:
            self.message.set_text(f"Drawn from: {self.explorer.priors[kind]}. {USUAL}")
            self.temperature.tell(temperature)
