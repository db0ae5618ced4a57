"""Commands that evaluate a model: measures with intervals and their protocol, and probes of its latents."""

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dfcvae.commands.arguments import Fid, Judges, Lpips, Model, Source
from dfcvae.errors import UserError
from dfcvae.ranges import MANY, Range, Seed

if TYPE_CHECKING:
    from dfcvae.report.evaluated import Evaluated

Draws = Annotated[int, Range(2, MANY, "an integer of at least 2 (1 is the ELBO, which is measured anyway)")]


def evaluate(
    model: Model,
    *,
    source: Source = None,
    judge: Judges = (),
    fid: Fid = None,
    lpips: Lpips = False,
    iwae: Draws | None = None,
    seed: Seed = 0,
    out: Path | None = None,
) -> None:
    """Measure a model on the test split, with intervals and the protocol of the measurement.

    Args:
        iwae: also the importance-weighted bound on ln p(x), with this number of decoded draws per image.
        seed: of samples, draws and resampled images.
        out: also write the measures as JSON.
    """
    from dfcvae.checkpoint import read_model
    from dfcvae.commands.faces import load_vae
    from dfcvae.data import data_of, filled, load_faces, tell_other_data
    from dfcvae.device import environment
    from dfcvae.evaluation import compared
    from dfcvae.evaluation.quality import lpips_skipped
    from dfcvae.fitted import saved_mixture
    from dfcvae.report.evaluated import evaluate_model
    from dfcvae.report.observers import Observers, judge_warnings
    from dfcvae.report.tables import measure_lines

    if out:  # a bad path shows before hours of work
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise UserError(f"{out} is a folder; name a file with --out.")
    vae, observers = load_vae(model), Observers.load(judge, fid, lpips)
    data = data_of(model, source)
    splits, about = load_faces(data), read_model(model)[0]
    if source is None:
        tell_other_data(about, splits["test"])
    for warning in judge_warnings(observers, {"this model": about["config"]}, filled(splits, "test")):
        print(warning, file=sys.stderr)
    mixture = saved_mixture(model, vae) if observers.embed_samples() else None
    found = evaluate_model(vae, data, splits, observers, mixture=mixture, draws=iwae or 1, seed=seed, progress=True)
    _print(*measure_lines(found.measured.values(), found.measured.intervals(seed)))
    if observers.embed_samples():
        print_samples(found, compared(splits["val"], splits["test"]))
    here = {name: value for name, value in environment().items() if name in ("commit", "device", "versions")}
    _print_card(found.card | here)
    if skipped := lpips_skipped(observers.lpips):
        print(f"\n{skipped}")
    if out:
        numbers = found.as_json(seed)
        numbers["protocol"] |= here
        out.write_text(json.dumps(numbers, indent=2) + "\n")


def probe(model: Model, *, source: Source = None, out: Path | None = None) -> None:
    """Measure what linear classifiers read of attributes in the latents, beside controls.

    Args:
        out: also write all scores as JSON.
    """
    from dfcvae.commands.faces import load_vae
    from dfcvae.data import data_of, load_faces, source_name
    from dfcvae.evaluation import probe_model, probe_record, probe_table
    from dfcvae.vae import digest

    vae = load_vae(model)
    data = data_of(model, source, held_out=False)
    result = probe_model(vae, load_faces(data), progress=True)
    print(probe_table(result))
    if out:
        about = {"model": digest(vae), "source": source_name(data), "size": data.size, "crop": data.crop}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(about | probe_record(result), indent=2) + "\n")


def print_samples(found: "Evaluated", n: int) -> None:
    """How far samples are from the test split, unless there are too few faces."""
    from dfcvae.evaluation.samples import FEWEST
    from dfcvae.report.tables import SETS, SPACES, distance_keys, distance_names, spaces_of

    if not found.samples:
        print(f"\nSamples are not measured: {FEWEST} validation and test faces are needed, and there are {n}.")
        return
    for space in spaces_of(found.samples["samples"]):
        where = f"the {SPACES[space]}" if space == "judge" else SPACES.get(space, f"the judge {space}")
        lines = [f"{'':<28}" + "".join(f"{name:>16}" for name in distance_names(space))]
        for kind, row in found.samples.items():
            lines.append(f"{SETS[kind]:<28}" + "".join(f"{row[key]:>16.4g}" for key in distance_keys(space)))
        _print(f"\nAgainst the test split, in the features of {where}, {n:,} images each", *lines)


def _print_card(card: dict[str, Any]) -> None:
    """The protocol, an entry to a paragraph."""
    print("\nProtocol")
    lines = {name: value for name, value in card.items() if name != "judges"}
    lines |= {f"judge {name}": value for name, value in card.get("judges", {}).items()}
    for name, value in lines.items():
        text = ", ".join(f"{key} {_plain(part)}" for key, part in value.items()) if isinstance(value, dict) else value
        print(textwrap.fill(f"{name:<28}{text}", 100, subsequent_indent=" " * 28))


def _plain(value: Any) -> str:
    return " ".join(value) or "none" if isinstance(value, list) else str(value)


def _print(*lines: str) -> None:
    """Print lines, with letters for the arrows where a console has none."""
    text, encoding = "\n".join(lines), sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(str.maketrans("↓↑→", "v^>"))
    print(text)
