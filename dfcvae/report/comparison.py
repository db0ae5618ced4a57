"""Trained models side by side: the same faces, the same latents, measures with their differences, what each cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dfcvae.config import DataConfig
from dfcvae.data import Splits, data_of, filled, load_faces, source_name
from dfcvae.device import pick_device
from dfcvae.evaluation import Measurements
from dfcvae.images import to_float
from dfcvae.report import tables
from dfcvae.report.blocks import Block, Folded, items, write_report
from dfcvae.report.models import Model, cost_table, learning_curves, listed, load_models, notes, settings_table
from dfcvae.report.observers import (
    FIT_JUDGE,
    Evaluated,
    JudgeFiles,
    Observers,
    as_text,
    evaluate_model,
    judge_warnings,
    this_machine,
)
from dfcvae.report.pictures import interpolations, reconstructions, samples
from dfcvae.trained import frontal_first
from dfcvae.vae import VAE

FACES, STEPS = 8, 6  # of a row: at the width of a report nearly pixel by pixel
FEW = 4  # models, of which two interpolations are shown, and which are the columns of tables
FEWEST_STEPS = 1_000  # of a training, below which the order of models may still change
OVER_FACES = (
    "Below each value its 95 % bootstrap interval over the test faces, for other faces and these very models; another "
    "training of the same model differs by more."
)
PAIRED_FACES = (
    "The same faces for both models: difference, its 95 % interval by the paired bootstrap, p-value of the paired "
    "t-test. The p-values are not adjusted for the number of measures."
)
OVER_SEEDS = "Mean over seeds and half the width of its 95 % interval (Student's t)."
PAIRED_SEEDS = "Paired by seed, with 95 % intervals (Student's t), not adjusted for the number of comparisons."
PLAYER = (
    "Play with a model in any browser, offline: `dfcvae export RUN --html faces.html`, or `celeba-64` in place of RUN."
)
ONE_TRAINING = "One training of each: how much another seed would change this is unknown."
AGAINST = (
    "Against the test faces. A judge's distances are not the FID and KID, which are defined in Inception's features."
)


@dataclass(frozen=True)
class Results:
    """Trained models and what was measured of them."""

    data: DataConfig
    splits: Splits
    models: Mapping[str, Model]  # the first is what the others are compared with; of several seeds, the first one's
    evaluated: Mapping[str, Sequence[Evaluated]]  # by the same names, one for each seed
    observers: Observers
    seeds: Sequence[int] = (0,)  # of the trainings, where a study chose them
    seed: int = 0  # of samples and resampled images

    def vaes(self) -> dict[str, VAE]:
        """The models' networks by name."""
        return {name: model.vae for name, model in self.models.items()}

    def runs(self) -> dict[str, list[Measurements]]:
        """What was measured of every training by name of the model."""
        return {name: [found.measured for found in of] for name, of in self.evaluated.items()}


def compare(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    source: str | None = None,
    judge: JudgeFiles = (),
    fid: str | None = None,
    lpips: bool = False,
    seed: int = 0,
    title: str | None = None,
    about: str = "",
    more: Sequence[Block] = (),
    progress: bool = True,
) -> Path:
    """Compare models with the first one on the test split of its data; write a report and ``metrics.json``.

    The HTML file is returned; for ``judge``, ``fid`` and ``lpips`` see `Observers.load`. The report has a title
    (default: the models' names), says how the models were made, and has ``more`` after the pictures. A UserError if
    models cannot be loaded, or take images of different shapes.
    """
    models, out = load_models(paths), Path(out)
    data = data_of(paths[0], source)
    splits = load_faces(data, progress=progress)
    filled(splits, "test")
    observers = Observers.load(judge, fid, lpips)
    evaluated = {}
    for name, model in tqdm(models.items(), "models", disable=not progress or None):
        cache = out / "measured" / f"{name.replace('/', '-')}.safetensors"
        evaluated[name] = [evaluate_model(model, data, splits, observers, seed=seed, cache=cache, progress=progress)]
    results = Results(data, splits, models, evaluated, observers, seed=seed)
    measured_on = f"{len(splits['test']):,} test faces of {source_name(data)}, {data.size} pixels."
    text = f"{about} Measured on {measured_on}".lstrip()
    blocks = comparison(results, [text], measures(results), more)
    numbers = {name: found.as_json(seed) for name, (found,) in evaluated.items()}
    return write_report(title or f"{listed(list(models))}: a comparison", blocks, out, numbers)


def comparison(
    results: Results, about: Sequence[Block], found: Sequence[Block], more: Sequence[Block] = ()
) -> list[Block]:
    """The blocks that all reports on several models have: what was done, `measures`, ``more`` after the pictures."""
    vaes, seed = results.vaes(), results.seed
    test = filled(results.splits, "test")
    x = to_float(test.images[frontal_first(test)[:FACES]]).to(pick_device())
    pairs = x[: 4 if len(x) >= 4 and len(vaes) <= FEW else 2]
    curves = learning_curves(results.models)
    drawn: list[Block] = ["## Learning curves", curves] if curves else []
    measured = next(iter(results.evaluated.values()))[0].measured.values()
    recorded = any(model.steps() for model in results.models.values())
    costs: list[Block] = ["## Cost", cost_table(results.models)] if recorded else []
    cards = {name: found.card for name, (found, *_) in results.evaluated.items()}
    mixtures = {name: model.mixture for name, model in results.models.items() if model.mixture}
    cautions = [*notes(results.models, results.data, test.fingerprint), *too_few_steps(results)]
    return [
        *about,
        *([items(cautions)] if cautions else []),
        "## Reconstructions",
        reconstructions(vaes, x),
        *found,
        tables.READING,
        Folded("What the measures mean", [tables.meanings(measured)]),
        "## Samples",
        samples(vaes, FACES, lines=2 if len(vaes) <= FEW else 1, seed=seed, mixtures=mixtures),
        *distances(results),
        "## Interpolation",
        interpolations(vaes, pairs, STEPS),
        *more,
        *drawn,
        *costs,
        "## Settings that differ",
        *tables.limited(settings_table(results.models), "More settings"),
        "All settings of a model are in the `config.yaml` of its run folder, or the `model.json` of an exported one.",
        "## Protocol",
        Folded("How the numbers were obtained", [f"```\n{as_text(cards | {'report': this_machine()})}```"]),
        "## What next",
        items(next_steps(results)),
    ]


def measures(results: Results) -> list[Block]:
    """Measures, a conclusion where one is allowed, and differences from the first model.

    Over seeds, or with one training of each over faces.
    """
    first, several, across = next(iter(results.models)), len(results.seeds) > 1, len(results.models) > FEW
    values = tables.estimates_table(tables.estimates(results.runs(), results.seed))
    differences = tables.differences(results.runs(), results.seed)
    minus = tables.differences_table(first, differences, verdicts=not too_few_steps(results))
    experiments = {name: model.experiment for name, model in results.models.items()}
    return [
        "## Measures",
        *judge_warnings(results.observers, experiments, results.splits["test"]),
        *tables.limited(values, "More measures", across),
        OVER_SEEDS if several else OVER_FACES,
        *conclusions(results, differences),
        f"## Differences from {first}",
        PAIRED_SEEDS if several else PAIRED_FACES,
        *tables.limited(minus, "More differences", across),
    ]


def too_few_steps(results: Results) -> list[str]:
    """A sentence on models trained for fewer steps than a conclusion needs, if any; unknown lengths are not counted."""
    steps = {name: model.steps() for name, model in results.models.items()}
    few = [f"{name} {count:,}" for name, count in steps.items() if count and count < FEWEST_STEPS]
    if not few:
        return []
    return [f"Too few steps to say which model is better: {listed(few)}, of at least {FEWEST_STEPS:,}. Train longer."]


def conclusions(results: Results, differences: tables.Estimates) -> list[Block]:
    """What the differences from the first model say; nothing after too few steps."""
    if too_few_steps(results):
        return []
    said = []
    for name, found in differences.items():
        verdicts = {measure: tables.verdict(measure, of.low, of.high) for measure, of in found.items()}
        named = {word: [tables.title(m) for m in verdicts if verdicts[m] == word] for word in ("better", "worse")}
        parts = [f"{word} in {listed(names)}" for word, names in named.items() if names]
        said.append(f"{name}, against {next(iter(results.models))}: {'; '.join(parts) or 'no clear difference'}.")
    return [items(said if len(results.seeds) > 1 else [*said, ONE_TRAINING])]


def next_steps(results: Results) -> list[str]:
    """What would make the comparison more certain, with the commands."""
    steps = []
    if too_few_steps(results):
        steps.append("Train longer: `dfcvae train RUN/config.yaml --training.epochs 20 --out RUN --resume`.")
    if not any(found.card.get("judge") or found.card.get("judges") for (found, *_) in results.evaluated.values()):
        steps.append(f"Let a network judge that none of the models was trained with: {FIT_JUDGE}.")
    if len(results.seeds) == 1:
        steps.append("Repeat with other seeds: `dfcvae ablate STUDY.yaml --seeds 3` (docs/ablation.md).")
    return [*steps, "Look at one model: `dfcvae traverse RUN`, `dfcvae probe RUN`, `dfcvae explore`.", PLAYER]


def distances(results: Results) -> list[Block]:
    """How far samples are from faces, beside reconstructions and the floor; nothing where it was not measured."""
    found = tables.distances(results.runs())
    if not found:
        return []
    others = [Folded(table.header[0], [table]) for table in found[1:]]
    return [AGAINST, *tables.limited(found[0], "More sets"), *others]
