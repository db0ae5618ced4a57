"""The small parts of the server: the newest request, ports, origins, and a missing NiceGUI."""

import asyncio
import socket
import sys

import pytest

from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.explore.newest import Newest
from dfcvae.explore.ports import free_port


def test_only_the_newest_of_many_requests_is_answered():
    value, drawn = 0, []

    async def draw():
        shown = value
        await asyncio.sleep(0.01)
        drawn.append(shown)

    async def drag():
        nonlocal value
        newest = Newest(draw)
        requests = []
        for value in range(1, 51):  # noqa: B007
            requests.append(asyncio.create_task(newest()))
            await asyncio.sleep(0.001)
        await asyncio.gather(*requests)

    asyncio.run(drag())
    assert drawn[-1] == 50
    assert drawn == sorted(drawn)  # a value may be drawn twice, if it came while a drawing with it began
    assert len(drawn) < 20


def test_a_failure_does_not_stop_later_requests():
    calls = []

    async def draw():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")

    async def twice():
        newest = Newest(draw)
        with pytest.raises(ValueError, match="once"):
            await newest()
        await newest()

    asyncio.run(twice())
    assert len(calls) == 2


def test_the_next_free_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) < port + 20


def test_no_free_port_or_no_such_host_is_told(monkeypatch):
    monkeypatch.setattr("dfcvae.explore.ports.TRIED", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"No port from {port} to {port} is free on"):
            free_port("127.0.0.1", port)
    with pytest.raises(UserError, match=r"no address 'no\.\.host' to listen on"):
        free_port("no..host", 8080)


def test_without_nicegui_a_sentence_says_what_to_install(monkeypatch, capsys, model):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert main(["explore", str(model)]) == 1
    assert 'The explorer needs NiceGUI: pip install -e ".[explore]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:80"}, 200),
        ({"host": "127.0.0.1:80", "origin": "http://127.0.0.1:80"}, 200),
        ({"host": "127.0.0.1:80", "origin": "http://127.0.0.1:81"}, 403),
        ({"host": "127.0.0.1:80", "origin": "http://elsewhere.example"}, 403),
        ({"host": "127.0.0.1:80", "origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_other_origins_are_refused(headers, status, kind):
    pytest.importorskip("starlette")
    from dfcvae.explore.guard import OwnOrigin

    sent, reached = [], []

    async def page(scope, receive, send):
        reached.append(scope)

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    extensions = {"websocket.http.response": {}}
    scope = {"type": kind, "headers": raw, "path": "/", "method": "GET", "extensions": extensions}
    asyncio.run(OwnOrigin(page)(scope, receive, send))
    assert bool(reached) == (status == 200)
    assert [message["status"] for message in sent if "status" in message] == ([] if status == 200 else [403])
