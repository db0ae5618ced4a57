import math
import re

import pytest
import torch

from dfcvae.evaluation import Measurements
from dfcvae.evaluation.measures import Estimate
from dfcvae.report import tables


def measured(**whole):
    """A training of which something was measured of the set as a whole, and ``mse`` of each image."""
    mse = torch.tensor([1.0, 3.0])
    values = {"mse": mse, "sharpness": mse, "original_sharpness": mse}
    return Measurements(values, {}, {name.replace("__", "/"): value for name, value in whole.items()}, torch.zeros(1))


@pytest.mark.parametrize(
    ("measure", "values", "best"),
    [
        ("mse", (1.0, 2.0), {1}),
        ("ssim", (1.0, 2.0), {2}),
        ("ssim", (1.0, 2.0, 2.0), {2, 3}),
        ("sharpness", (0.5, 1.2), {2}),  # closest to the best value
        ("kl", (-0.1, 0.2), set()),
        ("mse", (1.0, 1.0), set()),
        ("mse", (0.1000001, 0.1000002), set()),  # equal as shown
        ("ssim", (math.nan, 2.0), set()),
    ],
)
def test_the_best_value_is_bold(measure, values, best):
    table = tables.estimates_table(
        {name: {measure: Estimate(value)} for name, value in zip("abc", values, strict=False)}
    )
    assert table.cells() == [[tables.title(measure), *(f"{value:.4g}" for value in values)]]
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
    assert tables.verdict(measure, low, high) == said


RUNS = {
    "a": [measured(kl=5.0, active_units=1.0), measured(kl=5.0, active_units=3.0)],
    "b": [measured(kl=6.0, active_units=0.5), measured(kl=6.0, active_units=2.5)],
}


def test_seeds_are_averaged_and_differences_paired():
    cells = {row[0]: row[1:] for row in tables.estimates_table(tables.estimates(RUNS)).cells()}
    assert cells["active units"] == ["2\n± 13", "1.5\n± 13"]
    table = tables.differences_table("a", tables.differences(RUNS))
    assert {row[0]: row[1] for row in table.cells()}["active units"] == "-0.5\n± 0"
    turned = tables.transposed(table)
    assert [row[0] for row in turned.cells()] == ["b"]
    assert list(turned.header) == ["minus a", *(row[0] for row in table.rows)]


def test_one_seed_has_intervals_over_images_and_differences_paired_by_image():
    one = {name: of[:1] for name, of in RUNS.items()}
    assert tables.estimates(one)["a"]["mse"].interval == "[1, 3]"
    assert tables.differences(one)["b"].keys() == {"mse", "sharpness"}


def test_rows_after_the_eighth_are_folded_and_keep_what_is_bold():
    found = {name: {f"{i}/distance": Estimate(value + i) for i in range(10)} for name, value in (("a", 1), ("b", 2))}
    first, folded = tables.limited(tables.estimates_table(found), "More")
    assert (len(first.rows), len(folded.blocks[0].rows)) == (8, 2)
    assert first.bold == {(i, 1) for i in range(8)}
    assert folded.blocks[0].bold == {(i, 1) for i in range(2)}
    across, _ = tables.limited(tables.estimates_table(found), "More", across=True)
    assert (len(across.rows), len(across.header)) == (2, 9)


def test_measures_are_in_order_and_neither_strangers_nor_other_sets_have_a_difference():
    names = ["unknown", "kl", "face/cosine", "mse", "face/cosine_strangers", "mse"]
    assert tables.in_order(names) == ["mse", "face/cosine", "kl", "face/cosine_strangers", "unknown"]
    assert [tables.title(f"face/{name}") for name in ("cosine", "distance")] == ["face: cosine ↑", "face: distance ↓"]
    run = measured(face__cosine=0.5, face__cosine_strangers=0.1, floor__fid=1.0, samples__fid=3.0)
    assert tables.differences({"a": [run] * 2, "b": [run] * 2})["b"].keys() == {
        "mse",
        "sharpness",
        "face/cosine",
        "samples/fid",
    }


def test_sets_of_images_have_a_table_for_each_network_with_the_floor_first():
    def of(value):
        keys = [f"{kind}{name}" for kind in ("samples/", *tables.OTHER_SETS) for name in ("fid", "kid")]
        keys += [
            f"{kind}{name}_inception" for kind in ("samples/", *tables.OTHER_SETS) for name in ("precision", "recall")
        ]
        return measured(**{key.replace("/", "__"): value for key in keys if "gmm" not in key or value > 1})

    (table,) = tables.distances({"a": [of(1.0)], "b": [of(2.0)]})
    assert list(table.header) == ["features: Inception", "FID ↓", "KID ↓", "precision ↑", "recall ↑"]
    assert [row[0] for row in table.rows] == [
        "floor: validation faces",
        "a: samples, N(0, I)",
        "b: samples, N(0, I)",
        "b: samples, fitted mixture",
        "a: reconstructions",
        "b: reconstructions",
    ]
    assert [row[1] for row in table.rows] == ["1", "1", "2", "2", "1", "2"]
    assert tables.distances({"a": [measured()]}) == []


def test_the_listing_of_a_console_has_names_intervals_arrows_and_words():
    lines = tables.listing(measured(kl=100.6)).text().splitlines()
    wanted = [
        r"measure +value +95 % interval",
        r"mse +2 +\[1, 3\] +↓   mean squared error",
        r"sharpness +1 +\[1, 1\] +→ 1 detail relative to the originals",
        r"kl +100\.6 +information in the latents",
    ]
    assert all(map(re.fullmatch, wanted, lines)), lines
