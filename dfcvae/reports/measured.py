"""Measures by their full names, in tables: with intervals, against another model, over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dfcvae.evaluation import JUDGE_LAYERS
from dfcvae.evaluation.judges import COSINE, DISTANCE, STRANGERS
from dfcvae.evaluation.measures import ATTRIBUTE_JUDGE, Measurements
from dfcvae.evaluation.paired import Difference, paired_differences
from dfcvae.evaluation.seeds import OverSeeds, over_seeds
from dfcvae.reports.blocks import Table

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Name:
    """What a measure is called in a report, and which way is better."""

    title: str
    better: Better = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.better} is better)" if self.better else self.title


MEASURES = {
    "mse": Name("mean squared error", "lower"),
    "psnr": Name("PSNR, dB", "higher"),
    "ssim": Name("SSIM", "higher"),
    "ms_ssim": Name("MS-SSIM", "higher"),
    "lpips_alex": Name("LPIPS, AlexNet", "lower"),
    "lpips_vgg": Name("LPIPS, VGG", "lower"),
    "sharpness": Name("sharpness: Laplacian variance relative to the originals (1 is as sharp)"),
    "mesh": Name("mesh: energy of a grid relative to the originals' detail (0 is none)"),
    "plaid": Name("plaid: energy of lines relative to the originals' (0 is none, originals have about 0.5)"),
    **{
        f"features/{layer}": Name(f"unexplained variance at {layer} of the {ATTRIBUTE_JUDGE}", "lower")
        for layer in JUDGE_LAYERS
    },
    "attribute_agreement": Name(
        f"attributes the {ATTRIBUTE_JUDGE} sees alike in original and reconstruction", "higher"
    ),
    "kl": Name("KL divergence, nats"),
    "negative_elbo": Name("negative ELBO, nats, with a Gaussian decoder of the variance below", "lower"),
    "negative_iwae": Name("negative importance-weighted bound, nats", "lower"),
    "decoder_variance": Name("that variance: the model's own mean squared error over draws from the posteriors"),
    "active_units": Name("active units of the latent space"),
}


OF_SAMPLES = {
    "samples/frechet_judge": Name(f"Frechet distance ({ATTRIBUTE_JUDGE}) of samples", "lower"),
    "samples/fid": Name("FID of samples", "lower"),
}
# of judges of another kind, `dfcvae.evaluation.NetworkJudge`
JUDGED = {
    COSINE: Name("cosine of the embeddings of original and reconstruction", "higher"),
    f"{COSINE}{STRANGERS}": Name("the same of two different people"),
    DISTANCE: Name("distance of the activations of original and reconstruction", "lower"),
    f"{DISTANCE}{STRANGERS}": Name("the same of two different people"),
}


def known(measure: str) -> Name | None:
    """What is known of a measure; None if nothing is."""
    judge, _, what = measure.rpartition("/")
    if judge and what in JUDGED:
        return Name(f"{judge}: {JUDGED[what].title}", JUDGED[what].better)
    return (MEASURES | OF_SAMPLES).get(measure)


def title(measure: str) -> str:
    """The full name of a measure."""
    return str(known(measure) or measure)


def of_strangers(measure: str) -> bool:
    """Whether a measure is of two different people, on which a model has no influence."""
    return measure.endswith(STRANGERS)


def of_judge(measure: str) -> bool:
    """Whether a measure is a model's before a judge of another kind."""
    return measure.rpartition("/")[2] in (COSINE, DISTANCE)


def in_order(measures: Sequence[str]) -> list[str]:
    """Names of measures as a report lists them; those it does not know last."""
    order = {name: place for place, name in enumerate(MEASURES)}
    judged = order["attribute_agreement"] + 0.5
    return sorted(
        measures, key=lambda name: order.get(name, judged if name.rpartition("/")[2] in JUDGED else len(order))
    )


def measures_table(models: Mapping[str, Measurements], seed: int = 0) -> Table:
    """Every measure of every model, with its 95 % interval where it has one."""
    values = {name: measured.values() for name, measured in models.items()}
    intervals = {name: measured.intervals(seed) for name, measured in models.items()}
    rows = []
    for measure in in_order(list(dict.fromkeys(key for row in values.values() for key in row))):
        cells = [_with_interval(values[name].get(measure), intervals[name].get(measure)) for name in models]
        rows.append([title(measure), *cells])
    return Table(["test split", *models], rows)


def differences_table(models: Mapping[str, Measurements], seed: int = 0) -> Table:
    """Each model minus the first one: difference, 95 % interval, p of the paired t-test."""
    (first, reference), *others = models.items()
    found = {name: paired_differences(measured, reference, seed) for name, measured in others}
    keys = dict.fromkeys(key for row in found.values() for key in row if not of_strangers(key))
    measures = in_order(list(keys))
    rows = [
        [title(measure), *(_difference(measure, found[name].get(measure)) for name in found)] for measure in measures
    ]
    return Table([f"difference from {first}", *(name for name, _ in others)], rows)


def verdict(measure: str, low: float, high: float) -> str:
    """``"better"`` or ``"worse"`` if an interval of differences excludes 0 and the measure has a good direction."""
    name = known(measure)
    better = name.better if name else ""
    if not better or not (low > 0 or high < 0):
        return ""
    return "better" if (high < 0) == (better == "lower") else "worse"


def seeds_table(models: Mapping[str, Sequence[Mapping[str, float]]], header: str) -> Table:
    """Means over seeds with their 95 % intervals: models by name, each with the measures of its trainings."""
    measures = in_order(list(dict.fromkeys(key for runs in models.values() for key in runs[0])))
    rows = [
        [title(measure), *(str(over_seeds([run[measure] for run in runs])) for runs in models.values())]
        for measure in measures
    ]
    return Table([header, *models], rows)


def seed_differences(
    runs: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]]
) -> dict[str, OverSeeds]:
    """Differences from another recipe trained with the same seeds, by measure."""
    return {
        name: over_seeds([run[name] - other[name] for run, other in zip(runs, reference, strict=True)])
        for name in runs[0]
    }


def seed_differences_table(models: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """Each recipe minus the first one, paired by seed, with 95 % intervals and what they say."""
    (first, reference), *others = models.items()
    found = {name: seed_differences(runs, reference) for name, runs in others}
    rows = []
    for measure in in_order([name for name in reference[0] if not of_strangers(name)]):
        cells = []
        for differences in found.values():
            difference = differences[measure]
            said = verdict(measure, difference.low, difference.high)
            cells.append(f"{difference.mean:+.4g} ± {difference.half_width:.2g} {said}".rstrip())
        rows.append([title(measure), *cells])
    return Table([f"difference from {first}", *found], rows)


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if interval is None else f"{value:.4g} [{interval[0]:.4g}, {interval[1]:.4g}]"


def _difference(measure: str, found: Difference | None) -> str:
    if found is None:
        return "-"
    p = "p < 1e-6" if found.p < 1e-6 else f"p = {found.p:.1g}"
    said = verdict(measure, found.low, found.high)
    return f"{found.value:+.4g} [{found.low:+.4g}, {found.high:+.4g}] {p} {said}".rstrip()
