"""Trained models side by side: the same faces, the same latents, measures with their differences, what each cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from dfcvae.config import DataConfig
from dfcvae.data import Splits, data_of, filled, load_faces, source_name
from dfcvae.device import environment, pick_device
from dfcvae.evaluation.differences import over_seeds
from dfcvae.fitted import saved_mixture
from dfcvae.images import to_float
from dfcvae.report.blocks import Block, Heading, Paragraph, Preformatted, Table, write_report
from dfcvae.report.evaluated import SETS, Evaluated, distance_title, evaluate_model
from dfcvae.report.models import Model, cost_table, learning_curves, load_models, settings_table
from dfcvae.report.observers import JudgeFiles, Observers, partial_judges
from dfcvae.report.pictures import interpolations, reconstructions, samples
from dfcvae.report.tables import differences_table, in_order, measures_table, seed_differences_table, seeds_table
from dfcvae.vae import VAE

FACES, STEPS = 10, 8
FEW = 4  # models of which two interpolations are shown
OVER_FACES = (
    "In brackets: 95 % bootstrap intervals over the test faces. They hold for other faces and these very models; "
    "another training of the same model differs by more."
)
PAIRED_FACES = (
    "The same faces for both models: difference, its 95 % interval by the paired bootstrap, p-value of the paired "
    "t-test. The p-values are not adjusted for the number of measures."
)
OVER_SEEDS = "Mean over seeds and half the width of its 95 % interval (Student's t)."
PAIRED_SEEDS = "Paired by seed, with 95 % intervals (Student's t), not adjusted for the number of comparisons."
AGAINST = (
    "Against the test faces. A judge's distances are not the FID and KID, which are defined in Inception's features."
)


@dataclass(frozen=True)
class Results:
    """Trained models and what was measured of them.

    Args:
        data: where the faces come from.
        splits: the faces.
        models: by name; the first is what the others are compared with. With several seeds, those of the first.
        evaluated: by the same names, one for each seed.
        warnings: of judges, see `partial_judges`.
        seeds: of the trainings, where a study chose them.
        seed: of samples and resampled images.
    """

    data: DataConfig
    splits: Splits
    models: Mapping[str, Model]
    evaluated: Mapping[str, Sequence[Evaluated]]
    warnings: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    seed: int = 0

    def vaes(self) -> dict[str, VAE]:
        """The models' networks by name."""
        return {name: model.vae for name, model in self.models.items()}

    def values(self) -> dict[str, list[dict[str, float]]]:
        """All measures of every training by name of the model, those of samples included."""
        return {name: [found.values() for found in runs] for name, runs in self.evaluated.items()}


def compare(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    source: str | None = None,
    judge: JudgeFiles = None,
    fid: str | None = None,
    lpips: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Compare models on the test split of the first one's data: ``report.html``, ``report.md``, ``metrics.json``.

    Args:
        paths: two models or more; the first is what the others are compared with.
        out: folder of the report.
        source: other faces.
        judge: files of judges that none of the models was trained with: at most one attribute network, and
            descriptions of other networks (YAML).
        fid: weights of Inception for FID and KID: a file, or ``"download"``.
        lpips: download what LPIPS needs, where it is missing.
        seed: of samples, draws and resampled images.
        progress: show bars.

    Returns:
        The path of the HTML report.

    Raises:
        UserError: if models take images of different shapes, or cannot be loaded.
    """
    models, out = load_models(paths), Path(out)
    data = data_of(paths[0], source)
    splits = load_faces(data, progress=progress)
    filled(splits, "test")
    observers = Observers.load(judge, fid, lpips)
    evaluated = {}
    for path, (name, model) in zip(paths, tqdm(models.items(), "models", disable=not progress), strict=True):
        cache = out / "measured" / f"{name.replace('/', '-')}.safetensors"
        mixture = saved_mixture(path, model.vae) if observers.embed_samples() else None
        evaluated[name] = [
            evaluate_model(
                model.vae, data, splits, observers, mixture=mixture, seed=seed, cache=cache, progress=progress
            )
        ]
    warnings = partial_judges(observers, {name: model.experiment for name, model in models.items()})
    results = Results(data, splits, models, evaluated, warnings, seed=seed)
    about = f"Measured on {len(splits['test']):,} test faces of {source_name(data)}."
    blocks = comparison(results, [Paragraph(about), *other_data(models, data)], measures(results))
    numbers = {name: found.as_json(seed) for name, (found,) in evaluated.items()}
    return write_report(f"{listed(list(models))}: a comparison", blocks, out, numbers)


def comparison(
    results: Results,
    about: Sequence[Block],
    found: Sequence[Block],
    more: Sequence[Block] = (),
    costs: Sequence[Block] = (),
) -> list[Block]:
    """The blocks that all reports on several models have, in order.

    Args:
        results: what is compared.
        about: what was done.
        found: the measures, see `measures`.
        more: sections after the interpolation.
        costs: blocks above the table of costs.
    """
    vaes, seed = results.vaes(), results.seed
    x = test_faces(results.splits, FACES).to(pick_device())
    pairs = x[: 4 if len(x) >= 4 and len(vaes) <= FEW else 2]
    curves = learning_curves({name: model.folder for name, model in results.models.items()})
    drawn: list[Block] = [Heading("Learning curves"), curves] if curves else []
    return [
        *about,
        Heading("Reconstructions"),
        reconstructions(vaes, x),
        *found,
        Heading("Samples"),
        samples(vaes, FACES, lines=2 if len(vaes) <= FEW else 1, seed=seed),
        *distances(results.evaluated),
        Heading("Interpolation"),
        interpolations(vaes, pairs, STEPS),
        *more,
        *drawn,
        Heading("Cost"),
        *costs,
        cost_table(results.models),
        Heading("Settings that differ"),
        settings_table(results.models),
        Heading("Protocol"),
        protocol_card(results.evaluated),
    ]


def measures(results: Results) -> list[Block]:
    """Measures and differences from the first model: over seeds, or with one training of each over faces."""
    first = next(iter(results.models))
    heading, differences = Heading("Measures"), Heading(f"Differences from {first}")
    warnings = list(map(Paragraph, results.warnings))
    if len(results.evaluated[first]) > 1:
        runs = {name: [found.measured.values() for found in of] for name, of in results.evaluated.items()}
        every = in_order(runs[first][0])
        tables = seeds_table(runs, every), seed_differences_table(runs, every)
        return [heading, *warnings, Paragraph(OVER_SEEDS), tables[0], differences, Paragraph(PAIRED_SEEDS), tables[1]]
    one = {name: found.measured for name, (found,) in results.evaluated.items()}
    tables = measures_table(one, results.seed), differences_table(one, results.seed)
    return [heading, *warnings, Paragraph(OVER_FACES), tables[0], differences, Paragraph(PAIRED_FACES), tables[1]]


def other_data(models: Mapping[str, Model], data: DataConfig) -> list[Block]:
    """A warning of models that were trained on other data or another split than that of the test faces."""
    found = {
        name: (Path(model.experiment["data"]["source"]).name, model.experiment["data"]["split_seed"])
        for name, model in models.items()
        if model.experiment
    }
    here = (source_name(data), data.split_seed)
    others = [
        f"{name} ({source}, split_seed {seed})" for name, (source, seed) in found.items() if (source, seed) != here
    ]
    if not others:
        return []
    text = "Trained on other data or another split than the test faces, some of which they may have seen in training: "
    return [Paragraph(f"{text}{listed(others)}. Their differences from the others say little.")]


def distances(evaluated: Mapping[str, Sequence[Evaluated]]) -> list[Block]:
    """How far samples are from faces, beside reconstructions and the floor; nothing where it was not measured."""
    every = [row for runs in evaluated.values() for found in runs for row in found.samples.values()]
    keys = [key for key in (every[0] if every else ()) if all(key in row for row in every)]
    rows: list[list[str]] = []
    floor: list[list[str]] = []  # the same for all models
    for name, runs in evaluated.items():
        for kind in SETS:
            if all(kind in found.samples for found in runs):
                cells = [str(over_seeds([found.samples[kind][key] for found in runs])) for key in keys]
                if kind == "floor":
                    floor = [[SETS[kind], *(f"{runs[0].samples[kind][key]:.4g}" for key in keys)]]
                else:
                    rows.append([f"{name}: {SETS[kind]}", *cells])
    return [Paragraph(AGAINST), Table(["", *map(distance_title, keys)], rows + floor)] if rows else []


def protocol_card(evaluated: Mapping[str, Sequence[Evaluated]]) -> Preformatted:
    """How the numbers were obtained: what all trainings have in common, then what differs."""
    cards = {
        name if len(runs) == 1 else f"{name}, training {i + 1}": found.card
        for name, runs in evaluated.items()
        for i, found in enumerate(runs)
    }
    card: dict[str, Any] = {}
    for key in dict.fromkeys(key for own in cards.values() for key in own):
        values = {name: own.get(key) for name, own in cards.items()}
        card[key] = next(iter(values.values())) if len({json.dumps(v) for v in values.values()}) == 1 else values
    about = {
        name: value for name, value in environment().items() if name in ("started", "commit", "device", "versions")
    }
    return Preformatted(json.dumps(card | {"report": about}, indent=2))


def test_faces(splits: Splits, count: int) -> Tensor:
    """The first faces of the test split, in [0, 1]."""
    return to_float(filled(splits, "test").images[:count])


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
