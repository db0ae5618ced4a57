"""The server without a page: ports, origins, the newest of many requests, and a missing NiceGUI."""

import asyncio
import socket
import sys

import pytest

from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.explore.serve import SameOrigin, check_port


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use_and_no_such_host_are_explained(taken):
    with pytest.raises(UserError, match=f"Port {taken} is not free on 127.0.0.1; choose another with --port"):
        check_port("127.0.0.1", taken)
    with pytest.raises(UserError, match=r"no address 'no\.\.host' to listen on"):
        check_port("no..host", 8080)


def test_without_nicegui_a_sentence_says_what_to_install(monkeypatch, capsys, model):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert main(["explore", str(model)]) == 1
    assert 'The explorer needs NiceGUI: pip install -e ".[explore]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://127.0.0.1:80", 200),
        ("http://127.0.0.1:81", 403),
        ("http://elsewhere.example", 403),
        ("null", 403),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_other_origins_are_refused(origin, status, kind):
    pytest.importorskip("starlette")
    sent, reached = [], []

    async def page(scope, receive, send):
        reached.append(scope)

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:80"), *([(b"origin", origin.encode())] if origin else [])]
    extensions = {"websocket.http.response": {}}
    scope = {"type": kind, "headers": headers, "path": "/", "method": "GET", "extensions": extensions}
    asyncio.run(SameOrigin(page)(scope, None, send))
    assert bool(reached) == (status == 200)
    assert [message["status"] for message in sent if "status" in message] == ([] if status == 200 else [403])


def test_only_the_newest_of_many_requests_is_answered():
    pytest.importorskip("nicegui")
    from dfcvae.explore.session import newest

    value, drawn = 0, []

    async def turns(n):
        """Let the other tasks run n times: no clock, so that every run is the same."""
        for _ in range(n):
            await asyncio.sleep(0)

    @newest
    async def draw():
        shown = value
        await turns(10)
        drawn.append(shown)
        if len(drawn) == 1:
            raise ValueError("a failure does not stop later requests")

    async def drag():
        nonlocal value
        requests = []
        for value in range(1, 51):  # noqa: B007
            requests.append(asyncio.create_task(draw()))
            await turns(1)
        return await asyncio.gather(*requests, return_exceptions=True)

    assert sum(isinstance(result, ValueError) for result in asyncio.run(drag())) == 1
    assert drawn[-1] == 50
    assert drawn == sorted(drawn)  # a value may be drawn twice, if it arrives while a drawing of it begins
    assert len(drawn) < 20
