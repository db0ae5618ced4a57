"""What a nat buys: measures of the KL study against the KL divergence, and its losses compared at equal KL.

    dfcvae ablate experiments/ablation_kl.yaml --set data.source=CELEBA loss.features.weights=compact --out studies/kl
    python experiments/rate_distortion.py studies/kl/results.csv --measures mse squeezenet/distance --others loss.csv

Variants are named LOSS-ALPHA. For each training of the DFC-VAE at the shipped alpha, the measures of the other losses
are read off at the same KL, on a monotone cubic curve through their trainings with the same seed (both axes
logarithmic): the relation is convex, and straight lines between few trainings would favour the DFC-VAE. Seeds that a
variant lacks are left out. The variants of another study with the same settings (--others) are compared with the
DFC-VAE likewise, each at its own KL. Writes OUT.json and OUT.png.
"""

import argparse
import csv
import json
from collections import defaultdict
from math import ceil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import PchipInterpolator

from dfcvae.evaluation.measures import over_seeds
from dfcvae.report.tables import SETS, title

SHIPPED = 0.001
STUDIED = "dfc"


def read(file: Path) -> dict[str, dict[int, list[dict[str, float]]]]:
    """Measures of all trainings by loss and seed, in the order of their KL."""
    found: dict = defaultdict(lambda: defaultdict(list))
    with file.open(newline="") as opened:
        for row in csv.DictReader(opened):
            loss, _, alpha = row.pop("variant").partition("-")
            seed = int(row.pop("seed"))
            found[loss][seed].append(
                {"alpha": float(alpha)} | {key: float(value) for key, value in row.items() if value}
            )
    trained = {loss: max(map(len, seeds.values())) for loss, seeds in found.items()}
    whole = set.intersection(*({s for s in seeds if len(seeds[s]) == trained[loss]} for loss, seeds in found.items()))
    return {
        loss: {seed: sorted(seeds[seed], key=lambda run: run["kl"]) for seed in sorted(whole)}
        for loss, seeds in found.items()
    }


def at_equal_kl(runs: list[dict[str, float]], kl: float, measure: str) -> float:
    """A positive measure at a KL between those of trainings; nan outside of their range."""
    known, values = (np.log([run[name] for run in runs]) for name in ("kl", measure))
    return float(np.exp(PchipInterpolator(known, values, extrapolate=False)(np.log(kl))))


def at_alpha(seeds: dict[int, list[dict[str, float]]], alpha: float) -> dict[int, dict[str, float]]:
    """The training with one KL weight, by seed."""
    return {seed: next(run for run in runs if run["alpha"] == alpha) for seed, runs in seeds.items()}


def others(file: Path, curves: dict[int, list[dict[str, float]]], measures: list[str]) -> dict[str, dict[str, str]]:
    """Each variant of a study minus the studied loss at the variant's own KL, over the seeds that both have."""
    found: dict = defaultdict(dict)
    with file.open(newline="") as opened:
        for row in csv.DictReader(opened):
            if int(row["seed"]) in curves:
                found[row["variant"]][int(row["seed"])] = row

    def difference(runs: dict[int, dict[str, str]], measure: str) -> str:
        equal = {seed: at_equal_kl(curves[seed], float(run["kl"]), measure) for seed, run in runs.items()}
        return str(over_seeds([float(run[measure]) - equal[seed] for seed, run in runs.items()]))

    return {variant: {measure: difference(runs, measure) for measure in measures} for variant, runs in found.items()}


def label(measure: str) -> str:
    """The name of a measure in a figure."""
    return "\n".join(filter(None, (SETS.get(measure.partition("/")[0]), title(measure))))


def main() -> None:
    """Compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results.csv of the study")
    parser.add_argument("--measures", nargs="+", default=["mse"])
    parser.add_argument("--others", type=Path, help="results.csv of another study")
    parser.add_argument("--out", type=Path, default=Path("rate_distortion"))
    args = parser.parse_args()
    found = read(args.results)
    shipped = at_alpha(found[STUDIED], SHIPPED)
    table = {}
    for measure in ("kl", *args.measures):
        rows = {STUDIED: {seed: run[measure] for seed, run in shipped.items()}}
        for loss in sorted(found.keys() - {STUDIED}):
            equal = {s: at_equal_kl(found[loss][s], run["kl"], measure) for s, run in shipped.items()}
            rows[f"{loss}, equal KL"] = equal
            rows[f"{STUDIED} - {loss}, equal KL"] = {seed: rows[STUDIED][seed] - equal[seed] for seed in equal}
        table[measure] = {name: str(over_seeds(list(values.values()))) for name, values in rows.items()}
        print(f"{measure:<40}" + "".join(f"{name}: {value:<22}" for name, value in table[measure].items()))
    record: dict = {"alpha": SHIPPED, "measures": table}
    if args.others:
        record["others"] = others(args.others, found[STUDIED], args.measures)
        for variant, row in record["others"].items():
            print(
                f"variant {variant} - {STUDIED}, equal KL: "
                + ", ".join(f"{measure} {value}" for measure, value in row.items())
            )
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")

    lines = ceil(len(args.measures) / 3)
    figure, axes = plt.subplots(lines, 3, figsize=(12, 3.2 * lines), layout="constrained")
    for axis in axes.flat[len(args.measures) :]:
        axis.remove()
    for axis, measure in zip(axes.flat, args.measures, strict=False):
        for color, (loss, seeds) in enumerate(sorted(found.items())):
            for seed, runs in seeds.items():
                points = [run["kl"] for run in runs], [run[measure] for run in runs]
                axis.plot(*points, ".-", color=f"C{color}", lw=1, label=loss if seed == min(seeds) else None)
        axis.set_xscale("log")
        axis.set_xlabel("KL, nats")
        axis.set_ylabel(label(measure))
    axes.flat[0].legend()
    figure.savefig(args.out.with_suffix(".png"), dpi=90)


if __name__ == "__main__":
    main()
