"""Moving the attributes of a face."""

from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from dfcvae.explore.explorer import Face
from dfcvae.explore.newest import Newest
from dfcvae.explore.pictures import data_url
from dfcvae.explore.threads import in_thread
from dfcvae.explore.widgets import Picture, Range, Sliders, button, sentence

if TYPE_CHECKING:
    from dfcvae.explore.page import Page

MANY = 12  # attributes, from which on a filter helps


class Edit:
    """Original, reconstruction and edited face beside one another, and a slider for every attribute."""

    def __init__(self, page: "Page"):
        self.page, self.explorer = page, page.explorer
        vectors = self.explorer.vectors
        self.names = vectors.names if vectors else ()
        with ui.element("div").classes("pictures"):
            self.original = Picture("Original", "edit-original")
            self.reconstruction = Picture("Reconstruction", "edit-reconstruction")
            if self.names:
                self.edited = Picture("Edited", "edit-edited")
        if self.names:
            self._controls()
        else:
            sentence(f"There are no attributes to move. {self.explorer.no_vectors}")
        page.watch(self._chosen)

    def _controls(self) -> None:
        self.draw = Newest(self._draw)
        with ui.element("div").classes("controls"):
            button("Reset", self._reset)
            if len(self.names) > MANY:
                ui.input("Filter attributes", on_change=self._filter).props("dense outlined clearable")
            ui.label("1 is the distance between faces without and with the attribute.").classes("sentence")
        self.sliders = Sliders([Range(name.replace("_", " "), -3, 3, 0) for name in self.names], self.draw)

    async def _chosen(self, face: Face, reconstruction: str) -> None:
        self.original.show(
            None if face.original is None else data_url(face.original),
            "No original: a sample" if face.original is None else "Original",
        )
        self.reconstruction.show(reconstruction)
        if self.names:
            self.sliders.reset()
            await self.draw()

    def _reset(self) -> None:
        self.sliders.reset()

    def _filter(self, event: ValueChangeEventArguments) -> None:
        self.sliders.filter(event.value or "")

    async def _draw(self) -> None:
        strengths = self.sliders.values()
        z = self.explorer.edit(self.page.face.z, dict(zip(self.names, strengths, strict=True)))
        self.edited.show((await in_thread(self.explorer.pictures, z[None]))[0])
        self.sliders.tell(strengths)
