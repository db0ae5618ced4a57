import math
import re

import pytest

from dfcvae.report.tables import (
    MEASURES,
    headline,
    in_order,
    measure_lines,
    seed_differences_table,
    seeds_table,
    title,
    transposed,
    verdict,
)


@pytest.mark.parametrize(
    ("measure", "values", "best"),
    [
        ("mse", (1.0, 2.0), {1}),
        ("ssim", (1.0, 2.0), {2}),
        ("ssim", (1.0, 2.0, 2.0), {2, 3}),
        ("sharpness", (0.5, 1.2), {2}),  # closest to the best value
        ("plaid", (-0.1, 0.2), {1}),
        ("mse", (1.0, 1.0), set()),
        ("mse", (0.10001, 0.10002), set()),  # equal as shown
        ("ssim", (math.nan, 2.0), set()),
    ],
)
def test_the_best_value_of_the_headline_is_bold(measure, values, best):
    models = {name: {measure: value} for name, value in zip("abc", values, strict=False)}
    table = headline(models, [measure], {"sharpness": 1.0, "plaid": 0.0})
    assert table.header == ["test split", *models]
    assert table.cells() == [[title(measure), *(f"{value:.3g}" for value in values)]]
    assert {column for _, column in table.bold} == best


@pytest.mark.parametrize(
    ("measure", "low", "high", "said"),
    [
        ("mse", -2, -1, "better"),
        ("mse", 1, 2, "worse"),
        ("mse", -1, 1, ""),
        ("ssim", 1, 2, "better"),
        ("ssim", -2, -1, "worse"),
        ("kl", 1, 2, ""),
        ("mse", math.nan, math.nan, ""),
        ("unknown", 1, 2, ""),
        ("face/cosine", 1, 2, "better"),
        ("face/distance", 1, 2, "worse"),
        ("face/cosine_strangers", 1, 2, ""),
    ],
)
def test_a_verdict_needs_a_direction_and_an_interval_without_zero(measure, low, high, said):
    assert verdict(measure, low, high) == said


RUNS = {
    "a": [{"mse": 1.0, "kl": 5.0}, {"mse": 3.0, "kl": 5.0}],
    "b": [{"mse": 0.5, "kl": 6.0}, {"mse": 2.5, "kl": 6.0}],
}


def test_seeds_are_averaged_and_differences_paired():
    assert seeds_table(RUNS, ["mse"]).cells() == [[title("mse"), "2\n± 13", "1.5\n± 13"]]
    table = seed_differences_table(RUNS, ["mse", "kl"])
    assert table.cells() == [[title("mse"), "-0.5\n± 0 better"], [title("kl"), "+1\n± 0"]]
    assert transposed(table).cells() == [["b", "-0.5\n± 0 better", "+1\n± 0"]]
    assert list(transposed(table).header) == ["minus a", title("mse"), title("kl")]


def test_one_seed_has_no_verdict():
    one = {name: of[:1] for name, of in RUNS.items()}
    assert seed_differences_table(one, ["mse"]).cells() == [[title("mse"), "-0.5"]]


def test_measures_are_in_order_and_strangers_have_no_difference():
    names = ["unknown", "kl", "face/cosine", "mse", "face/cosine_strangers", "mse"]
    assert in_order(names) == ["mse", "face/cosine", "kl", "face/cosine_strangers", "unknown"]
    assert [title(f"face/{name}") for name in ("cosine", "distance")] == ["face: cosine ↑", "face: distance ↓"]
    run = {"face/cosine": 0.5, "face/cosine_strangers": 0.1}
    table = seed_differences_table({"a": [run], "b": [run]}, list(run))
    assert [row[0] for row in table.rows] == [title("face/cosine")]


def test_lines_of_a_console_carry_arrows_and_words_and_fit_it():
    values = {"mse": 0.0123456, "sharpness": 0.27, "kl": 100.6}
    lines = measure_lines(values, {"mse": (0.0111, 0.0135), "kl": (98.81, 102.4)})
    wanted = [
        r"mse +0\.01235  \[0\.0111, 0\.0135\]  ↓   mean squared error",
        r"sharpness +0\.27 +→ 1 detail relative to the originals",
        r"kl +100\.6  \[98\.81, 102\.4\] +information in the latents",
    ]
    assert all(map(re.fullmatch, wanted, lines))
    names = (*MEASURES, "a-judge-of-20-letters/cosine")
    wide = measure_lines(dict.fromkeys(names, -123456.789), dict.fromkeys(names, (-1.234e5, -1.236e5)))
    assert max(map(len, wide)) <= 100
