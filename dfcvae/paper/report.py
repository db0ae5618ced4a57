"""The results section: from what was done to a report."""

from collections.abc import Sequence
from statistics import fmean

from dfcvae.data import Splits, source_name
from dfcvae.device import pick_device
from dfcvae.evaluation.probe import CELEBA_ATTRIBUTES, OTHER_DATA, PUBLISHED, Scores
from dfcvae.evaluation.seeds import over_seeds
from dfcvae.paper.figures import correlations, latent_map, vectors_of, walks
from dfcvae.paper.hypothesis import hypothesis
from dfcvae.paper.variants import DFC, TITLES
from dfcvae.paper.work import PaperSettings, Work
from dfcvae.reports.blocks import Block, Heading, Paragraph, Table
from dfcvae.reports.comparison import AGAINST, cost_table, protocol_card, settings_table, test_faces
from dfcvae.reports.curves import learning_curves
from dfcvae.reports.evaluated import SETS, distance_title
from dfcvae.reports.measured import differences_table, seed_differences_table, seeds_table
from dfcvae.reports.pictures import interpolations, reconstructions, samples

FACES, SAMPLES, STEPS = 10, 10, 8
SCORES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


def paper_report(settings: PaperSettings, work: Work, splits: Splits) -> list[Block]:
    """All blocks of the report."""
    models = {TITLES[name]: found[0] for name, found in work.models.items()}
    vaes = {name: model.vae for name, model in models.items()}
    x = test_faces(splits, FACES).to(pick_device())
    every = {model.folder.name: model for found in work.models.values() for model in found}
    evaluated = dict(zip(every, (found for of_name in work.evaluated.values() for found in of_name), strict=True))
    curves = learning_curves({name: model.folder for name, model in models.items()})
    drawn: list[Block] = [Heading("Learning curves"), curves] if curves else []
    return [
        Paragraph(introduction(settings, splits)),
        Heading("Models"),
        settings_table(models),
        Heading("Reconstructions"),
        reconstructions(vaes, x),
        Heading("Measures"),
        *map(Paragraph, work.warnings),
        *measures(work),
        Heading("Do feature losses win on perception and lose on pixels?"),
        *map(Paragraph, hypothesis(work)),
        Heading("Samples"),
        samples(vaes, SAMPLES, lines=2),
        *distances(work),
        Heading("Interpolation"),
        interpolations(vaes, x[: 4 if len(x) >= 4 else 2], STEPS),
        *attributes(work, splits),
        *drawn,
        Heading("Cost"),
        Paragraph("All runs in one process: the peak of its memory holds what earlier runs left."),
        cost_table(every),
        Heading("Protocol"),
        protocol_card(evaluated),
    ]


def introduction(settings: PaperSettings, splits: Splits) -> str:
    """What was done, in words."""
    trainings = f"{settings.seeds} trainings each, with different seeds" if settings.seeds > 1 else "one training each"
    return (
        f"The experiments of Hou et al. 2016 (arXiv 1610.00291) on {source_name(settings.data)}: "
        f"{len(splits['train']):,} training and {len(splits['test']):,} test faces of {settings.data.size} pixels. "
        f"Four models that differ in the loss alone, {settings.epochs} epochs, {trainings}; those of one seed share "
        "initial weights, order of the images, flips and noise. Pictures show seed 0. Every term of every loss is "
        "divided by the variance of its target, so that one weight of the KL divergence means the same in all. "
        f"Weights of the feature network: {settings.features if settings.features == 'imagenet' else 'in-domain'}."
    )


def measures(work: Work) -> list[Block]:
    """Tables over seeds, or with one seed over faces."""
    values = {TITLES[name]: [found.measured.values() for found in runs] for name, runs in work.evaluated.items()}
    if len(next(iter(values.values()))) > 1:
        return [
            Paragraph("Test split. Mean over seeds and half the width of its 95 % interval (Student's t)."),
            seeds_table(values, "test split"),
            Paragraph("Differences from the plain VAE of the same seed, with the same intervals."),
            seed_differences_table(values),
        ]
    first = {TITLES[name]: runs[0].measured for name, runs in work.evaluated.items()}
    text = "One training of each. Intervals (95 %, paired bootstrap) hold for other faces and these very models."
    return [seeds_table(values, "test split"), Paragraph(text), differences_table(first)]


def distances(work: Work) -> list[Block]:
    """How far samples and reconstructions are from faces, over seeds; the floor once."""
    rows: list[list[str]] = []
    floor = work.evaluated[DFC][0].samples.get("floor", {})
    for name, runs in work.evaluated.items():
        for kind in ("samples", "samples_gmm", "reconstructions"):
            if all(kind in run.samples for run in runs):
                cells = [str(over_seeds([run.samples[kind][key] for run in runs])) for key in floor]
                rows.append([f"{TITLES[name]}: {SETS[kind]}", *cells])
    if not rows:
        return []
    rows.append([SETS["floor"], *(f"{value:.4g}" for value in floor.values())])
    return [Paragraph(AGAINST), Table(["", *map(distance_title, floor)], rows)]


def attributes(work: Work, splits: Splits) -> list[Block]:
    """Walks, correlations, the map, and what can be read in latents; nothing for faces without attributes."""
    if not splits["train"].names:
        return []
    vaes = {TITLES[name]: found[0].vae for name, found in work.models.items()}
    vectors = vectors_of(vaes, splits)
    dfc = TITLES[DFC]
    return [
        Heading("Attribute vectors"),
        walks(vaes, vectors, splits),
        correlations(dfc, vectors[dfc], splits),
        Heading("The latent space"),
        latent_map(dfc, vaes[dfc], splits),
        Heading("Attribute prediction"),
        *prediction(work, splits),
    ]


def prediction(work: Work, splits: Splits) -> list[Block]:
    """What linear classifiers read in the latents, beside controls and what was published."""
    rows = [
        [codes, classifier, *(f"{scores[key]:.4f}" for key in SCORES)]
        for codes, found in work.controls.items()
        for classifier, scores in found.items()
    ]
    for name, runs in work.probes.items():
        for classifier in runs[0]:
            rows.append([TITLES[name], classifier, *_over_seeds([run[classifier] for run in runs])])
    text = (
        "Linear classifiers of the posterior means, fitted to the training faces, scored on the test faces; means over "
        f"{len(splits['train'].names)} attributes (docs/evaluation.md tells the protocol and what the controls mean)."
    )
    blocks: list[Block] = [Paragraph(text), Table(["codes", "classifier", *SCORES.values()], rows)]
    if len(splits["train"].names) == CELEBA_ATTRIBUTES:
        published = [[name, f"{value:.4f}", source] for name, (value, source) in PUBLISHED.items()]
        blocks += [Paragraph(f"Published. {OTHER_DATA}"), Table(["", "accuracy", "source"], published)]
    return blocks


def _over_seeds(scores: Sequence[Scores]) -> list[str]:
    found = [over_seeds([score[key] for score in scores]) for key in SCORES]
    means = [f"{fmean([score[key] for score in scores]):.4f}" for key in SCORES]
    if len(scores) < 2:
        return means
    return [f"{mean} ± {over.half_width:.4f}" for mean, over in zip(means, found, strict=True)]
