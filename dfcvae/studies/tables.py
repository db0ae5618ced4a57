"""The tables of a study: variants by measures."""

import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from dfcvae.config import Experiment
from dfcvae.evaluation import JUDGE_LAYERS
from dfcvae.evaluation.judges import COSINE
from dfcvae.evaluation.seeds import OverSeeds, over_seeds
from dfcvae.files import whole
from dfcvae.flops import flops_per_image
from dfcvae.reports.blocks import Table
from dfcvae.reports.measured import in_order, of_judge, seed_differences, title, verdict

AGREEMENT = "attribute_agreement"  # what another network sees; a feature distance would favour its own layers
SHOWN = (
    AGREEMENT,
    "lpips_alex",
    "lpips_vgg",
    "samples/frechet_judge",
    "samples/fid",
    "mse",
    "ssim",
    *(f"features/{layer}" for layer in JUDGE_LAYERS),
    "sharpness",
    "kl",
)
GIGA = 1e9

Runs = dict[str, list[dict[str, float]]]
"""The measures of every training, in the order of seeds, by variant."""


def ranked_by(runs: Runs) -> str:
    """The measure that decides: what a judge sees, first of all one of another kind, or without any SSIM."""
    return next((name for name in shown(runs) if name.endswith(f"/{COSINE}") or name == AGREEMENT), "ssim")


def ranked(runs: Runs) -> list[str]:
    """Variants, the best first."""
    return sorted(runs, key=lambda name: -fmean([run[ranked_by(runs)] for run in runs[name]]))


def shown(runs: Runs) -> list[str]:
    """Measures of the tables, which all have."""
    judged = [name for name in next(iter(runs.values()))[0] if of_judge(name)]
    return [name for name in (*judged, *SHOWN) if all(name in of[0] for of in runs.values())]


def ranking_table(runs: Runs) -> Table:
    """Variants by measures: means over seeds."""
    rows = [
        [name, *(str(over_seeds([run[key] for run in runs[name]])) for key in shown(runs))] for name in ranked(runs)
    ]
    return Table(["variant", *map(title, shown(runs))], rows)


def paired_table(runs: Runs) -> Table:
    """Variants by measures: differences from the first variant, paired by seed."""
    base = next(iter(runs))
    differences = {name: seed_differences(runs[name], runs[base]) for name in ranked(runs) if name != base}
    rows = [[name, *(difference_cell(key, found[key]) for key in shown(runs))] for name, found in differences.items()]
    return Table(["variant", *map(title, shown(runs))], rows)


def difference_cell(measure: str, found: OverSeeds) -> str:
    """A difference with its interval, if it has one, and what it says."""
    if found.half_width != found.half_width:  # NaN, of a single seed
        return f"{found.mean:+.3g}"
    return f"{found.mean:+.3g} ± {found.half_width:.2g} {verdict(measure, found.low, found.high)}".rstrip()


def flops_table(variants: Mapping[str, Experiment], images: int) -> Table:
    """Operations of the training steps of every variant."""
    rows = []
    for name, experiment in variants.items():
        flops = flops_per_image(experiment)
        rows.append([name, f"{flops / GIGA:.3g}", f"{flops * images / GIGA / 1e3:.3g}"])
    return Table(["variant", "GFLOP an image", "TFLOP in all"], rows)


def write_results(measures: Mapping[str, Mapping[str, float]], file: Path) -> Path:
    """All measures of all finished runs, a row for each, from measures by the name of the run."""
    columns = in_order(list(dict.fromkeys(key for run in measures.values() for key in run)))
    with whole(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["variant", "seed", *columns])
        for name, run in measures.items():
            variant, _, seed = name.rpartition("-")
            writer.writerow([variant, seed, *(run.get(key, "") for key in columns)])
    return file
