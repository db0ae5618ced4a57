"""Measures by their full names, in tables: with intervals, against another model, over seeds, as a headline."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Literal

from dfcvae.evaluation import JUDGE_LAYERS, Measurements
from dfcvae.evaluation.differences import OverSeeds, over_seeds, paired_differences
from dfcvae.evaluation.judges import COSINE, DISTANCE, STRANGERS
from dfcvae.evaluation.measures import ATTRIBUTE_JUDGE
from dfcvae.report.blocks import Table


@dataclass(frozen=True)
class Name:
    """What a measure is called in a report, and which direction is better."""

    title: str
    better: Literal["lower", "higher", ""] = ""

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
    "samples_gmm/frechet_judge": Name(f"Frechet distance ({ATTRIBUTE_JUDGE}) of samples of the mixture", "lower"),
    "samples/fid": Name("FID of samples", "lower"),
}
JUDGED = {  # by judges of another kind, `dfcvae.evaluation.NetworkJudge`
    COSINE: Name("cosine of the embeddings of original and reconstruction", "higher"),
    f"{COSINE}{STRANGERS}": Name("the same of two different people"),
    DISTANCE: Name("distance of the activations of original and reconstruction", "lower"),
    f"{DISTANCE}{STRANGERS}": Name("the same of two different people"),
}
Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""The measures of every training, in the order of seeds, by model."""


def known(measure: str) -> Name | None:
    """What is known of a measure; None if nothing is."""
    judge, _, what = measure.rpartition("/")
    if judge and what in JUDGED:
        return Name(f"{judge}: {JUDGED[what].title}", JUDGED[what].better)
    return (MEASURES | OF_SAMPLES).get(measure)


def title(measure: str) -> str:
    """The full name of a measure."""
    return str(known(measure) or measure)


def of_judge(measure: str) -> bool:
    """Whether a measure is a model's as seen by a judge of another kind."""
    return measure.rpartition("/")[2] in (COSINE, DISTANCE)


def in_order(measures: Iterable[str]) -> list[str]:
    """Names of measures in the order of reports, without repeats; unknown ones last."""
    order = {name: place for place, name in enumerate(MEASURES)}
    judged = order["attribute_agreement"] + 0.5
    return sorted(
        dict.fromkeys(measures),
        key=lambda name: order.get(name, judged if name.rpartition("/")[2] in JUDGED else len(order)),
    )


def verdict(measure: str, low: float, high: float) -> str:
    """``"better"`` or ``"worse"`` if an interval of differences excludes 0 and the measure has a good direction."""
    name = known(measure)
    better = name.better if name else ""
    if not better or not (low > 0 or high < 0):
        return ""
    return "better" if (high < 0) == (better == "lower") else "worse"


def measures_table(models: Mapping[str, Measurements], seed: int = 0) -> Table:
    """Every measure of every model, with its 95 % interval over images where it has one."""
    values = {name: measured.values() for name, measured in models.items()}
    intervals = {name: measured.intervals(seed) for name, measured in models.items()}

    def cell(model: str, measure: str) -> str:
        if measure not in values[model]:
            return "-"
        low, high = intervals[model].get(measure, (None, None))
        return f"{values[model][measure]:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")

    return _table("test split", list(models), in_order(key for row in values.values() for key in row), cell)


def differences_table(models: Mapping[str, Measurements], seed: int = 0) -> Table:
    """Each model minus the first one: difference, 95 % interval over images, p of the paired t-test."""
    (first, reference), *others = models.items()
    found = {name: paired_differences(measured, reference, seed) for name, measured in others}

    def cell(model: str, measure: str) -> str:
        if measure not in found[model]:
            return "-"
        one = found[model][measure]
        p = "p < 1e-6" if one.p < 1e-6 else f"p = {one.p:.1g}"
        said = verdict(measure, one.low, one.high)
        return f"{one.value:+.4g} [{one.low:+.4g}, {one.high:+.4g}] {p} {said}".rstrip()

    measures = in_order(key for row in found.values() for key in row if not key.endswith(STRANGERS))
    return _table(f"difference from {first}", list(found), measures, cell)


def seeds_table(runs: Runs, measures: Sequence[str]) -> Table:
    """Means over seeds with their 95 % intervals."""
    return _table("test split", list(runs), measures, lambda model, m: str(over_seeds([run[m] for run in runs[model]])))


def seed_differences(runs: Runs, model: str) -> dict[str, OverSeeds]:
    """Differences of a model from the first one, paired by seed, by measure; not of those between strangers."""
    pairs = list(zip(runs[model], next(iter(runs.values())), strict=True))
    return {m: over_seeds([a[m] - b[m] for a, b in pairs]) for m in pairs[0][0] if not m.endswith(STRANGERS)}


def seed_differences_table(runs: Runs, measures: Sequence[str]) -> Table:
    """Each model minus the first one, paired by seed, with 95 % intervals and a verdict where seeds allow one."""
    first, *others = runs
    found = {name: seed_differences(runs, name) for name in others}
    measures = [measure for measure in measures if not measure.endswith(STRANGERS)]
    return _table(f"difference from {first}", others, measures, lambda model, m: difference_cell(m, found[model][m]))


def difference_cell(measure: str, found: OverSeeds) -> str:
    """A difference; with several seeds also its interval and verdict."""
    if isnan(found.half_width):
        return f"{found.mean:+.3g}"
    return f"{found.mean:+.3g} ± {found.half_width:.2g} {verdict(measure, found.low, found.high)}".rstrip()


def _table(corner: str, models: Sequence[str], measures: Sequence[str], cell: Callable[[str, str], str]) -> Table:
    return Table([corner, *models], [[title(m), *(cell(model, m) for model in models)] for m in measures])


def transposed(table: Table) -> Table:
    """A table with rows for columns."""
    header, *rows = zip(table.header, *table.cells(), strict=True)
    return Table(header, rows)


def headline(models: Mapping[str, Mapping[str, float]], measures: Sequence[str], best: Mapping[str, float]) -> Table:
    """Chosen measures, three significant digits each, the best values bold unless all are equal as shown.

    Args:
        models: their measures by name.
        measures: to show.
        best: the best value of those that have no better direction.
    """
    rows, bold = [], set()
    for i, measure in enumerate(measures):
        shown = [f"{values[measure]:.3g}" for values in models.values()]
        rows.append([title(measure), *shown])
        name = known(measure)
        sign = {"lower": 1, "higher": -1}.get(name.better if name else "")
        off = [float(value) * sign if sign else abs(float(value) - best[measure]) for value in shown]
        finite = [value for value in off if isfinite(value)]
        if len(set(finite)) > 1:
            bold |= {(i, j + 1) for j, value in enumerate(off) if value == min(finite)}
    return Table(["test split", *models], rows, bold)
