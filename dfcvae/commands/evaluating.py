"""Commands that evaluate a model: measures with intervals and their protocol, and probes of its latents."""

import json
import sys
from pathlib import Path
from typing import Annotated

from dfcvae.commands.arguments import Fid, Judges, Lpips, Model, Source
from dfcvae.errors import UserError
from dfcvae.fields import MANY, Range, Seed

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
    from dfcvae.data import data_of, filled, load_faces, tell_other_data
    from dfcvae.evaluation import compared
    from dfcvae.evaluation.quality import lpips_skipped
    from dfcvae.evaluation.samples import FEWEST
    from dfcvae.report import tables
    from dfcvae.report.evaluated import as_text, evaluate_model, this_machine
    from dfcvae.report.models import Model as Trained
    from dfcvae.report.observers import Observers, judge_warnings

    if out:  # a bad path shows before hours of work
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise UserError(f"{out} is a folder; name a file with --out.")
    trained, observers, data = Trained.load(model), Observers.load(judge, fid, lpips), data_of(model, source)
    splits = load_faces(data)
    if source is None:
        tell_other_data(read_model(model)[0], splits["test"])
    for warning in judge_warnings(observers, {"this model": trained.experiment}, filled(splits, "test")):
        print(warning, file=sys.stderr)
    found = evaluate_model(trained, data, splits, observers, draws=iwae or 1, seed=seed)
    print(tables.listing(found.measured, seed).text())
    n, distances = compared(splits["val"], splits["test"]), tables.distances({"": [found.measured]})
    for table in distances:
        print(f"\nSets of {n:,} images against the test split\n{table.text()}")
    if observers.spaces() and not distances:
        print(f"\nSamples are not measured: {FEWEST} validation and test faces are needed, and there are {n}.")
    print(f"\nProtocol\n{as_text(found.card | this_machine())}".rstrip())
    if skipped := lpips_skipped(observers.lpips):
        print(f"\n{skipped}")
    if out:
        numbers = found.as_json(seed)
        numbers["protocol"] |= this_machine()
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
