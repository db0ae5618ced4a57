"""The page without a browser, by NiceGUI's simulated user."""

import asyncio

import pytest
from PIL import Image

from dfcvae.data.synthetic import render_faces
from dfcvae.explore.explorer import Explorer
from tests.explore.conftest import png, save_model

pytest.importorskip("nicegui")
from nicegui import ui
from nicegui.testing import User, UserInteraction, user_simulation

from dfcvae.data.synthetic import ATTRIBUTES
from dfcvae.explore.page import LARGEST, page

FIRST = "5 o Clock Shadow"


class Tab:
    """What somebody sees and does in one browser tab."""

    def __init__(self, user):
        self.user = user

    async def open(self):
        await self.user.open("/")
        for panel in ("edit-reconstruction", "traverse-moved"):  # panels are filled one after another
            await self.until(lambda panel=panel: self.picture(panel).startswith("data:image/png"))
        return self

    def element(self, **props):
        (found,) = (e for e in self.user.client.elements.values() if props.items() <= e.props.items())
        return found

    def picture(self, mark):
        return self.element(**{"data-mark": mark}).props["src"]

    def slider(self, label):
        return self.element(**{"aria-label": label})

    def click(self, *names):
        """Click buttons, one after another, by their text or accessible name."""
        for name in names:
            buttons = (e for e in self.user.client.elements.values() if e.tag in ("button", "q-btn"))
            found = {e for e in buttons if name in (e.props.get("aria-label"), e.props.get("label"))}
            UserInteraction(self.user, found, None).click()

    def upload(self, name, content):
        (upload,) = self.user.find(kind=ui.upload).elements
        with self.user:
            return upload.handle_uploads([ui.upload.SmallFileUpload(name, "image/png", content)])

    async def until(self, condition):
        for _ in range(30_000):  # five minutes, on a machine that is busy
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("It did not happen.")

    async def sees(self, text):
        await self.user.should_see(text, retries=3000)

    async def changes(self, mark, before):
        await self.until(lambda: self.picture(mark) != before)
        return self.picture(mark)

    async def equal(self, mark, other):
        await self.until(lambda: self.picture(mark) == self.picture(other))


@pytest.fixture
def visit(explorer, caplog):
    """Runs what one user or more do on the page of an explorer."""

    def visit(scenario, of=explorer, tabs=1):
        async def run():
            async with user_simulation(lambda: page(of)) as user:
                await scenario(*[await Tab(User(user.http_client)).open() for _ in range(tabs)])
                await asyncio.sleep(0.1)  # NiceGUI takes 2 seconds to stop in the middle of an update
                assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

        asyncio.run(run())

    return visit


def test_an_edit_stays_when_the_face_changes_until_it_is_reset(visit):
    async def scenario(tab, other):
        await tab.equal("edit-moved", "edit-reconstruction")
        original, before = tab.picture("edit-original"), tab.picture("edit-moved")
        tab.slider(FIRST).value = 1.5
        edited = await tab.changes("edit-moved", before)
        await tab.sees("1.5")
        assert tab.picture("edit-reconstruction") == before
        tab.click("Held-out face 3 of 24")
        await tab.sees("held-out face 3")
        await tab.changes("edit-original", original)
        assert await tab.changes("edit-moved", edited) != tab.picture("edit-reconstruction")
        assert tab.slider(FIRST).value == 1.5
        assert other.slider(FIRST).value == 0  # another tab has a state of its own
        assert (other.picture("edit-original"), other.picture("edit-moved")) == (original, before)
        tab.click("Reset edit")
        await tab.equal("edit-moved", "edit-reconstruction")

    visit(scenario, tabs=2)


def test_attributes_are_found_or_it_is_said_that_there_are_none(visit):
    async def scenario(tab):
        def shown(kind):
            return [e for e in tab.user.client.elements.values() if kind in e.classes and e.visible]

        await tab.equal("edit-moved", "edit-reconstruction")
        before = len(shown("slider"))
        tab.user.find(kind=ui.input).type("hair")
        await tab.until(lambda: len(shown("slider")) == before - len(ATTRIBUTES) + sum("Hair" in a for a in ATTRIBUTES))
        assert {e.text for e in shown("heading") if e.parent_slot.parent.visible} <= {"Most telling", "Hair"}
        tab.user.find(kind=ui.input).type("x")
        await tab.sees("No attribute contains 'hairx'.")

    visit(scenario)


def test_the_picture_is_saved_with_its_edit_in_the_name_of_its_column(visit, explorer, monkeypatch):
    saved = []
    monkeypatch.setattr(explorer, "saved", lambda face, moved: saved.append((face.name, *moved)) or b"PNG")

    async def scenario(tab):
        tab.slider("Smiling").value = 1.5
        tab.click("Save picture, edit")
        await tab.until(lambda: saved)
        assert saved == [("held-out face 1", "Smiling +1.5")]
        await tab.until(lambda: tab.user.download.http_responses)
        assert tab.user.download.http_responses[0].content == b"PNG"

    visit(scenario)


def test_dimensions_move_from_where_the_face_is(visit, explorer):
    (first, *_), (nats, *_) = explorer.dimensions()
    label = f"z[{first}], {nats:.2f} nats"

    async def scenario(tab):
        await tab.equal("traverse-moved", "traverse-reconstruction")
        before = tab.picture("traverse-moved")
        tab.slider(label).value = 4.0
        await tab.changes("traverse-moved", before)
        tab.click("Reset traverse")
        await tab.equal("traverse-moved", "traverse-reconstruction")

    visit(scenario)


def test_the_way_from_one_face_to_another(visit):
    async def scenario(tab):
        await tab.sees("To: held-out face 2")
        for value, end in ((0.0, "interpolate-from"), (1.0, "interpolate-to")):
            tab.slider("Fraction of the way").value = value
            await tab.equal("interpolate-between", end)
        tab.slider("Fraction of the way").value = 0.5
        straight = await tab.changes("interpolate-between", tab.picture("interpolate-to"))
        tab.user.find(kind=ui.toggle).elements.pop().value = "spherical"
        await tab.changes("interpolate-between", straight)
        tab.click("Held-out face 5 of 24")
        await tab.sees("held-out face 5")
        tab.click("From the current face")
        await tab.sees("From: held-out face 5")

    visit(scenario)


def test_samples_are_drawn_again_by_their_seed_and_become_the_current_face(visit):
    async def scenario(tab):
        def first():
            return next((e for e in tab.user.client.elements.values() if "sample 1," in e.props.get("title", "")), None)

        await tab.until(first)
        (image,) = first().default_slot.children
        before = image.props["src"]
        tab.click("Draw new faces")
        await tab.until(lambda: image.props["src"] != before)
        (seed,) = tab.user.find(kind=ui.number).elements
        assert seed.value == 1
        seed.value = 0
        await tab.until(lambda: image.props["src"] == before)
        await tab.sees("Drawn from: N(0, I).")
        tab.slider("Temperature").value = 0.5
        await tab.until(lambda: image.props["src"] != before)
        tab.click("sample 3, seed 0, normal")
        await tab.sees("sample 3, seed 0, normal")
        await tab.until(lambda: not tab.element(**{"data-mark": "edit-original"}).parent_slot.parent.visible)

    visit(scenario)


def test_uploads_become_the_current_face_and_bad_ones_are_explained(visit):
    face = Image.fromarray(render_faces([5], size=200)[0][0].permute(1, 2, 0).numpy())

    async def scenario(tab):
        before = tab.picture("edit-original")
        await tab.upload("me.png", png(face))
        await tab.sees("me.png")
        after = await tab.changes("edit-original", before)
        await tab.upload("bad.png", b"no picture at all")
        await tab.sees("bad.png is not a readable image (not a JPEG")
        for size, sentence in [(4096, "me.json is not an image file."), (LARGEST + 1, "me.json is larger than 50 MB.")]:
            tab.user.find(kind=ui.upload).trigger("rejected", [size, "me.json"])
            await tab.sees(sentence)
        assert tab.picture("edit-original") == after
        await tab.upload("again.png", png(face.rotate(180)))
        await tab.changes("edit-original", after)
        await tab.user.should_not_see(sentence)

    visit(scenario)


def test_a_grey_model_without_data_and_attributes(visit, tmp_path):
    model = save_model(tmp_path / "model", channels=1, attributes=False)

    async def scenario(tab):
        await tab.sees("There are no held-out faces to choose from.")
        await tab.sees("There are no attributes to edit.")
        before = tab.picture("traverse-reconstruction")
        tab.slider("z[0]").value = 4.0
        await tab.changes("traverse-moved", before)
        await tab.sees("To: sample 1, seed 1, normal")
        (kind,) = tab.user.find(kind=ui.select).elements
        assert kind.options == ["normal"]

    visit(scenario, of=Explorer(model, str(tmp_path / "gone")))
