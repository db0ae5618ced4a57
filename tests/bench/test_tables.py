"""What is made of the measurements: statistics, tables, exponents."""

import json

import pytest

from dfcvae.bench.fit import exponent
from dfcvae.bench.result import RowResult, as_dict
from dfcvae.bench.scaling_table import scaling_table
from dfcvae.bench.table import bench_table, number, table


@pytest.mark.parametrize("power", [-1.0, 0.5, 1.0, 2.0])
def test_a_known_exponent_is_recovered(power):
    sizes = [8, 16, 32, 128]
    assert exponent(sizes, [0.3 * size**power for size in sizes]) == pytest.approx(power)


def test_one_size_has_no_exponent():
    assert exponent([64], [1.0]) is None
    assert exponent([64, 64], [1.0, 1.1]) is None
    assert exponent([], []) is None


def test_ratios_are_taken_round_by_round():
    popular = RowResult("popular", seconds=[4.0, 8.0, 2.0])  # a machine of changing speed
    row = RowResult("other", seconds=[2.0, 4.0, 1.0], flops_per_image=1e9)
    told = as_dict(row, popular, batch_size=4, peaks={"float32": 8e9})
    assert told["times_popular"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert told["images_per_second"] == {"median": 2.0, "min": 1.0, "max": 4.0}
    assert told["flops_per_second"] == 2e9
    assert told["of_peak"] == 0.25


def test_shares_sum_to_one_over_the_medians():
    row = RowResult("x", parts=[{"data": 1.0, "VAE": 2.0}, {"data": 9.0, "VAE": 2.0}, {"data": 2.0, "VAE": 9.0}])
    assert row.part_shares() == {"data": 0.5, "VAE": 0.5}
    assert RowResult("x").part_shares() == {}


def test_a_row_is_measured_without_the_popular_one():
    failed = RowResult("popular", seconds=[1.0], error="Out of memory.")
    told = as_dict(RowResult("other", seconds=[2.0]), failed, 4, {})
    assert told["times_popular"] is None
    assert told["images_per_second"]["median"] == 2.0
    assert as_dict(failed, failed, 4, {}) == {"name": "popular", "error": "Out of memory."}


def test_columns_are_aligned_and_sentences_run_over_them():
    text = table(["", "images/s", "MiB"], [["popular", "26.9", "2,465"], ["+ bfloat16", "There is none."]])
    assert text == ("            images/s    MiB\npopular         26.9  2,465\n+ bfloat16  There is none.\n")


def test_numbers_have_three_digits():
    assert [number(value) for value in (0.051, 26.94, 594.2, 1127.4)] == ["0.05", "26.9", "594", "1,127"]


@pytest.fixture
def report(settings):
    popular = RowResult("popular", [2.0, 2.5], [{"data": 0.1, "VAE": 0.2, "features": 1.6, "optimiser": 0.1}], 2**31)
    popular.flops_per_image = 3e9
    rows = [popular, RowResult("own", [1.0, 1.0]), RowResult("broken", error="Out of memory; take a smaller batch.")]
    return {
        "settings": settings.as_dict(),
        "environment": {"machine": "x86_64, 2 threads"},
        "convolution_peaks": {"float32": 594e9},
        "rows": [as_dict(row, popular, settings.batch_size, {"float32": 594e9}) for row in rows],
    }


def test_the_table_shows_every_row(report):
    lines = bench_table(report).splitlines()
    assert lines[0].startswith("A training step at batch 2, 32x32 pixels, on cpu (x86_64, 2 threads)")
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:] if line}
    assert rows["own"] == ["2.00", "2.00-2.00", "2.25", "2.00-2.50", "-", "-", "-", "-"]
    assert "2,048" in lines[3]
    assert "broken   Out of memory; take a smaller batch." in lines
    assert [line.split()[1::2] for line in lines if line.startswith("popular")][1] == ["5.0", "10.0", "80.0", "5.0"]
    assert lines[-1] == "Convolution peak of this machine, GFLOP/s: 594 in float32"


def test_the_report_is_json(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_scaling_table_shows_exponents_and_failures():
    points = [
        {"label": "batch 8", "x": 8, "seconds_per_step": 0.2, "images_per_second": 40.0, "peak_memory_bytes": 2**30},
        {"label": "batch 16", "error": "Out of memory; take a smaller batch."},
    ]
    report = {
        "settings": {"device": "cpu"},
        "environment": {"machine": "x86_64, 2 threads"},
        "series": {"batch": points},
        "exponents": {"batch": 0.987},
    }
    assert scaling_table(report).splitlines()[2:] == [
        "by batch  s/step  images/s    MiB",
        "batch 8   0.2000      40.0  1,024",
        "batch 16  Out of memory; take a smaller batch.",
        "time grows as batch to the power of 0.99",
    ]
