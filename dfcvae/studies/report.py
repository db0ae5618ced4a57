"""What a study found: one table, the same faces through every variant, curves, and what each layer does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from dfcvae.data import Splits, load_faces, source_name
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.reports.blocks import Block, Heading, Paragraph, Preformatted
from dfcvae.reports.comparison import Model, cost_table, protocol_card, settings_table, test_faces
from dfcvae.reports.curves import learning_curves
from dfcvae.reports.evaluated import Evaluated
from dfcvae.reports.measured import title
from dfcvae.reports.observers import partial_judges
from dfcvae.reports.pictures import reconstructions, samples
from dfcvae.reports.write import write_report
from dfcvae.run import read_cost
from dfcvae.studies.layers import effects
from dfcvae.studies.one_run import Place, last_model, measure_once
from dfcvae.studies.study import Study
from dfcvae.studies.tables import Runs, flops_table, paired_table, ranked, ranked_by, ranking_table, write_results

FACES = 10
PAIRED = "Paired by seed, with 95 % intervals, not adjusted for the number of comparisons."
OF_ONE_SEED = "Of one training each: how much another seed would change them, this does not tell."
UNEQUAL = (
    "Equal images, unequal work: operations of a training step for each image, the features of the originals among "
    "them, which a run that keeps them computes only once; and time, of runs that may have shared the machine."
)


def study_report(study: Study, place: Place, failed: Mapping[str, str]) -> Path:
    """Write ``report.html``, ``report.md``, ``results.csv`` and the figures; returns the path of the HTML.

    Variants without any finished seed are left out, and the others are compared in the seeds that all of them have.
    ``results.csv`` holds all finished runs.

    Args:
        study: what was done.
        place: where.
        failed: why runs are not finished, by name.

    Raises:
        UserError: if fewer than two variants have a seed in common.
    """
    compared, seeds = comparable(study, failed)
    splits, observers = load_faces(study.data, progress=False), place.observers()
    evaluated = {
        run: measure_once(experiment, place, run, observers, splits)
        for run, experiment in study.runs().items()
        if run not in failed
    }
    measures = {run: found.measured.values() | found.distances() for run, found in evaluated.items()}
    write_results(measures, place.out / "results.csv")
    runs = {name: [measures[f"{name}-{seed}"] for seed in seeds] for name in compared.variants}
    models = {name: last_model(place.run(f"{name}-{seeds[0]}")) for name in compared.variants}
    cards = {f"{name}-{seed}": evaluated[f"{name}-{seed}"] for name in runs for seed in seeds}
    warnings = partial_judges(observers, {name: model.experiment for name, model in models.items()})
    blocks = study_blocks(compared, seeds, runs, models, cards, splits, failed, warnings)
    return write_report(f"Study: {study.name}", blocks, place.out)


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
    evaluated: Mapping[str, Evaluated],
    splits: Splits,
    failed: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> list[Block]:
    """The whole report."""
    base = next(iter(study.variants))
    vaes = {name: models[name].vae for name in ranked(runs)}
    x = test_faces(splits, FACES).to(pick_device())
    curves = learning_curves({name: model.folder for name, model in models.items()})
    drawn: list[Block] = [Heading("Learning curves"), curves] if curves else []
    images = int(fmean(read_cost(model.folder).get("images", 0) for model in models.values()))
    costs = [flops_table(study.variants, images), cost_table(models)]
    return [
        Paragraph(_about(study, seeds, splits, images, ranked_by(runs))),
        *_failures(failed),
        Heading("Ranking"),
        *map(Paragraph, warnings),
        ranking_table(runs),
        Heading(f"Differences from {base}"),
        Paragraph(PAIRED if len(seeds) > 1 else OF_ONE_SEED),
        paired_table(runs),
        *effects(study, runs),
        Heading("The same faces"),
        reconstructions(vaes, x),
        Heading("The same latents"),
        samples(vaes, FACES, lines=1),
        *drawn,
        Heading("Cost"),
        Paragraph(UNEQUAL),
        *costs,
        Heading("Settings that differ"),
        settings_table(models),
        Heading("Protocol"),
        protocol_card(evaluated),
    ]


def _about(study: Study, seeds: Sequence[int], splits: Splits, images: int, ranking: str) -> str:
    spread = "Mean over seeds, with half the width of its 95 % interval (Student's t). " if len(seeds) > 1 else ""
    return (
        f"{len(study.variants)} variants, {len(seeds)} seeds; each training saw {images:,} images, from "
        f"{len(splits['train']):,} of {source_name(study.data)} at {study.data.size} pixels; {len(splits['test']):,} "
        "test faces. All variants of a seed see the same images in the same order and, where the network is the same, "
        "begin with the same weights; each is measured after its last step. "
        f"Ranked by {title(ranking)}. {spread}Pictures, curves, costs and settings are those of seed {seeds[0]}."
    )


def _failures(failed: Mapping[str, str]) -> list[Block]:
    if not failed:
        return []
    text = (
        "These runs are not finished. Variants without any finished run are left out, and so are seeds that a variant "
        "lacks. Start the study again to go on with them."
    )
    return [Heading("Failed runs"), Paragraph(text), Preformatted(json.dumps(dict(failed), indent=2))]
