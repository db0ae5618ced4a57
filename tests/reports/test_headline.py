import math

import pytest

from dfcvae.reports.headline import Line, headline


@pytest.mark.parametrize(
    ("better", "values", "best"),
    [
        ("lower", (1.0, 2.0), {"a"}),
        ("higher", (1.0, 2.0), {"b"}),
        (1.0, (0.5, 1.2), {"b"}),
        (0.0, (-0.1, 0.2), {"a"}),
        ("lower", (1.0, 1.0), set()),
        ("lower", (0.10001, 0.10002), set()),  # equal as shown
        ("higher", (math.nan, 2.0), set()),
    ],
)
def test_the_best_value(better, values, best):
    assert Line("x", better, dict(zip("ab", values, strict=True))).best() == best


def test_two_of_three_can_be_best():
    assert Line("x", "lower", {"a": 1.0, "b": 2.0, "c": 1.0}).best() == {"a", "c"}


def test_the_table_has_arrows_and_bold_cells():
    lines = [
        Line("error", "lower", {"a": 0.012345, "b": 0.02}),
        Line("agreement", "higher", {"a": 0.5, "b": 0.75}),
        Line("sharpness", 1.0, {"a": 0.5, "b": 1.0}),
        Line("lines", 0.4321, {"a": 0.5, "b": 0.5}),
    ]
    table = headline(lines, "test split")
    assert table.header == ["test split", "a", "b"]
    assert table.cells() == [
        ["error ↓", "0.0123", "0.02"],
        ["agreement ↑", "0.5", "0.75"],
        ["sharpness → 1", "0.5", "1"],
        ["lines → 0.432", "0.5", "0.5"],
    ]
    assert set(table.bold) == {(0, 1), (1, 2), (2, 2)}
