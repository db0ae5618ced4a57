"""Measures read off at equal KL: exact enough between few trainings, whichever of them are missing."""

import csv
import json
import runpy
import sys

import pytest

from tests.test_experiments import FOLDER

SCRIPT = str(FOLDER / "rate_distortion.py")
ALPHAS = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.016)


def distortion(kl):
    """A convex curve as trainings have: a floor, and a part that falls with the nats."""
    return 0.0047 + 0.13 / kl


@pytest.fixture
def results(tmp_path):
    """A function that writes a study's results, without some runs; both losses are on one curve at different nats."""

    def write(*missing):
        kl = {"dfc": lambda alpha: 3.4 * alpha**-0.5, "plain": lambda alpha: 2.2 * alpha**-0.5}
        path = tmp_path / "results.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["variant", "seed", "kl", "mse"])
            for loss, nats in kl.items():
                for alpha in ALPHAS:
                    for seed in range(3):
                        if (loss, alpha, seed) not in missing:
                            measured = nats(alpha) * (1 + 0.01 * seed)
                            writer.writerow([f"{loss}-{alpha}", seed, measured, distortion(measured)])
        return path

    return write


@pytest.fixture
def compare(tmp_path, monkeypatch):
    def run(path, *more):
        monkeypatch.setattr(sys, "argv", [SCRIPT, str(path), "--out", str(tmp_path / "found"), *more])
        runpy.run_path(SCRIPT, run_name="__main__")
        assert (tmp_path / "found.png").stat().st_size > 10_000
        found = json.loads((tmp_path / "found.json").read_text())
        return found["others"] if more else found["measures"]["mse"]

    return run


def test_two_losses_on_one_curve_are_equal_at_equal_kl(results, compare):
    found = compare(results())
    same, other = (float(found[name].split(" ±")[0]) for name in ("dfc", "plain, equal KL"))
    assert other == pytest.approx(same, rel=0.01)


def test_a_seed_that_lacks_a_training_is_left_out_whichever_it_is(results, compare):
    everything = compare(results())
    for seed in range(3):
        found = compare(results(("plain", 0.002, seed)))
        assert found["dfc"] != everything["dfc"]  # a mean over the two others
        assert "±" in found["dfc - plain, equal KL"]
    assert "±" in compare(results(*(("plain", alpha, 0) for alpha in ALPHAS)))["dfc"]


def test_the_variants_of_another_study_are_compared_each_at_its_own_kl(results, compare, tmp_path):
    other = tmp_path / "other.csv"
    better = [f"better,{seed},150,{distortion(150) - 0.001}" for seed in range(3)]
    equal = [f"equal-0.5,{seed},60,{distortion(60)}" for seed in range(3)]
    other.write_text("\n".join(["variant,seed,kl,mse", *better, *equal]) + "\n")
    found = {name: row["mse"].split(" ±") for name, row in compare(results(), "--others", str(other)).items()}
    assert float(found["better"][0]) == pytest.approx(-0.001, rel=0.05)
    assert float(found["equal-0.5"][0]) == pytest.approx(0, abs=0.01 * distortion(60))
