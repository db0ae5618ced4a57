"""What a study found: one table, the same faces through every variant, curves, and what each layer does."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from dfcvae.config import Experiment
from dfcvae.data import Splits, load_faces, source_name
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS
from dfcvae.evaluation.effects import main_effects
from dfcvae.evaluation.seeds import OverSeeds, over_seeds
from dfcvae.losses.presets import PRESETS
from dfcvae.reports.blocks import Block, Heading, Paragraph, Preformatted, Table
from dfcvae.reports.comparison import Model, cost_table, protocol_card, settings_table, test_faces
from dfcvae.reports.curves import learning_curves
from dfcvae.reports.evaluated import Evaluated, Judge
from dfcvae.reports.measured import in_order, seed_differences, title, verdict
from dfcvae.reports.pictures import reconstructions, samples
from dfcvae.reports.write import write_report
from dfcvae.studies.one_run import measure_once, run_folder
from dfcvae.studies.study import Study
from dfcvae.training.cost import read_cost
from dfcvae.training.environment import pick_device
from dfcvae.training.flops import flops_per_image
from dfcvae.vgg import layer_names, resolve_layers

RANKED_BY = "attribute_agreement"  # what another network sees; a feature distance would favour its own layers
SHOWN = (
    "mse",
    "ssim",
    "lpips_alex",
    "lpips_vgg",
    "sharpness",
    *(f"features/{layer}" for layer in JUDGE_LAYERS),
    RANKED_BY,
    "samples/frechet_judge",
    "kl",
)
FACES = 10
GIGA = 1e9

Runs = dict[str, list[dict[str, float]]]
"""The measures of every training, in the order of seeds, by variant."""


def study_report(study: Study, out: Path, judge: Path, failed: Mapping[str, str]) -> Path:
    """Write ``report.html``, ``report.md``, ``results.csv`` and the figures; returns the path of the HTML.

    Variants of which every seed failed are left out, and the others are compared in the seeds that all of them have.

    Raises:
        UserError: if fewer than two variants have a seed in common.
    """
    study, seeds = comparable(study, failed)
    data = next(iter(study.variants.values())).data
    splits, judging = load_faces(data, progress=False), Judge.load(judge, pick_device())
    evaluated = {
        name: [measure_once(experiment, out, f"{name}-{seed}", judging, splits=splits) for seed in seeds]
        for name, experiment in study.variants.items()
    }
    runs = {name: [found.measured.values() | found.distances() for found in of] for name, of in evaluated.items()}
    write_results(runs, seeds, out / "results.csv")
    models = {name: Model.load(run_folder(out, f"{name}-{seeds[0]}")) for name in study.variants}
    blocks = study_blocks(study, seeds, runs, models, evaluated, splits, failed)
    return write_report(f"Study: {study.name}", blocks, out)


def comparable(study: Study, failed: Mapping[str, str]) -> tuple[Study, list[int]]:
    """The variants of which a seed is finished, and the seeds that all of them have.

    Raises:
        UserError: if they are fewer than two, or have no seed in common.
    """
    finished = {name: {s for s in range(study.seeds) if f"{name}-{s}" not in failed} for name in study.variants}
    variants = {name: experiment for name, experiment in study.variants.items() if finished[name]}
    seeds = sorted(set.intersection(*(finished[name] for name in variants))) if len(variants) > 1 else []
    if not seeds:
        told = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise UserError(
            f"No two variants of {study.name} have a seed in common, so there is nothing to compare. Failed: {told}."
        )
    return replace(study, variants=variants), seeds


def study_blocks(
    study: Study,
    seeds: Sequence[int],
    runs: Runs,
    models: Mapping[str, Model],
    evaluated: Mapping[str, Sequence[Evaluated]],
    splits: Splits,
    failed: Mapping[str, str],
) -> list[Block]:
    """The whole report."""
    base, experiment = next(iter(study.variants.items()))
    vaes = {name: models[name].vae for name in ranked(runs)}
    x = test_faces(splits, FACES).to(pick_device())
    curves = learning_curves({name: model.folder for name, model in models.items()})
    budget = experiment.training.max_steps or f"{experiment.training.epochs} epochs"
    drawn: list[Block] = [Heading("Learning curves"), curves] if curves else []
    return [
        Paragraph(
            f"{len(study.variants)} variants, {len(seeds)} seeds, {budget} each on {len(splits['train']):,} images of "
            f"{source_name(experiment.data)} at {experiment.data.size} pixels; {len(splits['test']):,} test faces. All "
            "variants of a seed see the same images in the same order, and begin with the same weights. Ranked by "
            f"{title(RANKED_BY)}. Mean over seeds, with half the width of its 95 % interval (Student's t)."
        ),
        *_failures(failed),
        Heading("Ranking"),
        ranking_table(runs),
        Heading(f"Differences from {base}"),
        Paragraph("Paired by seed, with 95 % intervals, not adjusted for the number of comparisons."),
        paired_table(runs),
        *effects(study, seeds, runs),
        Heading("The same faces"),
        reconstructions(vaes, x),
        Heading("The same latents"),
        samples(vaes, FACES, lines=1),
        *drawn,
        Heading("Cost"),
        Paragraph("Equal images, unequal work: operations of a training step for each image, and the time it took."),
        flops_table(study.variants, int(fmean(_images(model) for model in models.values()))),
        cost_table(models),
        Heading("Settings that differ"),
        settings_table(models),
        Heading("Protocol"),
        protocol_card({f"{name}-{seed}": of[i] for name, of in evaluated.items() for i, seed in enumerate(seeds)}),
    ]


def ranked(runs: Runs) -> list[str]:
    """Variants, the best first."""
    key = RANKED_BY if all(RANKED_BY in of[0] for of in runs.values()) else "ssim"
    return sorted(runs, key=lambda name: -fmean([run[key] for run in runs[name]]))


def shown(runs: Runs) -> list[str]:
    """Measures of the tables, which all have."""
    return [name for name in SHOWN if all(name in of[0] for of in runs.values())]


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


def layers_of(experiment: Experiment) -> frozenset[str]:
    """The layers that the loss of an experiment compares, by name."""
    features = experiment.loss.features
    if features is None or features.preset not in PRESETS:
        return frozenset()
    preset = PRESETS[features.preset]
    names: Sequence[str] = resolve_layers(features.arch or preset.arch, features.layers or preset.layers)
    return frozenset(map(str, names))


def effects(study: Study, seeds: Sequence[int], runs: Runs) -> list[Block]:
    """What adding a layer does; nothing where layers are not what varies.

    Variants with several layers that no other variant has are left out.
    """
    present = {name: layers_of(experiment) for name, experiment in study.variants.items()}
    # a variant with several layers that no other has tells only what they do together
    lonely = {name: [n for n in own if sum(n in of for of in present.values()) == 1] for name, own in present.items()}
    names = [name for name in runs if len(lonely[name]) < 2]
    everywhere = frozenset.intersection(*present.values())
    found = frozenset().union(*(present[name] for name in names)) - everywhere
    layers = [name for name in layer_names("vgg19_bn") if name in found]
    if not layers:
        return []
    design = [[layer in present[name] for layer in layers] for name in names for _ in seeds]
    of_seeds = [seed for _ in names for seed in seeds]
    heading = Heading("Main effects of the layers")
    values = {key: [run[key] for name in names for run in runs[name]] for key in shown(runs)}
    try:
        by_measure = {key: main_effects(design, of_seeds, of) for key, of in values.items()}
    except UserError as error:
        return [heading, Paragraph(str(error))]
    rows = [
        [f"adding {layer}", *(difference_cell(key, found[i]) for key, found in by_measure.items())]
        for i, layer in enumerate(layers)
    ]
    text = (
        f"Least squares over the runs of {', '.join(names)}, with a term for every layer and every seed: what a "
        "variant with the layer has more than one without, the presence of the other layers as it is. Intervals are "
        "wide where layers do not add up."
    )
    return [heading, Paragraph(text), Table(["", *map(title, shown(runs))], rows)]


def difference_cell(measure: str, found: OverSeeds) -> str:
    """A difference with its interval, and what it says."""
    return f"{found.mean:+.3g} ± {found.half_width:.2g} {verdict(measure, found.low, found.high)}".rstrip()


def flops_table(variants: Mapping[str, Experiment], images: int) -> Table:
    """Operations of the training steps of every variant."""
    rows = []
    for name, experiment in variants.items():
        flops = flops_per_image(experiment)
        rows.append([name, f"{flops / GIGA:.3g}", f"{flops * images / GIGA / 1e3:.3g}"])
    return Table(["variant", "GFLOP an image", "TFLOP in all"], rows)


def write_results(runs: Runs, seeds: Sequence[int], file: Path) -> Path:
    """All measures of all runs, a row for each."""
    measures = in_order(list(dict.fromkeys(key for of in runs.values() for run in of for key in run)))
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["variant", "seed", *measures])
        for name, of in runs.items():
            for seed, run in zip(seeds, of, strict=True):
                writer.writerow([name, seed, *(run.get(key, "") for key in measures)])
    return file


def _failures(failed: Mapping[str, str]) -> list[Block]:
    if not failed:
        return []
    text = (
        "These runs failed. Variants without any finished run are left out, and so are seeds that a variant lacks. "
        "Start the study again to try them anew."
    )
    return [Heading("Failed runs"), Paragraph(text), Preformatted(json.dumps(dict(failed), indent=2))]


def _images(model: Model) -> int:
    return int(read_cost(model.folder).get("images", 0))
