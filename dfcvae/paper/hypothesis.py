"""What the paper's claim comes to in numbers: a feature loss wins on perceptual measures and loses on pixel error."""

from collections.abc import Sequence

from dfcvae.evaluation.paired import paired_differences
from dfcvae.paper.variants import PLAIN, TITLES
from dfcvae.paper.work import Work
from dfcvae.reports.measured import MEASURES, in_order, of_judge, seed_differences, verdict

PIXEL = "mse"
PERCEPTUAL = ("features/", "attribute_agreement", "lpips")  # how their names begin
OUTCOMES = ("better", "worse", "")
Interval = tuple[float, float]


def hypothesis(work: Work) -> list[str]:
    """One sentence for each feature model, and what the intervals are."""
    many = len(work.evaluated[PLAIN]) > 1
    over = "over seeds (Student's t, paired by seed)" if many else "over test faces (paired bootstrap), one training"
    said = [f"{TITLES[name]}: {judged(intervals(work, name))}" for name in work.evaluated if name != PLAIN]
    return [
        f"Against the plain VAE, by 95 % intervals {over}, which are not adjusted for the number of measures.",
        *said,
    ]


def intervals(work: Work, name: str) -> dict[str, Interval]:
    """95 % intervals of the differences of a variant from the plain VAE, by measure."""
    runs, plain = work.evaluated[name], work.evaluated[PLAIN]
    if len(runs) > 1:
        values, reference = ([run.measured.values() for run in found] for found in (runs, plain))
        return {key: (found.low, found.high) for key, found in seed_differences(values, reference).items()}
    return {key: (d.low, d.high) for key, d in paired_differences(runs[0].measured, plain[0].measured).items()}


def judged(found: dict[str, Interval]) -> str:
    """The claim held against intervals of differences."""
    perceptual = [
        name for name in in_order(list(found)) if of_judge(name) or (name.startswith(PERCEPTUAL) and name in MEASURES)
    ]
    verdicts = {name: verdict(name, *found[name]) for name in [*perceptual, PIXEL]}
    by_outcome = {outcome: [name for name in perceptual if verdicts[name] == outcome] for outcome in OUTCOMES}
    wins = f"better in {len(by_outcome['better'])} of {len(perceptual)} perceptual measures"
    wins += f", worse in {_named(by_outcome['worse'])}" if by_outcome["worse"] else ", worse in none"
    wins += f", undecided in {_named(by_outcome[''])}" if by_outcome[""] else ""
    pixels = {"worse": "worse", "better": "better", "": "neither better nor worse, by these intervals,"}[
        verdicts[PIXEL]
    ]
    if by_outcome["worse"] or verdicts[PIXEL] == "better":
        outcome = "The claim is refuted in part."
    elif by_outcome[""] or not verdicts[PIXEL]:
        outcome = "The claim is not refuted, but not all of it is confirmed."
    else:
        outcome = "The claim is confirmed."
    return f"{wins}; {pixels} in mean squared pixel error. {outcome}"


def _named(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names)})"
