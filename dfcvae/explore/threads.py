"""Computing while the server goes on answering."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from nicegui import Client, context, run

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a function returns, computed in another thread.

    Raises:
        asyncio.CancelledError: if the tab was closed or the server stopped meanwhile: nobody waits for it any more.
    """
    client = context.client
    result = await run.io_bound(function, *args, **kwargs)
    if result is None or client.id not in Client.instances:
        raise asyncio.CancelledError
    return result
