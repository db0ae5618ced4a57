"""What one browser tab works on, and how it computes without blocking the server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from nicegui import Client, Event, context, run, ui
from torch import Tensor

from dfcvae.explore.explorer import Explorer
from dfcvae.trained import Face

P = ParamSpec("P")
R = TypeVar("R")


class Session:
    """The state of one browser tab: the current face, and whom to tell of a new one and its picture's data URL."""

    def __init__(self, explorer: Explorer):
        self.explorer, self.face = explorer, explorer.face(0)
        self.chosen = Event[Face, str]()

    async def choose(self, face: Face) -> None:
        """Make a face the current one."""
        self.face = face
        reconstruction = await self.picture(face.z)
        if face is self.face:  # no other one was chosen meanwhile
            await self.chosen.call(face, reconstruction)

    async def picture(self, z: Tensor) -> str:
        """What a latent (D,) decodes to, as a data URL."""
        return (await in_thread(self.explorer.pictures, z[None]))[0]

    async def save(self, label: str, z: Tensor) -> None:
        """Download the face, its reconstruction, and what another latent (D,) decodes to, with its label."""
        picture = await in_thread(self.explorer.saved, self.face, {label: z})
        ui.download(picture, f"{self.explorer.name}.png")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in another thread, so that the server stays responsive; cancelled where the tab was closed."""
    client = context.client
    result = await run.io_bound(function, *args, **kwargs)
    if result is None or client.id not in Client.instances:
        raise asyncio.CancelledError
    return result


def newest(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Run at most one call at a time, and let at most one wait, which replaces all that arrive meanwhile.

    A slider sends values faster than pictures can be drawn. ``work`` reads the current values when it starts, so
    there is no backlog and the last value is always drawn.
    """
    lock, waiting = asyncio.Lock(), False

    async def call() -> None:
        nonlocal waiting
        if waiting:
            return
        waiting = True
        async with lock:
            waiting = False
            await work()

    return call
