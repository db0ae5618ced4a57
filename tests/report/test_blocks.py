import csv
from html.parser import HTMLParser

import numpy as np
import torch
from matplotlib.figure import Figure

from dfcvae.report.blocks import Drawing, Folded, items, write_report
from dfcvae.sheet import sheet
from dfcvae.table import Table


def drawing(name="faces", **data):
    return Drawing(name, sheet(torch.rand(2, 3, 3, 8, 8), ["a", "b"]), "Faces <&> more.", data)


def test_a_report_is_one_file_beside_markdown_and_figures(tmp_path):
    blocks = [
        "## Part <1>",
        "a & b",
        "```\nx: 1\n```",
        items(["first", "`second`"]),
        Table(["name", "value"], [["one|two", 0.123456], ["three", 4.0]]),
        drawing(),
    ]
    report = write_report("Title & more", blocks, tmp_path)
    text = report.read_text()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"faces.png"}
    assert "http" not in text  # nothing is fetched
    assert 'src="figures' not in text
    assert "<h2>Part &lt;1&gt;</h2>\n<p>a &amp; b</p>\n<pre>x: 1</pre>" in text
    assert "<ul><li>first</li><li><code>second</code></li></ul>" in text
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: tags.append(tag)
    parser.feed(text)
    assert tags.count("img") == 1
    assert tags.count("tr") == 3
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert lines[0] == "# Title & more"
    assert "| one\\|two | 0.1235 |" in lines
    assert "![Faces <&> more.](figures/faces.png)" in lines


def test_columns_of_equal_length_are_csv_and_other_arrays_a_numpy_archive(tmp_path):
    z, mu = torch.rand(4, 5), torch.rand(2, 3)
    columns = drawing(name="points", who=["x", "y"], value=torch.tensor([0.5, 1.5]))
    write_report("a", [columns, drawing(name="latents", z=z, mu=mu)], tmp_path)
    with (tmp_path / "figures" / "points.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"who": "x", "value": "0.5"}, {"who": "y", "value": "1.5"}]
    with np.load(tmp_path / "figures" / "latents.npz") as found:
        np.testing.assert_array_equal(found["z"], z.numpy())
        np.testing.assert_array_equal(found["mu"], mu.numpy())


def test_the_same_figure_makes_the_same_files(tmp_path):
    for folder in ("a", "b"):
        figure = Figure()
        figure.add_subplot().plot([1, 2], [3, 4])
        write_report("a", [Drawing("line", figure, "A line.", {})], tmp_path / folder)
    for name in ("figures/line.png", "figures/line.pdf", "report.html", "report.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_table_is_aligned_in_a_console_and_marks_bold_cells_elsewhere(tmp_path):
    table = Table(["", "a"], [["x", 0.5], ["long", "1\nsmaller"]], {(0, 1)})
    assert table.text() == "      a\nx     0.5\nlong  1 smaller"
    table = Table(["", "a", "b"], [["x < y", 0.5, 2.0], ["z", 1.0, 3.0]], {(0, 1), (1, 2)})
    text = write_report("a", [table], tmp_path).read_text()
    assert "<td>x &lt; y</td><td><b>0.5</b></td><td>2</td>" in text
    assert "<td>1</td><td><b>3</b></td>" in text
    assert "| x < y | **0.5** | 2 |" in (tmp_path / "report.md").read_text()


def test_folded_blocks_are_hidden(tmp_path):
    folded = Folded("more & more", ["hidden"])
    text = write_report("a", [folded], tmp_path).read_text()
    start, end = text.index("<details><summary>more &amp; more</summary>"), text.index("</details>")
    assert start < text.index("<p>hidden</p>") < end
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert lines[2:5] == ["<details><summary>more &amp; more</summary>", "", "hidden"]
    assert lines[-1] == "</details>"
