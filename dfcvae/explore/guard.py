"""Who may talk to the server: its own pages, and no other that happens to be open in the same browser."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnOrigin:
    """Refuses requests and WebSockets that a page of another origin makes.

    Browsers say in the header Origin which page asks; WebSockets have no other protection. Programs send none.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer 403."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                response = PlainTextResponse("Requests of other pages are refused.", status_code=403)
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)
