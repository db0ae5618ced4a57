"""From the command line to a running server: the port, and who may talk to it."""

import signal
import socket
from typing import TYPE_CHECKING

from dfcvae.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
ALL_ADDRESSES = ("0.0.0.0", "::")


def serve(
    model: str, source: str | None = None, *, host: str = "127.0.0.1", port: int = 8080, show: bool = False
) -> None:
    """Serve the page of a model until Ctrl+C.

    Args:
        model: see `Explorer`, as for ``source``.
        host: address to listen on; with a loopback address only this machine can reach the page.
        port: to listen on.
        show: open the page in the browser.

    Raises:
        UserError: if NiceGUI is not installed, there is no such model, or the port is in use.
    """
    try:
        from nicegui import app, ui
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        raise UserError('The explorer needs NiceGUI: pip install -e ".[explore]"') from error
    from dfcvae.explore.explorer import Explorer
    from dfcvae.explore.page import page

    explorer = Explorer(model, source)
    check_port(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    app.add_middleware(SameOrigin)
    if host not in ALL_ADDRESSES:  # against DNS rebinding: another site's name that points to this machine
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, host], www_redirect=False)
    app.on_startup(lambda: print(f"Serving {model} at {url} (Ctrl+C stops it).", flush=True))

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server stops at Ctrl+C, but then raises it once more
    try:
        ui.run(
            lambda: page(explorer),
            host=host,
            port=port,
            title=f"dfcvae · {explorer.name}",
            reload=False,
            show=show,
            show_welcome_message=False,
            tailwind=False,
            reconnect_timeout=30,  # a tab in the background may be quiet for a while and should keep its state
            message_history_length=200,  # pictures are messages too, and all of them are buffered
            timeout_graceful_shutdown=1,
        )
    finally:
        signal.signal(signal.SIGINT, previous)


def check_port(host: str, port: int) -> None:
    """Raise a UserError if the port is in use, or there is no such host."""
    try:
        family, _, _, _, (address, *_) = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:  # the latter: not even possible as a name
        raise UserError(f"There is no address {host!r} to listen on; use 127.0.0.1 or 0.0.0.0.") from error
    try:
        socket.create_server((str(address), port), family=family).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"Port {port} is not free on {host}; choose another with --port.") from error


class SameOrigin:
    """Refuses requests and WebSockets made by pages of another origin that are open in the same browser.

    Browsers name the asking page in the header Origin; WebSockets have no other protection. Programs send none.
    """

    def __init__(self, app: "ASGIApp"):
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or answer 403."""
        headers = dict(scope.get("headers", ()))
        origin = headers.get(b"origin")
        if origin is None or origin.partition(b"://")[2] == headers.get(b"host"):
            await self.app(scope, receive, send)
        else:
            from starlette.responses import PlainTextResponse

            refusal = PlainTextResponse("Requests from other pages are refused.", status_code=403)
            await refusal(scope, receive, send)
