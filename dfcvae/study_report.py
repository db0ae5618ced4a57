"""The report of a study: a ranking, paired differences, effects of layers, and what `compare` reports."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from dfcvae.ablate import Place, collect
from dfcvae.config import Experiment
from dfcvae.data import source_name
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS
from dfcvae.evaluation.differences import main_effects
from dfcvae.evaluation.judges import COSINE
from dfcvae.losses.presets import PRESETS
from dfcvae.report.blocks import Block, Heading, Paragraph, Preformatted, Table, write_report
from dfcvae.report.comparison import OVER_SEEDS, PAIRED_SEEDS, Results, comparison
from dfcvae.report.models import flops_per_image
from dfcvae.report.tables import Runs, difference_cell, of_judge, seed_differences_table, seeds_table, title, transposed
from dfcvae.run import read_cost
from dfcvae.study import Study
from dfcvae.vgg import layer_names, resolve_layers

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
ONE_SEED = (
    "One training of each: how much another seed would change the differences is unknown, so no verdict is given."
)
UNEQUAL = (
    "Equal images, unequal work: operations of a training step for each image, the features of the originals included, "
    "which a run that caches them computes only once; and time, of runs that may have shared the machine."
)


def study_report(study: Study, place: Place, failed: Mapping[str, str]) -> Path:
    """Write ``report.html``, ``report.md``, ``metrics.json``, ``results.csv`` and the figures; returns the HTML's path.

    Args:
        study: what was done.
        place: where.
        failed: errors of runs, by name.

    Raises:
        UserError: if fewer than two variants have a seed in common.
    """
    study, failed, results = collect(study, place, failed)
    runs, images = results.values(), images_seen(results)
    ranking = [Heading("Ranking"), *map(Paragraph, results.warnings), *rankings(runs), *layer_effects(study, runs)]
    costs: list[Block] = [Paragraph(UNEQUAL), flops_table(study.variants, images)]
    blocks = comparison(results, about(study, results, failed), ranking, costs=costs)
    return write_report(f"Study: {study.name}", blocks, place.out, numbers(study, results))


def numbers(study: Study, results: Results) -> dict[str, object]:
    """All numbers of the compared runs by name, for ``metrics.json``."""
    runs = zip(study.variants, results.evaluated.values(), strict=True)
    return {
        f"{name}-{seed}": found.as_json() for name, of in runs for seed, found in zip(results.seeds, of, strict=True)
    }


def about(study: Study, results: Results, failed: Mapping[str, str]) -> list[Block]:
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
        return [Paragraph(text)]
    explanation = (
        "These runs are not finished. Variants without a finished run are left out, and so are seeds that a variant "
        "lacks. Start the study again to resume them."
    )
    runs = Preformatted(json.dumps(dict(failed), indent=2))
    return [Paragraph(text), Heading("Failed runs"), Paragraph(explanation), runs]


def images_seen(results: Results) -> int:
    """By each training."""
    return int(fmean(read_cost(model.folder).get("images", 0) for model in results.models.values()))


def ranked_by(runs: Runs) -> str:
    """The measure that decides: what a judge sees, preferably one of another kind; without any, SSIM."""
    return next((name for name in shown(runs) if name.endswith(f"/{COSINE}") or name == AGREEMENT), "ssim")


def ranked(runs: Runs) -> list[str]:
    """Variants, the best first."""
    return sorted(runs, key=lambda name: -fmean([run[ranked_by(runs)] for run in runs[name]]))


def shown(runs: Runs) -> list[str]:
    """Measures of the tables, which all variants have."""
    judged = [name for name in next(iter(runs.values()))[0] if of_judge(name)]
    return [name for name in (*judged, *SHOWN) if all(name in of[0] for of in runs.values())]


def rankings(runs: Runs) -> list[Block]:
    """Variants by measures, the best first: means over seeds, and differences from the first variant."""
    first, several = next(iter(runs)), len(next(iter(runs.values()))) > 1
    order = {name: runs[name] for name in ranked(runs)}
    others = {first: runs[first]} | {name: of for name, of in order.items() if name != first}
    return [
        Paragraph(f"Ranked by {title(ranked_by(runs))}. {OVER_SEEDS if several else ''}".rstrip()),
        transposed(seeds_table(order, shown(runs))),
        Heading(f"Differences from {first}"),
        Paragraph(PAIRED_SEEDS if several else ONE_SEED),
        transposed(seed_differences_table(others, shown(runs))),
    ]


def layers_of(experiment: Experiment) -> frozenset[str] | None:
    """The layers that the loss of an experiment compares, by name; None for a loss that is not made of layers."""
    features = experiment.loss.features
    if features is None:
        return frozenset()
    if features.preset not in PRESETS:
        return None
    preset = PRESETS[features.preset]
    return frozenset(map(str, resolve_layers(features.arch or preset.arch, features.layers or preset.layers)))


def layer_effects(study: Study, runs: Runs) -> list[Block]:
    """What adding a layer does; nothing where fewer than three sets of layers are compared.

    Variants with several layers that no other variant has are left out: only the sum of their effects is known.
    """
    present = {name: own for name, e in study.variants.items() if (own := layers_of(e)) is not None}
    lonely = {name: [n for n in own if sum(n in of for of in present.values()) == 1] for name, own in present.items()}
    present = {name: own for name, own in present.items() if len(lonely[name]) < 2}
    if len(set(present.values())) < 3:
        return []
    varying = frozenset.union(*present.values()) - frozenset.intersection(*present.values())
    layers = [name for name in layer_names("vgg19_bn") if name in varying]
    design = [[layer in own for layer in layers] for own in present.values()]
    heading = Heading("Main effects of the layers")
    try:
        found = {
            key: main_effects(design, [[run[key] for run in runs[name]] for name in present]) for key in shown(runs)
        }
    except UserError as error:
        return [heading, Paragraph(str(error))]
    rows = [
        [f"adding {layer}", *(difference_cell(key, of[i]) for key, of in found.items())]
        for i, layer in enumerate(layers)
    ]
    text = (
        f"Least squares over the means of {', '.join(present)}, with a term for every layer: the difference between "
        "variants with and without the layer, the other layers held fixed. Intervals are wide where the effects of "
        "layers do not add up, however many seeds there are."
    )
    return [heading, Paragraph(text), Table(["", *map(title, found)], rows)]


def flops_table(variants: Mapping[str, Experiment], images: int) -> Table:
    """Operations of the training steps of every variant."""
    flops = {name: flops_per_image(experiment) / 1e9 for name, experiment in variants.items()}
    rows = [[name, f"{giga:.3g}", f"{giga * images / 1e3:.3g}"] for name, giga in flops.items()]
    return Table(["variant", "GFLOP per image", "TFLOP in all"], rows)
