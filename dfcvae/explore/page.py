"""The page: the current face at the top, and below it a panel for each thing to do with it."""

from collections.abc import Callable
from functools import partial

import torch
from nicegui import ui
from nicegui.events import GenericEventArguments, UploadEventArguments
from torch import Tensor

from dfcvae.errors import UserError, printable
from dfcvae.explore.explorer import Explorer, data_url
from dfcvae.explore.session import Session, in_thread, newest
from dfcvae.explore.widgets import ACCENT, BLANK, CSS, Picture, Range, Sliders, Thumbnail, button
from dfcvae.images import to_float
from dfcvae.latent import interpolate as straight
from dfcvae.latent import slerp
from dfcvae.latent.attributes import grouped
from dfcvae.trained import Face

THUMBNAILS = 8
LARGEST = 50 * 2**20  # bytes of an upload
DIMENSIONS = 12
REACH = 4.0  # standard deviations of the prior, in both directions
STEPS = 101  # between two faces: more than a slider on a screen can resolve
SAMPLES = 8

Known = tuple[list[Range], str, Callable[[Tensor, list[float]], Tensor]]
"""Sliders, a sentence about them, and what moves a latent (D,) by their values."""


def page(explorer: Explorer) -> None:
    """Build the page for one browser tab."""
    session, about = Session(explorer), explorer.trained.vae.config
    ui.add_css(CSS)
    ui.colors(primary=ACCENT)
    with ui.element("main").classes("page"):
        with ui.element("header").classes("top"):
            with ui.element("h1"):
                ui.label(explorer.name)
            ui.label(
                f"{about['network']}, {about['size']} x {about['size']} pixels, "
                f"{'grey' if about['channels'] == 1 else 'RGB'}, {about['latent_dim']} latent dimensions"
            ).classes("about")
        choose(session)
        panels: dict[str, Callable[[Session], None]] = {
            "Edit": partial(slide, name="edit", known=attributes),
            "Traverse": partial(slide, name="traverse", known=dimensions),
            "Interpolate": interpolate,
            "Sample": sample,
        }
        with ui.tabs().props("align=left no-caps dense") as tabs:
            for name in panels:
                ui.tab(name)
        with ui.tab_panels(tabs, value="Edit", animated=False, keep_alive=True):
            for name, panel in panels.items():
                with ui.tab_panel(name):
                    panel(session)
    ui.timer(0, lambda: session.choose(session.face), once=True)  # once the browser is connected


def choose(session: Session) -> None:
    """The current face, an upload, and faces to choose from."""
    explorer, count, first = session.explorer, len(session.explorer.images), 0

    async def uploaded(event: UploadEventArguments) -> None:
        upload.reset()  # the same file may be chosen again
        try:
            if event.file.size() > LARGEST:  # which browsers check, and other clients may not
                raise UserError(f"{printable(event.file.name)} is larger than {LARGEST // 2**20} MB.")
            face = await in_thread(explorer.upload, await event.file.read(), event.file.name)
        except UserError as error:
            message.text = str(error)
        else:
            await session.choose(face)

    def rejected(event: GenericEventArguments) -> None:
        size, file = event.args
        wrong = f"is larger than {LARGEST // 2**20} MB" if size > LARGEST else "is not an image file"
        message.text = f"{printable(file)} {wrong}."

    def turn(by: int) -> None:
        nonlocal first
        first = (first + by) % count
        for place, thumbnail in enumerate(thumbnails):
            index = (first + place) % count
            name = f"{explorer.of_faces.capitalize()} {index + 1} of {count}"
            thumbnail.show(data_url(to_float(explorer.images[index])), name)

    async def take(place: int) -> None:
        await session.choose(await in_thread(explorer.face, (first + place) % count))

    def show(face: Face, reconstruction: str) -> None:
        image.props["src"] = reconstruction if face.original is None else data_url(face.original)
        image.props["alt"] = label.props["title"] = label.text = face.name
        message.text = ""

    with ui.element("div").classes("bar"):
        with ui.element("div").classes("current"):
            image = ui.element("img").props(f"src={BLANK}")
            with ui.element("div").classes("text"):
                label = ui.label().classes("name ellipsis")
                upload = ui.upload(on_upload=uploaded, max_file_size=LARGEST, auto_upload=True)
                upload.props('accept="image/*,.tif,.tiff,.bmp,.webp"')
                upload.on("rejected", rejected, js_handler="([r]) => emit(r.file.size, r.file.name)")
                pick = f"() => getElement({upload.id}).$refs.qRef.pickFiles()"  # browsers want it in the click itself
                button("Upload a face").on("click", js_handler=pick)
        message = ui.label().classes("message").props("role=status aria-live=polite")
        if count:
            with ui.element("div").classes("faces"):
                compact = f'aria-label="{{}} {explorer.of_faces}s" padding="4px 10px"'
                button("<", partial(turn, -THUMBNAILS)).props(compact.format("Earlier"))
                thumbnails = [Thumbnail(partial(take, place)) for place in range(min(THUMBNAILS, count))]
                button(">", partial(turn, THUMBNAILS)).props(compact.format("Later"))
            turn(0)
        else:
            ui.label(f"There are no held-out faces to choose from. {explorer.no_faces}").classes("sentence")
    session.chosen.subscribe(show)


def attributes(explorer: Explorer) -> Known | str:
    """A slider for every attribute, in groups, the most telling first."""
    vectors = explorer.vectors()
    if isinstance(vectors, str):
        return f"There are no attributes to edit. {vectors}"
    groups = grouped(vectors.names)
    order = [name for names in groups.values() for name in names]

    def move(z: Tensor, values: list[float]) -> Tensor:
        return vectors.edit(z[None], dict(zip(order, values, strict=True)))[0]

    ranges = [Range(name.replace("_", " "), -3, 3, 0, title) for title, names in groups.items() for name in names]
    return ranges, "1 is the distance between faces without and with the attribute.", move


def dimensions(explorer: Explorer) -> Known:
    """A slider for each of the most informative latent dimensions."""
    indices, nats = explorer.dimensions()
    shown = indices[:DIMENSIONS]
    labels = [f"z[{dimension}]" for dimension in shown]
    about = "The first latent dimensions; ranking them by information needs held-out faces."
    if nats:
        labels = [f"{label}, {kl:.2f} nats" for label, kl in zip(labels, nats, strict=False)]
        about = (
            "Added to the most informative dimensions, by their mean KL over "
            f"{explorer.of_faces}s; {sum(nats):.1f} nats in all."
        )

    def move(z: Tensor, values: list[float]) -> Tensor:
        z = z.clone()
        z[shown] += torch.tensor(values)
        return z

    return [Range(label, -REACH, REACH) for label in labels], about, move


def slide(session: Session, name: str, known: Callable[[Explorer], Known | str]) -> None:
    """Original, reconstruction and moved face side by side, with sliders that stay when another face is chosen."""
    with ui.element("div").classes("pictures"):
        original = Picture("Original", f"{name}-original")
        reconstruction = Picture("Reconstruction", f"{name}-reconstruction")
        changed = Picture("Moved", f"{name}-moved", main=True)

    def show(face: Face, picture: str) -> None:
        original.figure.set_visibility(face.original is not None)
        if face.original is not None:
            original.show(data_url(face.original))
        reconstruction.show(picture)

    async def build() -> None:
        found = await in_thread(known, session.explorer)
        waiting.delete()
        if isinstance(found, str):
            changed.figure.set_visibility(False)
            with panel:
                ui.label(found).classes("sentence")
            return
        ranges, about, move = found

        @newest
        async def draw() -> None:
            changed.show(await session.picture(move(session.face.z, sliders.values)))

        async def save() -> None:
            pairs = zip(ranges, sliders.values, strict=True)
            moved = [f"{given.label} {value:+g}" for given, value in pairs if value]
            await session.save(", ".join(moved) or "not moved", move(session.face.z, sliders.values))

        def search(text: str) -> None:
            found = sliders.filter(text.strip())
            nothing.text = "" if found else f"No attribute contains {text.strip()!r}."

        def reset() -> None:
            sliders.values = [0] * len(ranges)

        with panel:
            with ui.element("div").classes("controls"):
                button("Reset", reset).props(f'aria-label="Reset {name}"')
                button("Save picture", save).props(f'aria-label="Save picture, {name}"')
                if ranges and ranges[0].group:
                    find = ui.input("Find an attribute", on_change=lambda event: search(event.value or ""))
                    find.props("dense outlined clearable debounce=150")
                ui.label(about).classes("sentence")
            nothing = ui.label().classes("sentence").props("role=status aria-live=polite")
            sliders = Sliders(ranges, draw)
        session.chosen.subscribe(draw)
        await draw()

    session.chosen.subscribe(show)
    panel = ui.element("div")
    with panel:
        waiting = ui.label("Attribute vectors are loaded, or fitted once, which may take minutes.").classes("sentence")
    ui.timer(0, build, once=True)


def interpolate(session: Session) -> None:
    """Two faces, one between them, and a slider from the first to the second."""
    ends = [session.face, session.explorer.face(1)]

    @newest
    async def draw() -> None:
        path = (slerp if kind.value == "spherical" else straight)(ends[0].z, ends[1].z, STEPS)
        between.show(await session.picture(path[round(slider.values[0] * (STEPS - 1))]))

    async def show() -> None:
        for picture, caption, face in zip((start, end), ("From", "To"), ends, strict=True):
            picture.show(await session.picture(face.z), f"{caption}: {face.name}")
        await draw()

    async def take(place: int) -> None:
        ends[place] = session.face
        await show()

    with ui.element("div").classes("pictures"):
        start, between, end = (
            Picture(name, f"interpolate-{name.lower()}", main=name == "Between") for name in ("From", "Between", "To")
        )
    with ui.element("div").classes("controls"):
        button("From the current face", partial(take, 0))
        button("To the current face", partial(take, 1))
        kind = ui.toggle(["straight", "spherical"], value="straight", on_change=draw)
        kind.props("no-caps unelevated toggle-color=primary color=white text-color=primary")
    slider = Sliders([Range("Fraction of the way", 0, 1, 0.5)], draw, step=1 / (STEPS - 1))
    ui.timer(0, show, once=True)


def sample(session: Session) -> None:
    """Faces drawn from a prior; a click makes one the current face."""
    explorer, faces, hint = session.explorer, list[Face](), "Click a face to make it the current one."

    def sampled(kind: str, seed: int, temperature: float) -> tuple[list[Face], list[str]]:
        drawn = explorer.samples(kind, seed=seed, count=SAMPLES, temperature=temperature)
        return drawn, explorer.pictures(torch.stack([face.z for face in drawn]))

    @newest
    async def draw() -> None:
        prior, temperature = str(kind.value), slider.values[0]
        if prior not in ("normal", explorer.default_prior):
            message.text = f"Loading the prior {prior}, or fitting it once; this can take a minute or two."
        try:
            faces[:], pictures = await in_thread(sampled, prior, max(0, int(seed.value or 0)), temperature)
        except (UserError, OSError) as error:
            message.text = str(error)
            return
        for thumbnail, face, url in zip(thumbnails, faces, pictures, strict=True):
            thumbnail.show(url, face.name)
        message.text = f"Drawn from: {explorer.trained.prior(explorer.prior_name(prior))}. {hint}"

    async def take(place: int) -> None:
        if faces:
            await session.choose(faces[place])

    with ui.element("div").classes("controls"):
        button("Draw new faces", lambda: seed.set_value(int(seed.value or 0) + 1))
        seed = ui.number("Seed", value=0, min=0, max=2**31, precision=0, on_change=draw).props("dense outlined")
        seed.style("width: 8em")
        kind = ui.select(explorer.kinds, label="Prior", value=explorer.default_prior, on_change=draw)
        kind.props("dense outlined options-dense").style("width: 9em")
        slider = Sliders([Range("Temperature", 0, 1.5, 1)], draw, step=0.05)
    message = ui.label(hint).classes("sentence")
    with ui.element("div").classes("samples"):
        thumbnails = [Thumbnail(partial(take, place)) for place in range(SAMPLES)]
    ui.timer(0, draw, once=True)
