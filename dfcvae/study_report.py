"""The report of a study: which variant is best, and what `compare` reports."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from dfcvae.ablate import Place, collect
from dfcvae.data import source_name
from dfcvae.evaluation.judges import COSINE
from dfcvae.metrics import read_cost
from dfcvae.report.blocks import write_report
from dfcvae.report.comparison import Results, comparison, measures
from dfcvae.report.tables import title
from dfcvae.study import Study

AGREEMENT = "attribute_agreement"  # what another network sees; a feature distance would favour its own layers
Values = Mapping[str, list[dict[str, float]]]
"""Measures of every training by name of the variant."""


def study_report(study: Study, place: Place, failed: Mapping[str, str]) -> Path:
    """Write ``report.html``, whose path is returned, ``report.md``, ``metrics.json``, ``results.csv`` and the figures.

    ``failed`` has errors of runs, by name.

    Raises:
        UserError: if fewer than two variants have a seed in common.
    """
    study, failed, results = collect(study, place, failed)
    values = {name: [found.measured.values() for found in of] for name, of in results.evaluated.items()}
    best = f"Best first, by {title(ranked_by(values))}: {', '.join(ranked(values))}."
    found = ["## Ranking", best, *measures(results)]
    blocks = comparison(results, about(study, results, failed), found)
    return write_report(f"Study: {study.name}", blocks, place.out, numbers(study, results))


def numbers(study: Study, results: Results) -> dict[str, object]:
    """All numbers of the compared runs by name, for ``metrics.json``."""
    runs = zip(study.variants, results.evaluated.values(), strict=True)
    return {
        f"{name}-{seed}": found.as_json() for name, of in runs for seed, found in zip(results.seeds, of, strict=True)
    }


def about(study: Study, results: Results, failed: Mapping[str, str]) -> list[str]:
    """What was done, and the runs that are not finished."""
    seeds = f"{len(results.seeds)} seed{'s' * (len(results.seeds) > 1)}"
    text = (
        f"{len(study.variants)} variants, {seeds}; each training saw {images_seen(results):,} images, from "
        f"{len(results.splits['train']):,} of {source_name(study.data)} at {study.data.size} pixels; "
        f"{len(results.splits['test']):,} test faces. All variants of a seed see the same images in the same order "
        "and, where the network is the same, start from the same weights; each is measured after its last step. "
        f"Pictures, curves, costs and settings are those of seed {results.seeds[0]}."
    )
    if not failed:
        return [text]
    explanation = (
        "These runs are not finished. Variants without a finished run are left out, and so are seeds that a variant "
        "lacks. Start the study again to resume them."
    )
    runs = f"```\n{json.dumps(dict(failed), indent=2)}\n```"
    return [text, "## Failed runs", explanation, runs]


def images_seen(results: Results) -> int:
    """By each training."""
    return int(fmean(read_cost(model.folder).get("images", 0) for model in results.models.values()))


def ranked_by(values: Values) -> str:
    """The measure that decides: what a judge sees, preferably one of another kind; without any, SSIM."""
    first, *others = (run for runs in values.values() for run in runs)
    common = [name for name in first if all(name in run for run in others)]
    cosine = next((name for name in common if name.endswith(f"/{COSINE}")), None)
    return cosine or (AGREEMENT if AGREEMENT in common else "ssim")


def ranked(values: Values) -> list[str]:
    """Variants, the best first."""
    return sorted(values, key=lambda name: -fmean(run[ranked_by(values)] for run in values[name]))
