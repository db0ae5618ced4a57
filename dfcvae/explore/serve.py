"""From the command line to a running server."""

import signal

from dfcvae.errors import UserError
from dfcvae.explore.explorer import Explorer
from dfcvae.explore.ports import free_port

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ALL_ADDRESSES = ("0.0.0.0", "::")


def serve(
    model: str, source: str | None = None, *, host: str = "127.0.0.1", port: int = 8080, show: bool = False
) -> None:
    """Serve the page of a model until Ctrl+C.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a model that ships with the package.
        source: where the faces come from (default: as in training).
        host: address to listen on; with a loopback address only this machine can reach the page.
        port: if it is in use, the next free one is taken.
        show: open the page in the browser.

    Raises:
        UserError: if NiceGUI is not installed, or there is no model or no free port.
    """
    try:
        from nicegui import app, ui
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        raise UserError('The explorer needs NiceGUI: pip install -e ".[explore]"') from error
    from dfcvae.explore.guard import OwnOrigin
    from dfcvae.explore.page import Page

    explorer = Explorer.load(model, source)
    port = free_port(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    app.add_middleware(OwnOrigin)
    if host not in ALL_ADDRESSES:  # a page that has its own name point to this machine would send that name as the host
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]", host], www_redirect=False)
    app.on_startup(lambda: print(f"The page of {model} is at {url} (Ctrl+C stops it).", flush=True))

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server stops at Ctrl+C, but then raises it once more
    try:
        ui.run(
            lambda: Page(explorer),
            host=host,
            port=port,
            title=f"dfcvae · {explorer.model.name}",
            reload=False,
            show=show,
            show_welcome_message=False,
            tailwind=False,
            reconnect_timeout=30,  # a tab in the background may be quiet for a while and should keep its state
            message_history_length=200,  # pictures are messages too, and all of them are kept for that time
            timeout_graceful_shutdown=1,
        )
    finally:
        signal.signal(signal.SIGINT, previous)
