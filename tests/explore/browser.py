"""A server of the page in a process of its own, and what a browser does with it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Notes every change of a picture, and when the browser has decoded it, in window.changes.
WATCH = """mark => {
    const image = document.querySelector(`img[data-mark="${mark}"]`);
    window.changes = [];
    window.watching?.disconnect();
    window.watching = new MutationObserver(async () => {
        const src = image.src;
        await image.decode().catch(() => {});
        if (image.src === src) window.changes.push({src, time: performance.now()});
    });
    window.watching.observe(image, {attributeFilter: ["src"]});
}"""
# Notes every value of a slider, when the browser has it, in window.values.
FOLLOW = """label => {
    const slider = document.querySelector(`[role=slider][aria-label="${label}"]`);
    window.values = [];
    window.following?.disconnect();
    window.following = new MutationObserver(
        () => window.values.push({value: slider.ariaValueNow, time: performance.now()}));
    window.following.observe(slider, {attributeFilter: ["aria-valuenow"]});
}"""


@contextmanager
def served(*arguments, log: Path):
    """The address of `dfcvae explore ARGUMENTS`; stopped, as with Ctrl+C, afterwards."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}  # NiceGUI heeds it
    command = [sys.executable, "-c", "from dfcvae.cli import main; raise SystemExit(main())", "explore"]
    with open(log, "w") as file:
        process = subprocess.Popen([*command, *map(str, arguments)], stdout=file, stderr=file, env=environment)
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, log.read_text()


def _address(process, log):
    for _ in range(600):
        found = [word for word in log.read_text().split() if word.startswith("http://")]
        if found:
            return found[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"The server did not start: {log.read_text()}")


def source(page, mark):
    return page.locator(f'img[data-mark="{mark}"]').get_attribute("src")


def wait_for_picture(page, mark, other_than=""):
    """Waits for a picture that is there, and is another than it was."""
    page.wait_for_function(
        """([mark, other]) => {
            const image = document.querySelector(`img[data-mark="${mark}"]`);
            return image && image.src.startsWith("data:image/png") && image.src !== other;
        }""",
        arg=[mark, other_than],
    )
    return source(page, mark)


def focus(page, label):
    """Gives the keyboard to a slider."""
    page.locator(f'[role=slider][aria-label="{label}"] [tabindex]').focus()


def latencies(page, label, mark, presses=40):
    """Milliseconds from a key pressed on a slider to the changed picture, decoded, one press at a time."""
    page.evaluate(WATCH, mark)
    page.evaluate(FOLLOW, label)
    focus(page, label)
    taken = []
    for i in range(presses):
        page.evaluate("window.changes = []; window.values = []")
        page.keyboard.press("ArrowRight" if i % 10 < 5 else "ArrowLeft")
        page.wait_for_function("window.changes.length > 0", timeout=30_000)
        taken.append(page.evaluate("window.changes[0].time - window.values[0].time"))
        page.wait_for_timeout(70)  # longer than the throttle of the slider
    return taken


def ages(page, label, mark, steps=60):
    """Milliseconds, while a slider is dragged over its whole range, from each shown picture's value to the picture.

    A picture does not say of which value it is: every value is shown once more, slowly, to know its picture.
    """
    box = page.locator(f'[role=slider][aria-label="{label}"]').bounding_box()
    y, left, right = box["y"] + box["height"] / 2, box["x"], box["x"] + box["width"]
    page.mouse.move(left, y)
    page.mouse.down()
    page.wait_for_timeout(500)
    page.evaluate(WATCH, mark)
    page.evaluate(FOLLOW, label)
    for i in range(steps):
        page.mouse.move(left + (right - left) * (i + 1) / steps, y)
        page.wait_for_timeout(16)
    page.mouse.up()
    page.wait_for_timeout(500)
    changes, values = page.evaluate("[window.changes, window.values]")
    value_of = _pictures(page, label, mark, [entry["value"] for entry in values])
    when = {entry["value"]: entry["time"] for entry in values}
    return [change["time"] - when[value_of[change["src"]]] for change in changes if change["src"] in value_of]


def _pictures(page, label, mark, values):
    """The value of every picture: the slider goes back from its right end by keys."""
    focus(page, label)
    found = {source(page, mark): values[-1]}
    for _ in range(len(set(values))):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(150)
        value = page.locator(f'[role=slider][aria-label="{label}"]').get_attribute("aria-valuenow")
        found[source(page, mark)] = value
    return found
