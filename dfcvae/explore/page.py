"""The page: the face one looks at, and below it what one can do with it. Each browser tab has its own."""

from collections.abc import Awaitable, Callable

from nicegui import ui

from dfcvae.explore.choice import Choice
from dfcvae.explore.edit import Edit
from dfcvae.explore.explorer import Explorer, Face
from dfcvae.explore.interpolation import Interpolation
from dfcvae.explore.samples import Samples
from dfcvae.explore.style import CSS
from dfcvae.explore.threads import in_thread
from dfcvae.explore.traversal import Traversal


class Page:
    """What one browser tab shows.

    Args:
        explorer: the model; shared by all tabs, and changed by none.
    """

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        self.face = explorer.first_face()
        self.watching: list[Callable[[Face, str], Awaitable[None]]] = []
        ui.add_css(CSS)
        ui.colors(primary="#1f5fa8")
        with ui.element("main").classes("page"):
            self._title()
            Choice(self)
            parts = {"Edit": Edit, "Traverse": Traversal, "Interpolate": Interpolation, "Sample": Samples}
            with ui.tabs().props("align=left no-caps dense") as tabs:
                for name in parts:
                    ui.tab(name)
            with ui.tab_panels(tabs, value="Edit", animated=False, keep_alive=True):
                for name, part in parts.items():
                    with ui.tab_panel(name):
                        part(self)
        ui.timer(0, lambda: self.choose(self.face), once=True)  # when the page is there

    async def choose(self, face: Face) -> None:
        """Make a face the one that everything on the page is about."""
        self.face = face
        reconstruction = (await in_thread(self.explorer.pictures, face.z[None]))[0]
        if face is self.face:  # and not yet another one
            for changed in self.watching:
                await changed(face, reconstruction)

    def watch(self, changed: Callable[[Face, str], Awaitable[None]]) -> None:
        """Call a function with every face that is chosen, and its reconstruction."""
        self.watching.append(changed)

    def _title(self) -> None:
        about = self.explorer.vae.config
        channels = "grey" if about["channels"] == 1 else "RGB"
        with ui.element("header").classes("top"):
            with ui.element("h1"):
                ui.label(self.explorer.model.resolve().name)
            ui.label(
                f"{about['network']}, {about['size']} x {about['size']} pixels, {channels}, "
                f"{about['latent_dim']} latent dimensions"
            ).classes("about")
