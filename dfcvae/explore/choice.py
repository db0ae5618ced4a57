"""Choosing a face: a held-out one, a draw where there are none, or a file of one's own."""

from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.events import UploadEventArguments

from dfcvae.errors import UserError
from dfcvae.explore.explorer import Face
from dfcvae.explore.pictures import data_url
from dfcvae.explore.threads import in_thread
from dfcvae.explore.uploads import FILE_TOO_LARGE, LARGEST
from dfcvae.explore.widgets import BLANK, Thumbnail, button, sentence
from dfcvae.images import to_float

if TYPE_CHECKING:
    from dfcvae.explore.page import Page

SHOWN = 8  # faces at a time


class Choice:
    """The bar above everything: the face one looks at, and others to take instead."""

    def __init__(self, page: "Page"):
        self.page, self.first = page, 0
        with ui.element("div").classes("bar"):
            with ui.element("div").classes("current"):
                self.image = ui.element("img").props(f"src={BLANK}")
                with ui.element("div").classes("text"):
                    self.name = ui.label().classes("name")
                    self._upload()
            self.message = ui.label().classes("message").props("role=status aria-live=polite")
            if len(page.explorer.faces):
                self._faces()
            else:
                sentence(f"There are no held-out faces to choose from. {page.explorer.no_faces}")
        page.watch(self._chosen)

    def _upload(self) -> None:
        upload = ui.upload(on_upload=self._uploaded, max_file_size=LARGEST, auto_upload=True)
        upload.props('accept="image/*,.tif,.tiff,.bmp,.webp"')
        upload.on_rejected(lambda: self._say(FILE_TOO_LARGE))
        button("Upload a face").on("click", js_handler=f"() => getElement({upload.id}).$refs.qRef.pickFiles()")
        self.upload = upload

    def _faces(self) -> None:
        with ui.element("div").classes("held-out"):
            faces = f"{self.page.explorer.of_faces}s"
            button("<", lambda: self._turn(-SHOWN)).props(f'aria-label="Earlier {faces}" padding="4px 10px"')
            self.thumbnails = [Thumbnail() for _ in range(min(SHOWN, len(self.page.explorer.faces)))]
            button(">", lambda: self._turn(SHOWN)).props(f'aria-label="Later {faces}" padding="4px 10px"')
        for place, thumbnail in enumerate(self.thumbnails):
            thumbnail.button.on("click", lambda place=place: self._take(place))
        self._turn(0)

    def _turn(self, by: int) -> None:
        faces = self.page.explorer.faces
        self.first = (self.first + by) % len(faces)
        for place, thumbnail in enumerate(self.thumbnails):
            index = (self.first + place) % len(faces)
            name = self.page.explorer.of_faces.capitalize()
            thumbnail.show(data_url(to_float(faces[index])), f"{name} {index + 1} of {len(faces)}")

    async def _take(self, place: int) -> None:
        index = (self.first + place) % len(self.page.explorer.faces)
        await self.page.choose(await in_thread(self.page.explorer.held_out, index))

    async def _uploaded(self, event: UploadEventArguments) -> None:
        self.upload.reset()
        try:
            if event.file.size() > LARGEST:
                raise UserError(FILE_TOO_LARGE)
            face = await in_thread(self.page.explorer.upload, await event.file.read(), event.file.name)
        except UserError as error:
            self._say(str(error))
        else:
            await self.page.choose(face)

    async def _chosen(self, face: Face, reconstruction: str) -> None:
        self.image.props["src"] = reconstruction if face.original is None else data_url(face.original)
        self.image.props["alt"] = self.name.text = face.name
        self.name.props["title"] = face.name
        self._say("")

    def _say(self, text: str) -> None:
        self.message.set_text(text)
