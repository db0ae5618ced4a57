"""Measures by short names, in tables: with intervals, against another model, over seeds, as a headline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan

from dfcvae.evaluation import JUDGE_LAYERS, Measurements
from dfcvae.evaluation.differences import Estimate, over_seeds, paired_differences
from dfcvae.evaluation.judges import COSINE, DISTANCE, STRANGERS
from dfcvae.evaluation.measures import ATTRIBUTE_JUDGE
from dfcvae.report.blocks import Block, Folded, Table

AT_FIRST = 8  # rows of a table that a reader sees at first
WIDTH = 100  # columns of a console
ARROWS = {"lower": "↓", "higher": "↑", None: ""}
READING = "↓ lower is better, ↑ higher is better, → 1 best at 1; the best value of a row is bold."


@dataclass(frozen=True)
class Name:
    """A measure in words.

    Args:
        short: its header in a table.
        better: ``"lower"``, ``"higher"``, the best value, or None where no value is better than another.
        meaning: a few words.
    """

    short: str
    better: str | float | None
    meaning: str

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
KINDS = {  # of distances between sets, `dfcvae.evaluation.measure_samples`
    "frechet": Name("Frechet", "lower", "distance"),
    "kernel": Name("kernel", "lower", "distance"),
    "precision": Name("precision", "higher", "near a real face"),
    "recall": Name("recall", "higher", "real faces covered"),
}
SPACES = {"judge": ATTRIBUTE_JUDGE, "inception": "Inception"}  # in whose features; a judge of another kind has a name
NAMED = {"frechet_inception": "fid", "kernel_inception": "kid"}  # which are defined in Inception's features alone
HEADLINE = ("mse", "ssim", "lpips_alex", COSINE, DISTANCE, "attribute_agreement", "features/relu3_1", "sharpness", "kl")
Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""The measures of every training, in the order of seeds, by model."""
Estimates = Mapping[str, Mapping[str, Estimate]]
"""By model and measure."""


def distance_keys(space: str) -> list[str]:
    """Names in files of the measures of samples in a space, in the order of `KINDS`."""
    return [NAMED.get(f"{kind}_{space}", f"{kind}_{space}") for kind in KINDS]


def spaces_of(rows: Iterable[str]) -> list[str]:
    """The spaces that a set of images was measured in."""
    return list(dict.fromkeys("inception" if key in NAMED.values() else key.partition("_")[2] for key in rows))


def distance_names(space: str) -> list[str]:
    """Headers of the measures of samples in a space."""
    named = [(NAMED.get(f"{kind}_{space}"), name) for kind, name in KINDS.items()]
    return [f"{own.upper()} {name.arrow}" if own else str(name) for own, name in named]


def known(measure: str) -> Name | None:
    """What is known of a measure; None if nothing is."""
    of, _, what = measure.rpartition("/")
    if of and what in JUDGED:
        return Name(f"{of}: {JUDGED[what].short}", JUDGED[what].better, JUDGED[what].meaning)
    if of in SETS:
        (space,) = spaces_of([what])
        at = distance_keys(space).index(what)
        name, where = distance_names(space)[at], "" if what in NAMED.values() else f" ({SPACES.get(space, space)})"
        return Name(f"{name.split()[0]}{where}", list(KINDS.values())[at].better, SETS[of])
    return MEASURES.get(measure)


def title(measure: str) -> str:
    """The short name of a measure, with an arrow where a direction is better."""
    return str(known(measure) or measure)


def of_judge(measure: str) -> bool:
    """Whether a measure is a model's as seen by a judge of another kind."""
    return measure.rpartition("/")[2] in (COSINE, DISTANCE)


def in_order(measures: Iterable[str]) -> list[str]:
    """Names of measures without repeats: first those that say most about a model, unknown ones last."""
    order = list(dict.fromkeys((*HEADLINE, *MEASURES, *JUDGED)))
    keys = {name: what if (what := name.rpartition("/")[2]) in JUDGED else name for name in measures}
    return sorted(keys, key=lambda name: order.index(keys[name]) if keys[name] in order else len(order))


def meanings(measures: Iterable[str]) -> Table:
    """The legend of measures."""
    rows = [[str(name), name.meaning] for measure in in_order(measures) if (name := known(measure))]
    return Table(["measure", "meaning"], rows)


def measure_lines(values: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> list[str]:
    """Measures for a console, one to a line of at most 100 columns: value, interval, better direction, a few words."""
    rows = []
    for name, value in values.items():
        low, high = intervals.get(name, (None, None))
        interval = "" if low is None else f"[{low:.4g}, {high:.4g}]"
        about = known(name)
        rows.append((name, f"{value:.4g}", interval, f"{about.arrow:<4}{about.meaning}" if about else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for name, shown, interval, words in rows:
        line = f"{name:<{widths[0]}}  {shown:>{max(10, widths[1])}}  {interval:<{widths[2]}}  {words}"
        lines.append((line if len(line) <= WIDTH else line[: -len(words)]).rstrip())
    return lines


def verdict(measure: str, low: float, high: float) -> str:
    """``"better"`` or ``"worse"`` if an interval of differences excludes 0 and the measure has a good direction."""
    name = known(measure)
    better = name.better if name else None
    if better not in ("lower", "higher") or not (low > 0 or high < 0):
        return ""
    return "better" if (high < 0) == (better == "lower") else "worse"


def estimates_table(
    models: Estimates,
    measures: Sequence[str] = (),
    *,
    digits: int = 4,
    best: Mapping[str, float] | None = None,
) -> Table:
    """Measures of models, each value above its interval; the best ones bold unless all are equal as shown.

    Args:
        models: their measures.
        measures: to show, a row each (default: all).
        digits: significant ones.
        best: the best value of measures that have no better direction of their own.
    """
    rows, bold = [], set()
    for i, measure in enumerate(measures or in_order(measure for of in models.values() for measure in of)):
        found = [of.get(measure) for of in models.values()]
        shown = [f"{one.mean:.{digits}g}" if one else "nan" for one in found]
        cells = (_lines(value, one.interval) if one else "-" for value, one in zip(shown, found, strict=True))
        rows.append([title(measure), *cells])
        bold |= {(i, j + 1) for j in _best(measure, shown, (best or {}).get(measure))}
    return Table(["test split", *models], rows, bold)


def _lines(value: str, *below: str) -> str:
    """The lines of a cell."""
    return "\n".join([value, *filter(None, below)])


def _best(measure: str, shown: Sequence[str], best: float | None) -> set[int]:
    """The places of the best values as shown; none if all are equal or no value is better."""
    name = known(measure)
    better = best if best is not None or name is None else name.better
    if better is None:
        return set()
    if isinstance(better, str):
        off = [float(value) * (1 if better == "lower" else -1) for value in shown]
    else:
        off = [abs(float(value) - better) for value in shown]
    finite = [value for value in off if isfinite(value)]
    return {j for j, value in enumerate(off) if value == min(finite)} if len(set(finite)) > 1 else set()


def differences_table(first: str, models: Estimates, measures: Sequence[str] = (), *, verdicts: bool = True) -> Table:
    """Each model minus the first one, each difference above its interval, with a verdict where one is allowed."""
    rows = []
    for measure in measures or in_order(measure for of in models.values() for measure in of):
        if measure.endswith(STRANGERS):
            continue
        found = [of.get(measure) for of in models.values()]
        rows.append([title(measure), *(difference_cell(measure, one, verdicts) if one else "-" for one in found)])
    return Table([f"minus {first}", *models], rows)


def difference_cell(measure: str, found: Estimate, verdicts: bool = True) -> str:
    """A difference; with an interval also this, its p-value and the verdict."""
    digits = 3 if found.seeds else 4
    said = verdict(measure, found.low, found.high) if verdicts else ""
    p = "" if isnan(found.p) else "p < 1e-6" if found.p < 1e-6 else f"p = {found.p:.1g}"
    return _lines(f"{found.mean:+.{digits}g}", " ".join(filter(None, [found.interval, p, said])))


def estimates(runs: Mapping[str, Sequence[Measurements]], seed: int = 0) -> Estimates:
    """Every measure of every model with its 95 % interval: over its trainings, or over images if there is one only."""
    found = {}
    for name, (first, *others) in runs.items():
        if others:
            found[name] = _over_seeds([measured.values() for measured in (first, *others)])
        else:
            intervals = first.intervals(seed)
            found[name] = {key: Estimate(value, *intervals.get(key, ())) for key, value in first.values().items()}
    return found


def differences(runs: Mapping[str, Sequence[Measurements]], seed: int = 0) -> Estimates:
    """Differences of every model from the first one: paired by seed, or by image if there is one training of each."""
    first, *others = runs
    if len(runs[first]) > 1:
        values = {name: [measured.values() for measured in of] for name, of in runs.items()}
        return {name: seed_differences(values, name) for name in others}
    return {name: paired_differences(runs[name][0], runs[first][0], seed) for name in others}


def measures_table(models: Mapping[str, Measurements], seed: int = 0) -> Table:
    """Every measure of every model, with its 95 % interval over images where it has one."""
    return estimates_table(estimates({name: [measured] for name, measured in models.items()}, seed))


def _over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    return {measure: over_seeds([run[measure] for run in runs]) for measure in runs[0]}


def seeds_table(runs: Runs, measures: Sequence[str]) -> Table:
    """Means over seeds with their 95 % intervals."""
    return estimates_table({name: _over_seeds(of) for name, of in runs.items()}, measures)


def seed_differences(runs: Runs, model: str) -> dict[str, Estimate]:
    """Differences of a model from the first one, paired by seed, by measure; not of those between strangers."""
    pairs = list(zip(runs[model], next(iter(runs.values())), strict=True))
    return {m: over_seeds([a[m] - b[m] for a, b in pairs]) for m in pairs[0][0] if not m.endswith(STRANGERS)}


def seed_differences_table(runs: Runs, measures: Sequence[str]) -> Table:
    """Each model minus the first one, paired by seed, with 95 % intervals and a verdict where seeds allow one."""
    first, *others = runs
    return differences_table(first, {name: seed_differences(runs, name) for name in others}, measures)


def transposed(table: Table) -> Table:
    """A table with rows for columns."""
    header, *rows = zip(table.header, *table.cells(), strict=True)
    # the header row takes the place of the first column, and the other way round
    return Table(header, rows, {(j - 1, i + 1) for i, j in table.bold})


def limited(table: Table, more: str) -> list[Block]:
    """A table whose rows after the first eight are folded under ``more``."""
    if len(table.rows) <= AT_FIRST:
        return [table]
    first, rest = {(i, j) for i, j in table.bold if i < AT_FIRST}, {(i - AT_FIRST, j) for i, j in table.bold}
    hidden = Table(table.header, table.rows[AT_FIRST:], {(i, j) for i, j in rest if i >= 0})
    return [Table(table.header, table.rows[:AT_FIRST], first), Folded(more, [hidden])]


def headline(models: Mapping[str, Mapping[str, float]], measures: Sequence[str], best: Mapping[str, float]) -> Table:
    """Chosen measures, three significant digits each, the best values bold unless all are equal as shown.

    Args:
        models: their measures by name.
        measures: to show.
        best: the best value of those that have no better direction.
    """
    found = {name: {measure: Estimate(values[measure]) for measure in measures} for name, values in models.items()}
    return estimates_table(found, measures, digits=3, best=best)
