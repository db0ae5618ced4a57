import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
import torch
from PIL import Image

from dfcvae.evaluation.report import figure, heading, page, paragraph, preformatted, table


class Balanced(HTMLParser):
    """Fails on a tag that is closed but not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_balanced_escaped_and_needs_nothing_else():
    text = page("A & B", heading("<x>"), paragraph("1 < 2"), preformatted("a: b"), table(["a", "b"], [["c", 0.123456]]))
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "&lt;x&gt;" in text
    assert "1 &lt; 2" in text
    assert "<td>0.1235</td>" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)


@pytest.mark.parametrize(("width", "shown"), [(274, 822), (530, 1060), (2066, 2066)])
def test_figure_enlarges_small_pictures_to_the_page_and_leaves_large_ones(width, shown):
    picture = torch.zeros(3, 10, width)
    picture[0] = 1
    data = re.search(r"base64,([^\"]+)", figure(picture, "red"))[1]
    with Image.open(BytesIO(base64.b64decode(data))) as image:
        assert image.size == (shown, 10 * shown // width)
        assert image.getpixel((5, 5)) == (255, 0, 0)
