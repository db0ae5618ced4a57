"""Measures by short names, in tables: with intervals, against another model, over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite, isnan

from dfcvae.evaluation import JUDGE_LAYERS, Measurements
from dfcvae.evaluation.judges import COSINE, DISTANCE, STRANGERS
from dfcvae.evaluation.measures import ATTRIBUTE_JUDGE, Estimate, over_seeds, paired_differences
from dfcvae.report.blocks import Block, Folded
from dfcvae.table import Table

AT_FIRST = 8  # rows of a table that a reader sees at first
ARROWS = {"lower": "↓", "higher": "↑", None: ""}
DIRECTIONS = "↓ lower is better, ↑ higher is better, → best at the value behind it"
READING = f"{DIRECTIONS}; the best value of a row is bold."


@dataclass(frozen=True)
class Name:
    """The names of a measure."""

    short: str  # its header in a table
    better: str | float | None  # lower, higher, the best value, or None where no value is better than another
    meaning: str  # a few words

    @property
    def arrow(self) -> str:
        """The direction that is better."""
        return f"→ {self.better:g}" if isinstance(self.better, float) else ARROWS[self.better]

    def __str__(self) -> str:
        return f"{self.short} {self.arrow}".rstrip()


MEASURES = {
    "mse": Name("MSE", "lower", "mean squared error"),
    "psnr": Name("PSNR", "higher", "peak signal-to-noise ratio, dB"),
    "ssim": Name("SSIM", "higher", "structural similarity"),
    "ms_ssim": Name("MS-SSIM", "higher", "structural similarity, five scales"),
    "lpips_alex": Name("LPIPS, AlexNet", "lower", "perceptual distance"),
    "lpips_vgg": Name("LPIPS, VGG", "lower", "perceptual distance"),
    "sharpness": Name("sharpness", 1.0, "detail relative to the originals"),
    "mesh": Name("mesh", 0.0, "energy of a grid (0: none)"),
    "plaid": Name("plaid", None, "energy of lines (originals: 0.5)"),
    **{
        f"features/{layer}": Name(f"judge: {layer}", "lower", f"unexplained variance, {ATTRIBUTE_JUDGE}")
        for layer in JUDGE_LAYERS
    },
    "attribute_agreement": Name("judge: agreement", "higher", "attributes the judge sees alike"),
    "kl": Name("KL, nats", None, "information in the latents"),
    "negative_elbo": Name("-ELBO, nats", "lower", "bound on -ln p(x)"),
    "negative_iwae": Name("-IWAE, nats", "lower", "importance-weighted bound"),
    "decoder_variance": Name("variance", None, "of the decoder in these bounds"),
    "active_units": Name("active units", None, "latent dimensions in use"),
}
JUDGED = {  # by judges of another kind, `dfcvae.evaluation.NetworkJudge`
    COSINE: Name("cosine", "higher", "likeness to the original"),
    f"{COSINE}{STRANGERS}": Name("cosine, strangers", None, "of two different people"),
    DISTANCE: Name("distance", "lower", "from the original"),
    f"{DISTANCE}{STRANGERS}": Name("distance, strangers", None, "of two different people"),
}
SETS = {  # of images that are compared with the faces of the test split
    "samples": "samples, N(0, I)",
    "samples_gmm": "samples, fitted mixture",
    "reconstructions": "reconstructions",
    "floor": "floor: validation faces",
}
OTHER_SETS = ("samples_gmm/", "reconstructions/", "floor/")  # beginnings of names that no table of measures holds
KINDS = {  # of distances between sets, `dfcvae.evaluation.measure_samples`
    "frechet": Name("Frechet", "lower", "distance"),
    "kernel": Name("kernel", "lower", "distance"),
    "precision": Name("precision", "higher", "near a real face"),
    "recall": Name("recall", "higher", "real faces covered"),
}
SPACES = {"judge": ATTRIBUTE_JUDGE, "inception": "Inception"}  # in whose features; a judge of another kind has a name
NAMED = {"frechet_inception": "fid", "kernel_inception": "kid"}  # which are defined in Inception's features alone
UNNAMED = {name: key for key, name in NAMED.items()}
HEADLINE = ("mse", "ssim", "lpips_alex", COSINE, DISTANCE, "attribute_agreement", "features/relu3_1", "sharpness", "kl")
Runs = Mapping[str, Sequence[Measurements]]
"""What was measured of every training, in the order of seeds, by model."""
Estimates = Mapping[str, Mapping[str, Estimate]]
"""By model and measure."""


def distance_keys(space: str) -> list[str]:
    """Names in files of the measures of samples in a space, in the order of `KINDS`."""
    return [NAMED.get(f"{kind}_{space}", f"{kind}_{space}") for kind in KINDS]


def known(measure: str) -> Name | None:
    """What is known of a measure; None if nothing is."""
    of, _, what = measure.rpartition("/")
    if of and what in JUDGED:
        return replace(JUDGED[what], short=f"{of}: {JUDGED[what].short}")
    if of in SETS:
        kind, _, space = UNNAMED.get(what, what).partition("_")
        short = what.upper() if what in UNNAMED else f"{KINDS[kind].short} ({SPACES.get(space, space)})"
        return Name(short, KINDS[kind].better, SETS[of])
    return MEASURES.get(measure)


def title(measure: str) -> str:
    """The short name of a measure, with an arrow where a direction is better."""
    return str(known(measure) or measure)


def in_order(measures: Iterable[str]) -> list[str]:
    """Names of measures without repeats: first those that say most about a model, unknown ones last."""
    order = list(dict.fromkeys((*HEADLINE, *MEASURES, *JUDGED)))
    keys = {name: what if (what := name.rpartition("/")[2]) in JUDGED else name for name in measures}
    return sorted(keys, key=lambda name: order.index(keys[name]) if keys[name] in order else len(order))


def meanings(measures: Iterable[str]) -> Table:
    """The legend of measures."""
    rows = [[str(name), name.meaning] for measure in in_order(measures) if (name := known(measure))]
    return Table(["measure", "meaning"], rows)


def listing(measured: Measurements, seed: int = 0) -> Table:
    """Every measure of a model's images by its name in files, with its 95 % interval; `distances` has the samples'."""
    rows, intervals = [], measured.intervals(seed)
    for name, value in _tabled(measured).items():
        if name.startswith("samples/"):
            continue
        low, high = intervals.get(name, (None, None))
        interval = "" if low is None else f"[{low:.4g}, {high:.4g}]"
        about = known(name)
        rows.append([name, f"{value:.4g}", interval, f"{about.arrow:<4}{about.meaning}" if about else ""])
    return Table(["measure", "value", "95 % interval", ""], rows)


def distances(runs: Runs) -> list[Table]:
    """How far sets of images are from the test faces, in the features of each network that was asked."""
    values = {name: [measured.values() for measured in of] for name, of in runs.items()}
    first, found = next(iter(values.values()))[0], []
    own = [key.removeprefix("floor/") for key in first if key.startswith("floor/")]
    for space in dict.fromkeys(UNNAMED.get(key, key).partition("_")[2] for key in own):
        keys = distance_keys(space)
        rows = [[SETS["floor"], *(f"{first[f'floor/{key}']:.4g}" for key in keys)]]  # the same for all models
        for kind, (name, of) in product(SETS, values.items()):
            if kind != "floor" and all(f"{kind}/{keys[0]}" in run for run in of):
                cells = [over_seeds([run[f"{kind}/{key}"] for run in of]) for key in keys]
                label = ": ".join(filter(None, [name, SETS[kind]]))
                rows.append([label, *(_lines(f"{cell.mean:.4g}", cell.interval) for cell in cells)])
        pairs = zip(keys, KINDS.values(), strict=True)
        header = [f"{key.upper() if key in UNNAMED else name.short} {name.arrow}" for key, name in pairs]
        found.append(Table([f"features: {SPACES.get(space, space)}", *header], rows))
    return found


def verdict(measure: str, low: float, high: float) -> str:
    """``"better"`` or ``"worse"`` if an interval of differences excludes 0 and the measure has a good direction."""
    name = known(measure)
    better = name.better if name else None
    if better not in ("lower", "higher") or not (low > 0 or high < 0):
        return ""
    return "better" if (high < 0) == (better == "lower") else "worse"


def estimates_table(models: Estimates) -> Table:
    """Measures of models, each value above its interval; the best ones bold unless all are equal as shown."""
    rows, bold = [], set()
    for i, measure in enumerate(in_order(measure for of in models.values() for measure in of)):
        found = [of.get(measure) for of in models.values()]
        shown = [f"{one.mean:.4g}" if one else "nan" for one in found]
        cells = (_lines(value, one.interval) if one else "-" for value, one in zip(shown, found, strict=True))
        rows.append([title(measure), *cells])
        bold |= {(i, j + 1) for j in _best(measure, shown)}
    return Table(["test split", *models], rows, bold)


def _lines(value: str, *below: str) -> str:
    """The lines of a cell."""
    return "\n".join([value, *filter(None, below)])


def _best(measure: str, shown: Sequence[str]) -> set[int]:
    """The places of the best values as shown; none if all are equal or no value is better."""
    name = known(measure)
    if name is None or name.better is None:
        return set()
    if isinstance(name.better, str):
        off = [float(value) * (1 if name.better == "lower" else -1) for value in shown]
    else:
        off = [abs(float(value) - name.better) for value in shown]
    finite = [value for value in off if isfinite(value)]
    return {j for j, value in enumerate(off) if value == min(finite)} if len(set(finite)) > 1 else set()


def differences_table(first: str, models: Estimates, *, verdicts: bool = True) -> Table:
    """Each model minus the first one: the difference, its interval, its p-value, and a verdict where one is allowed."""

    def cell(measure: str, found: Estimate | None) -> str:
        if found is None:
            return "-"
        said = verdict(measure, found.low, found.high) if verdicts else ""
        p = "" if isnan(found.p) else "p < 1e-6" if found.p < 1e-6 else f"p = {found.p:.1g}"
        words = " ".join(filter(None, [found.interval, p, said]))
        return _lines(f"{found.mean:+.{3 if found.seeds else 4}g}", words)

    measures = in_order(measure for of in models.values() for measure in of)
    rows = [[title(measure), *(cell(measure, of.get(measure)) for of in models.values())] for measure in measures]
    return Table([f"minus {first}", *models], rows)


def estimates(runs: Runs, seed: int = 0) -> Estimates:
    """Every measure of every model with its 95 % interval: over its trainings, or over images if there is one only."""
    found = {}
    for name, (first, *others) in runs.items():
        values, intervals = [_tabled(measured) for measured in (first, *others)], first.intervals(seed)
        found[name] = {
            key: over_seeds([run[key] for run in values]) if others else Estimate(value, *intervals.get(key, ()))
            for key, value in values[0].items()
        }
    return found


def differences(runs: Runs, seed: int = 0) -> Estimates:
    """Differences of every model from the first one: paired by seed, or by image if there is one training of each."""
    (_, first), *others = runs.items()
    found = {}
    for name, of in others:
        if len(of) > 1:
            pairs = [(_tabled(one), _tabled(reference)) for one, reference in zip(of, first, strict=True)]
            own = {key: over_seeds([a[key] - b[key] for a, b in pairs]) for key in pairs[0][0] if key in pairs[0][1]}
        else:
            own = paired_differences(of[0], first[0], seed)
        found[name] = {key: value for key, value in own.items() if not key.endswith(STRANGERS)}
    return found


def _tabled(measured: Measurements) -> dict[str, float]:
    """Measures but those of sets of images other than samples."""
    return {name: value for name, value in measured.values().items() if not name.startswith(OTHER_SETS)}


def transposed(table: Table) -> Table:
    """A table with rows for columns."""
    header, *rows = zip(table.header, *table.cells(), strict=True)
    # the header row takes the place of the first column, and the other way round
    return Table(header, rows, {(j - 1, i + 1) for i, j in table.bold})


def limited(table: Table, more: str, across: bool = False) -> list[Block]:
    """A table whose rows after the first eight are folded under ``more``; ``across``: rows as columns."""
    parts: list[Block] = []
    for rows in (range(AT_FIRST), range(AT_FIRST, len(table.rows))):
        bold = {(i - rows.start, j) for i, j in table.bold if i in rows}
        part = Table(table.header, table.rows[rows.start : rows.stop], bold)
        parts.append(transposed(part) if across else part)
    return [parts[0], Folded(more, parts[1:])] if len(table.rows) > AT_FIRST else parts[:1]
