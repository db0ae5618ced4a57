"""Moving single dimensions of the latent space."""

from typing import TYPE_CHECKING

from nicegui import ui

from dfcvae.explore.explorer import Face
from dfcvae.explore.newest import Newest
from dfcvae.explore.threads import in_thread
from dfcvae.explore.widgets import Picture, Range, Sliders, button

if TYPE_CHECKING:
    from dfcvae.explore.page import Page

SHOWN = 12  # dimensions
REACH = 4.0  # standard deviations of the prior, to either side


class Traversal:
    """The face as it is and as it becomes, and a slider for each of the dimensions that tell most of a face."""

    def __init__(self, page: "Page"):
        self.page, self.explorer = page, page.explorer
        self.dimensions = self.explorer.dimensions[:SHOWN]
        self.draw = Newest(self._draw)
        with ui.element("div").classes("pictures"):
            self.reconstruction = Picture("Reconstruction", "traverse-reconstruction")
            self.moved = Picture("Moved", "traverse-moved")
        with ui.element("div").classes("controls"):
            button("Reset", self._reset)
            ui.label(self._about()).classes("sentence")
        self.sliders = Sliders(
            [Range(self._label(i), -REACH, REACH, 0) for i in range(len(self.dimensions))], self.draw
        )
        page.watch(self._chosen)

    def _label(self, place: int) -> str:
        nats = self.explorer.nats
        dimension = f"z[{self.dimensions[place]}]"
        return dimension if nats is None else f"{dimension}, {nats[place]:.2f} nats"

    def _about(self) -> str:
        if self.explorer.nats is None:
            return (
                "The first latent dimensions; which of them tell most of a face can be measured on held-out faces only."
            )
        total = float(self.explorer.nats.sum())
        return (
            f"The latent dimensions that tell most of a face, by their mean KL over {len(self.explorer.faces):,} "
            f"{self.explorer.of_faces}s; {total:.1f} nats in all."
        )

    async def _chosen(self, face: Face, reconstruction: str) -> None:
        self.reconstruction.show(reconstruction)
        self._reset()
        await self.draw()

    def _reset(self) -> None:
        self.sliders.set([float(self.page.face.z[dimension]) for dimension in self.dimensions])

    async def _draw(self) -> None:
        values = self.sliders.values()
        z = self.explorer.move(self.page.face.z, dict(zip(self.dimensions, values, strict=True)))
        self.moved.show((await in_thread(self.explorer.pictures, z[None]))[0])
        self.sliders.tell(values)
