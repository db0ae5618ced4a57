"""The command from end to end, small."""

import json

import pytest

from dfcvae.bench.rows import MEASURES, bench_rows
from dfcvae.bench.scaling import BATCHES
from dfcvae.bench.settings import BenchSettings
from dfcvae.cli import main

SMALL = ["--size", "32", "--batch_size", "2", "--rounds", "1", "--steps", "1", "--accelerator", "cpu"]


def test_a_quick_benchmark_leaves_out_the_single_measures(tmp_path):
    names = [row.name for row in bench_rows(BenchSettings(quick=True, accelerator="cpu"), tmp_path)]
    full = ("exact float32", "default precision", "kept targets")
    assert names == ["popular", *(f"dfcvae, {how}" for how in (*full, "compact network", "compact, kept targets"))]


@pytest.mark.slow
def test_bench(capsys, tmp_path):
    out = tmp_path / "reports" / "bench.json"
    assert main(["bench", *SMALL, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    report = json.loads(out.read_text())
    names = [row["name"] for row in report["rows"]]
    assert names == ["popular", *(name for name in MEASURES if name != "+ compiled VAE"), *names[-5:]]
    assert all(name in shown for name in names)
    assert report["environment"]["versions"]["torch"]
    for row in report["rows"]:
        if row["name"] == "+ bfloat16" and "error" in row:
            assert row["error"].startswith("This device has no bfloat16 arithmetic")
            continue
        assert row["images_per_second"]["median"] > 0
        assert row["peak_memory_bytes"] > 2**20
        assert 0 < row["of_peak"] < 2
    assert report["rows"][0]["times_popular"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert sum(report["rows"][0]["parts"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_scaling(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(BATCHES, "cpu", (2, 4))
    monkeypatch.setattr("dfcvae.bench.scaling.SIZES", (32, 64))
    out = tmp_path / "scaling.json"
    assert main(["bench", "--scaling", "--layers", "[3, 14]", *SMALL, "--out", str(out)]) == 0
    series = json.loads(out.read_text())["series"]
    assert {name: len(points) for name, points in series.items()} == {
        "batch": 2,
        "pixels": 2,
        "FLOPs": 2,
        "processes": 2,
    }
    assert all(point["images_per_second"] > 0 for points in series.values() for point in points)
    assert "time grows as batch to the power of" in capsys.readouterr().out
