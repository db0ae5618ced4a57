"""The page that runs a model's decoder: what is in it, and what it does in a real browser without a network."""

import gzip
import hashlib
import json
import os
import re
from base64 import b64decode
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from dfcvae import VAE
from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.fitted import prior_file
from dfcvae.images import to_uint8
from dfcvae.latent import Prior, interpolate, slerp
from dfcvae.vae import digest
from dfcvae.webpage import HALF_A_LEVEL, WEB, export_page, small_decoder
from tests.explore.conftest import save_model

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
TABS = ("Edit", "Traverse", "Interpolate", "Sample", "Neighbours")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model with attribute vectors and a mixture, on few synthetic faces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
        folder = save_model(tmp_path_factory.mktemp("page") / "<model>", size=64)
        factors = 0.3 * torch.eye(8) + 0.2 * torch.randn(2, 8, 8).tril(-1)
        prior = Prior(torch.tensor([0.25, 0.75]), torch.randn(2, 8), factors)
        prior.save(prior_file(folder, "gmm"), digest(VAE.load(folder)), "synthetic")
        yield folder


@pytest.fixture(scope="module")
def file(model):
    out = model.parent / "page.html"
    assert export_page(model, out) < HALF_A_LEVEL
    return out


def embedded(file, name):
    (content,) = re.findall(rf'<script type="text/plain" id="{name}">(.*?)</script>', file.read_text())
    return gzip.decompress(b64decode(content))


def test_the_page_holds_the_model_and_asks_nobody(file, model):
    about = json.loads(embedded(file, "model"))
    assert (about["name"], about["size"], about["channels"], about["latent_dim"]) == ("<model>", 64, 3, 8)
    assert [prior["text"] for prior in about["priors"]] == ["mixture of 2 Gaussians", "N(0, I)"]
    assert len(about["vectors"]["Smiling"]) == len(about["dimensions"]) == 8
    assert re.fullmatch(r"z\[\d], \d+\.\d\d nats", about["dimensions"][0]["label"])
    assert about["groups"]["Most telling"][0] == "Smiling"
    text = file.read_text()
    assert "default-src 'none'" in text
    assert "<h1>&lt;model&gt;</h1>" in text
    assert str(model.parent) not in text + about["about_dimensions"]
    assert not re.findall(r"(?:src|href)=", text)
    assert "{{" not in text


def test_the_runtime_is_the_published_one():
    about = json.loads((WEB / "ort" / "runtime.json").read_text())
    for name, checksum in about["sha256"].items():
        assert hashlib.sha256(gzip.decompress((WEB / "ort" / f"{name}.gz").read_bytes())).hexdigest() == checksum
    assert sum(file.stat().st_size for file in (WEB / "ort").iterdir()) < 5e6


@pytest.mark.parametrize(("allowed", "megabytes"), [(1.0, (0.8, 1.0)), (0.0, (1.6, 1.8))])
def test_weights_are_halved_where_that_changes_no_pixel(model, monkeypatch, allowed, megabytes):
    monkeypatch.setattr("dfcvae.webpage.HALF_A_LEVEL", allowed)
    decoder, _ = small_decoder(VAE.load(model), {"network": "hou2016"})
    assert megabytes[0] < len(decoder) / 1e6 < megabytes[1]


def test_the_command_writes_a_page_without_attributes_and_a_folder_is_a_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    folder = save_model(tmp_path / "model", channels=1, attributes=False)
    assert main(["export", str(folder), "--html", str(tmp_path / "page.html")]) == 0
    assert re.search(r"page.html: \d\.\d MB. Largest difference from PyTorch: 0\.", capsys.readouterr().out)
    about = json.loads(embedded(tmp_path / "page.html", "model"))
    assert (about["vectors"], len(about["priors"])) == ({}, 1)
    with pytest.raises(UserError, match=r"is a folder; name a file, such as .*page.html"):
        export_page(folder, tmp_path)


# In a browser


@pytest.fixture(scope="module")
def chromium():
    if not os.environ.get("DFCVAE_REQUIRE_BROWSER"):
        pytest.importorskip("playwright")
        if not Path(CHROMIUM).exists():
            pytest.skip(f"there is no browser at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
        context.set_default_timeout(100_000)  # for machines that are busy
        yield context
        browser.close()


def opened(page, address):
    page.goto(address)
    page.locator("#caption:not(:empty)").wait_for()
    return page


@pytest.fixture
def page(chromium, file):
    """The page, from disk; it asks no server, and nothing in it fails."""
    page, asked, wrong = chromium.new_page(), [], []
    page.on("request", lambda request: asked.append(urlsplit(request.url).scheme))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened(page, file.as_uri())
    page.close()
    assert set(asked) <= {"file", "blob"}
    assert not wrong


def latent(page):
    return torch.tensor(page.evaluate("Array.from(dfcvae.latent())"))


@pytest.mark.slow
def test_pixels_are_those_of_pytorch(page, model):
    z = torch.randn(4, 8)
    for row in [*z, latent(page)]:
        found = page.evaluate("async z => Array.from((await dfcvae.decode(z)).data)", row.tolist())
        picture = torch.tensor(found).view(64, 64, 4)
        expected = to_uint8(VAE.load(model).decode(row[None])[0].detach()).permute(1, 2, 0)
        assert (picture[..., :3] - expected.int()).abs().max() <= 1
        assert (picture[..., 3] == 255).all()


@pytest.mark.slow
def test_latents_are_those_of_the_package(page, model):
    prior = Prior.load(prior_file(model, "gmm"), digest(VAE.load(model)))
    draws = """() => {
        const source = randoms(1);
        return Array.from({length: 20000}, () => Array.from(sample(model.priors[0], source)));
    }"""
    z = torch.tensor(page.evaluate(draws))
    expected = prior.sample(20_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(dim=0), expected.mean(dim=0), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.cov(expected.T), atol=0.1, rtol=0)
    for kind, function in (("straight", interpolate), ("spherical", slerp)):
        page.evaluate("kind => { document.querySelector('#path').value = kind; }", kind)
        found = page.evaluate("([a, b]) => between(a, b, 0.25)", [z[0].tolist(), z[1].tolist()])
        torch.testing.assert_close(torch.tensor(found), function(z[0], z[1], 5)[1])


@pytest.mark.slow
def test_a_slider_edits_the_face_and_the_link_holds_it(page, chromium, file):
    start, vector = latent(page), torch.tensor(page.evaluate("model.vectors.Smiling"))
    picture = "document.querySelector('#face').toDataURL()"
    before = page.evaluate(picture)
    page.get_by_role("slider", name="Smiling").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.locator("#caption", has_text="Smiling +0.3").wait_for()
    torch.testing.assert_close(latent(page), start + 0.3 * vector)
    assert page.evaluate(picture) != before
    other = opened(chromium.new_page(), page.url)
    torch.testing.assert_close(latent(other), latent(page))
    assert other.get_by_role("slider", name="Smiling").input_value() == "0.3"
    other.goto("about:blank")
    opened(other, f"{file.as_uri()}#latent=AAAA")
    assert other.get_by_text("The link does not hold a latent of this model.").is_visible()
    other.close()
    page.get_by_role("button", name="Reset", exact=True).click()
    torch.testing.assert_close(latent(page), start)


@pytest.mark.slow
def test_faces_are_chosen_and_back_returns_to_the_one_before(page):
    first = latent(page)
    for tab in ("Sample", "Neighbours"):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name=re.compile("^(sample|neighbour) 3")).click()
        page.locator("#caption", has_text=re.compile("^(sample|neighbour) 3")).wait_for()
    second = latent(page)
    assert not torch.equal(first, second)
    page.get_by_role("tab", name="Interpolate").click()
    page.get_by_role("button", name="From the current face").click()
    page.get_by_role("slider", name="Fraction of the way").press("Home")
    torch.testing.assert_close(latent(page), second)
    page.get_by_role("tab", name="Traverse").click()
    page.get_by_role("slider").first.press("End")
    assert latent(page).max() >= 4
    page.get_by_role("button", name="Reset dimensions").click()
    torch.testing.assert_close(latent(page), second)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert download.value.suggested_filename.endswith(".png")
    page.get_by_role("button", name="New face").click()
    page.go_back()
    page.locator("#caption", has_text="face of the link").wait_for()
    torch.testing.assert_close(latent(page), second)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_the_face_stays_in_view_while_one_scrolls(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    page.get_by_role("tab", name=TABS[-1]).press("ArrowRight")
    assert page.get_by_role("tab", name="Edit").get_attribute("aria-selected") == "true"
    page.get_by_role("slider").last.scroll_into_view_if_needed()
    box = page.locator("#face").bounding_box()
    assert box["y"] >= 0
    assert box["height"] == pytest.approx(box["width"], abs=1)
    assert box["width"] >= 256
