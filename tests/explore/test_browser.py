"""The page of a real server in a real browser: what NiceGUI's simulation cannot show."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from dfcvae.data.synthetic import render_faces
from tests.explore.conftest import png, save_model
from tests.layouts import small_album, write_images

pytestmark = pytest.mark.slow
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FIRST = "Smiling"
TABS = {  # what is shown in each
    "Sample": "text=Draw new faces",
    "Interpolate": "img[data-mark=interpolate-between]",
    "Traverse": "img[data-mark=traverse-moved]",
    "Edit": "img[data-mark=edit-moved]",
}
NAME = "a_model_whose_name_is_longer_than_a_narrow_screen_is_wide_and_has_no_place_to_break"


@pytest.fixture(scope="module")
def chromium():
    if not os.environ.get("DFCVAE_REQUIRE_BROWSER"):
        pytest.importorskip("nicegui")
        pytest.importorskip("playwright")
        if not Path(CHROMIUM).exists():
            pytest.skip(f"there is no browser at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(300_000)  # for machines that are busy
        yield context
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of a model of 64 pixels, on held-out faces from a folder; stopped with Ctrl+C afterwards."""
    folder = tmp_path_factory.mktemp("explore-page")
    write_images(folder / "faces", small_album())
    model, log = save_model(folder / NAME, size=64, latent_dim=100), folder / "log.txt"
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}  # NiceGUI heeds it
    environment |= {"DFCVAE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from dfcvae.cli import main; raise SystemExit(main())"]
    command += ["explore", str(model), "--source", str(folder / "faces"), "--port", "8230"]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=300)
        finally:
            process.kill()
    said = log.read_text()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "deleted" not in said


def _address(process, log):
    for _ in range(6000):
        found = [word for word in log.read_text().split() if word.startswith("http://")]
        if found:
            return found[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"The server did not start: {log.read_text()}")


@pytest.fixture
def page(chromium, address):
    """A new tab; it asks no other server, and no script in it fails."""
    page = chromium.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda websocket: asked.append(websocket.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    wait_for_picture(page, "edit-moved")
    yield page
    page.close()
    origins = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("data", "blob")}
    assert origins == {urlsplit(address).netloc}
    assert not wrong


def wait_for_picture(page, mark, other_than=""):
    """The picture, once it is there and another than it was."""
    changed = """([mark, other]) => {
        const image = document.querySelector(`img[data-mark="${mark}"]`);
        return image && image.src.startsWith("data:image/png") && image.src !== other && image.src;
    }"""
    return page.wait_for_function(changed, arg=[mark, other_than]).json_value()


def settled(page, selector):
    """Where an element is, once it is visible and no longer moves."""
    page.locator(selector).wait_for()
    before, box = None, page.locator(selector).bounding_box()
    while box != before:
        page.wait_for_timeout(100)
        before, box = box, page.locator(selector).bounding_box()
    return box


def press(page, key):
    page.locator(f'[role=slider][aria-label="{FIRST}"] [tabindex]').focus()
    page.keyboard.press(key)


def test_a_slider_moves_an_attribute_and_reset_takes_it_back(page):
    before = wait_for_picture(page, "edit-moved")
    for _ in range(5):
        press(page, "ArrowRight")
    page.get_by_text("0.5", exact=True).wait_for()
    assert wait_for_picture(page, "edit-moved", before)
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("src => document.querySelector('img[data-mark=edit-moved]').src === src", arg=before)
    assert page.locator(f'[role=slider][aria-label="{FIRST}"]').get_attribute("aria-valuenow") == "0"


@pytest.mark.parametrize(("width", "side"), [(1280, 192), (800, 192), (390, 200)])
def test_the_page_fits_and_the_face_stays_in_view_while_one_slides(page, width, side):
    page.set_viewport_size({"width": width, "height": 800})
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        assert settled(page, TABS[tab])
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    last = page.locator(".slider").locator("visible=true").last
    before = wait_for_picture(page, "edit-moved")
    press(page, "ArrowRight")  # which scrolls to the slider where necessary
    before = wait_for_picture(page, "edit-moved", before)
    shown = settled(page, TABS["Edit"])
    assert shown["width"] >= side
    assert shown["width"] == pytest.approx(shown["height"], abs=1)
    press(page, "ArrowRight")
    wait_for_picture(page, "edit-moved", before)
    assert settled(page, TABS["Edit"]) == shown
    last.scroll_into_view_if_needed()
    scrolled = settled(page, TABS["Edit"])
    assert 0 <= scrolled["x"] <= scrolled["x"] + scrolled["width"] <= width
    assert 0 <= scrolled["y"] <= last.bounding_box()["y"] - scrolled["height"]


def test_files_are_uploaded_or_refused_with_the_reason(page, tmp_path):
    before = wait_for_picture(page, "edit-original")
    face = Image.fromarray(render_faces([5], size=200)[0][0].permute(1, 2, 0).numpy())
    (tmp_path / "me.png").write_bytes(png(face))
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(51 * 2**20)
    page.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    page.locator(".message", has_text="large.png is larger than 50 MB").wait_for()
    page.locator("input[type=file]").set_input_files(tmp_path / "me.png")
    page.locator(".current", has_text="me.png").wait_for()
    assert wait_for_picture(page, "edit-original", before)
    assert not page.locator(".message").inner_text()


def test_a_tab_closed_while_its_slider_moves_leaves_no_trace(chromium, address):
    """The log is examined when the server has stopped."""
    page = chromium.new_page()
    page.goto(address)
    wait_for_picture(page, "edit-moved")
    for _ in range(8):
        press(page, "ArrowRight")
    page.close()


def answer(address, path="/", **headers):
    with closing(HTTPConnection(urlsplit(address).netloc, timeout=300)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return response.status


def test_other_machines_hosts_and_origins_are_refused(address):
    assert answer(address) == 200
    assert answer(address, Host=f"localhost:{urlsplit(address).port}") == 200
    assert answer(address, Host="elsewhere.example") == 400
    assert answer(address, Origin="http://elsewhere.example") == 403
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    websocket["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert answer(address, path, **websocket) == 101
    assert answer(address, path, **websocket, Origin="http://elsewhere.example") == 403
    assert answer(address, path, **websocket, Host="elsewhere.example") in (400, 403)
    with pytest.raises(ConnectionRefusedError):  # it does not listen on the machine's other addresses
        socket.create_connection(("127.0.0.2", urlsplit(address).port), timeout=300)
