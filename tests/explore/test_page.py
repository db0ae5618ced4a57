"""The page in a browser."""

import os
import socket
import statistics
from contextlib import closing
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from dfcvae.data.synthetic import render_faces
from tests.explore.browser import CHROMIUM, FLAGS, ages, focus, latencies, served, source, wait_for_picture
from tests.explore.conftest import save_model
from tests.layouts import small_album, write_images

pytestmark = pytest.mark.slow
FIRST = "5 o Clock Shadow"


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
        context.set_default_timeout(60_000)  # for machines that are busy
        yield context
        browser.close()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """What the server says: at the end one line, with the address."""
    return tmp_path_factory.mktemp("log") / "server.txt"


@pytest.fixture(scope="module")
def address(tmp_path_factory, log):
    """A server of a model of 64 pixels, on held-out faces from a folder."""
    folder = tmp_path_factory.mktemp("explore-page")
    write_images(folder / "faces", small_album())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFCVAE_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        model = save_model(folder / "model", size=64, latent_dim=100)
        with served(model, "--source", folder / "faces", "--port", 8230, log=log) as address:
            yield address
    told = log.read_text()
    assert "Traceback" not in told
    assert "deleted" not in told


@pytest.fixture
def page(chromium, address):
    """A new tab; nothing may be asked of another server, and nothing may go wrong in it."""
    page = chromium.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda websocket: asked.append(websocket.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    wait_for_picture(page, "edit-edited")
    yield page
    page.close()
    origins = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("data", "blob")}
    assert origins == {urlsplit(address).netloc}
    assert not wrong


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()
    page.wait_for_timeout(300)


def upload(page, name, content):
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def encoded(image):
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def told(page, text):
    page.locator(".message", has_text=text).wait_for()


def test_a_slider_moves_an_attribute_and_reset_takes_it_back(page):
    before = source(page, "edit-edited")
    assert before == source(page, "edit-reconstruction")
    focus(page, FIRST)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    wait_for_picture(page, "edit-edited", before)
    page.get_by_text("0.5", exact=True).wait_for()
    assert source(page, "edit-reconstruction") == before
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("src => document.querySelector('img[data-mark=edit-edited]').src === src", arg=before)


def test_the_filter_shows_the_attributes_that_hold_the_text(page):
    page.get_by_label("Filter attributes").fill("hair")
    page.wait_for_function("[...document.querySelectorAll('.slider')].filter(row => row.offsetParent).length == 7")
    page.get_by_label("Filter attributes").fill("")
    page.wait_for_function("[...document.querySelectorAll('.slider')].filter(row => row.offsetParent).length == 31")


def test_pictures_are_large_and_nothing_moves_while_one_slides(page):
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown = page.locator("img[data-mark=edit-edited]").bounding_box()
        assert shown["width"] >= 192
        assert shown["width"] == pytest.approx(shown["height"], abs=1)
        focus(page, FIRST)
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)
        assert page.locator("img[data-mark=edit-edited]").bounding_box() == shown


def test_dimensions_are_moved(page):
    open_tab(page, "Traverse")
    before = wait_for_picture(page, "traverse-moved")
    assert before == source(page, "traverse-reconstruction")
    page.locator("[role=slider][aria-label*=nats] [tabindex]").first.focus()
    page.keyboard.press("PageUp")
    wait_for_picture(page, "traverse-moved", before)
    page.get_by_role("button", name="Reset").locator("visible=true").click()
    page.wait_for_function("src => document.querySelector('img[data-mark=traverse-moved]').src === src", arg=before)


def test_the_way_from_one_face_to_another(page):
    open_tab(page, "Interpolate")
    start, end = (wait_for_picture(page, f"interpolate-{mark}") for mark in ("from", "to"))
    assert start != end
    wait_for_picture(page, "interpolate-between")
    focus(page, "Fraction of the way")
    for key, picture in (("ArrowLeft", start), ("ArrowRight", end)):
        for _ in range(100):
            page.keyboard.press(key)
        page.wait_for_function(
            "src => document.querySelector('img[data-mark=interpolate-between]').src === src", arg=picture
        )
    page.get_by_role("button", name="spherical").click()
    page.get_by_role("button", name="To the current face").click()
    page.get_by_text("To: held-out face 1").wait_for()


def test_samples_are_drawn_again_by_their_seed_and_become_the_current_face(page):
    open_tab(page, "Sample")
    thumbnails = page.locator(".large.thumbnail img")
    page.wait_for_function("document.querySelector('.large.thumbnail img').src.startsWith('data:image/png')")
    first = thumbnails.first.get_attribute("src")
    page.get_by_role("button", name="Draw new faces").click()
    changed = "src => document.querySelector('.large.thumbnail img').src !== src"
    page.wait_for_function(changed, arg=first)
    assert page.get_by_role("spinbutton", name="Seed").input_value() == "1"
    page.get_by_role("spinbutton", name="Seed").fill("0")
    page.wait_for_function(changed.replace("!==", "==="), arg=first)
    thumbnails.nth(2).click()
    page.locator(".current", has_text="sample 3, seed 0, normal").wait_for()
    open_tab(page, "Edit")
    page.get_by_text("No original: a sample").wait_for()


def test_an_upload_becomes_the_current_face_and_bad_ones_are_told(page):
    before = source(page, "edit-original")
    face = Image.fromarray(render_faces([5], size=200)[0][0].permute(1, 2, 0).numpy())
    upload(page, "me.png", encoded(face))
    after = wait_for_picture(page, "edit-original", before)
    page.locator(".current", has_text="me.png").wait_for()
    for name, content, sentence in [
        ("text.png", b"no picture at all", "text.png is no image that can be read (not a JPEG"),
        ("empty.png", b"", "empty.png is no image that can be read (empty file)"),
        ("huge.png", encoded(Image.new("RGB", (10_000, 10_000), "red")), "huge.png has 10,000 x 10,000 pixels"),
    ]:
        upload(page, name, content)
        told(page, sentence)
        assert source(page, "edit-original") == after
    upload(page, "again.png", encoded(face.rotate(180)))
    wait_for_picture(page, "edit-original", after)
    assert not page.locator(".message").inner_text()


def test_a_file_over_the_limit_is_told(page, tmp_path):
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(51 * 2**20)
    page.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    told(page, "larger than 50 MB")


def test_two_tabs_do_not_disturb_each_other(page, chromium, address):
    other = chromium.new_page()
    other.goto(address)
    before = wait_for_picture(other, "edit-edited")
    focus(page, FIRST)
    page.keyboard.press("ArrowRight")
    wait_for_picture(page, "edit-edited", before)
    page.locator(".held-out .thumbnail").nth(1).click()
    page.locator(".current", has_text="held-out face 2").wait_for()
    assert source(other, "edit-edited") == before
    assert other.locator(".current").inner_text().startswith("held-out face 1")
    other.close()


def test_a_tab_closed_while_its_slider_moves_leaves_no_trace(chromium, address):
    """The log is looked at when the server has stopped."""
    page = chromium.new_page()
    page.goto(address)
    wait_for_picture(page, "edit-edited")
    focus(page, FIRST)
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.close()


def answer(address, path="/", **headers):
    with closing(HTTPConnection(urlsplit(address).netloc, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return response.status


def test_other_hosts_and_origins_are_refused(address):
    assert answer(address) == 200
    assert answer(address, Host="localhost:8230") == 200
    assert answer(address, Host="elsewhere.example") == 400
    assert answer(address, Origin="http://elsewhere.example") == 403
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    websocket["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert answer(address, path, **websocket) == 101
    assert answer(address, path, **websocket, Origin="http://elsewhere.example") == 403
    assert answer(address, path, **websocket, Host="elsewhere.example") in (400, 403)


def test_only_this_machine_reaches_it(address):
    """A server on 127.0.0.1 does not listen on the machine's other addresses."""
    port = urlsplit(address).port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_slider_is_answered_in_under_100_ms(page, record_property):
    """A key press at a time, and while dragging; medians, as a busy machine has its outliers."""
    measured = {"press": latencies(page, FIRST, "edit-edited"), "drag": ages(page, FIRST, "edit-edited")}
    assert len(measured["drag"]) >= 10
    for kind, milliseconds in measured.items():
        median, high = statistics.median(milliseconds), float(np.percentile(milliseconds, 95))
        record_property(kind, f"median {median:.0f} ms, 95th percentile {high:.0f} ms of {len(milliseconds)}")
        print(f"{kind}: median {median:.0f} ms, 95th percentile {high:.0f} ms of {len(milliseconds)}")
        assert median < 100


def test_a_grey_model_without_data_and_attributes(chromium, tmp_path):
    model = save_model(tmp_path / "model", channels=1, attributes=False)
    with served(model, "--source", tmp_path / "gone", "--port", 8330, log=tmp_path / "log.txt") as address:
        page = chromium.new_page()
        page.goto(address)
        wait_for_picture(page, "edit-reconstruction")
        page.get_by_text("There are no held-out faces to choose from.").wait_for()
        page.get_by_text("There are no attributes to move.").wait_for()
        open_tab(page, "Traverse")
        before = wait_for_picture(page, "traverse-moved")
        focus(page, "z[0]")
        page.keyboard.press("PageUp")
        wait_for_picture(page, "traverse-moved", before)
        open_tab(page, "Interpolate")
        wait_for_picture(page, "interpolate-between")
        page.close()
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
