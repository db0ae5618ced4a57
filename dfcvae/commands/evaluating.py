"""Commands that evaluate a model: measures with intervals and their protocol, and what its latents tell."""

import json
import sys
from typing import Any

from dfcvae.checkpoint import read_model
from dfcvae.commands.measuring import print_measures
from dfcvae.data import data_of, load_faces, source_name, tell_other_data
from dfcvae.device import environment, pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation import compared, probe_model, probe_record, probe_table
from dfcvae.evaluation.quality import lpips_skipped
from dfcvae.evaluation.samples import FEWEST
from dfcvae.fitted import kept_mixture
from dfcvae.report.evaluated import KINDS, NAMED, SETS, SPACES, Evaluated, distance_keys, evaluate_model, spaces_of
from dfcvae.report.observers import Observers, partial_judges
from dfcvae.vae import VAE, digest


def evaluate(arguments: Any) -> None:
    """Print measures of a model on the test split, with intervals, and what they were measured with."""
    if arguments.iwae == 1:
        raise UserError("--iwae takes 2 draws or more: with 1 it is the ELBO, which is measured without it too.")
    if arguments.out:  # mistaken paths show before hours of work
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        if arguments.out.is_dir():
            raise UserError(f"{arguments.out} is a folder; name a file with --out.")
    device, seed = pick_device(), arguments.seed
    vae = VAE.load(arguments.model, device=device)
    observers = Observers.load(arguments.judge, arguments.fid, arguments.lpips)
    data = data_of(arguments.model, arguments.source)
    splits, draws = load_faces(data), arguments.iwae or 1
    about = read_model(arguments.model)[0]
    if arguments.source is None:
        tell_other_data(about, splits["test"])
    for warning in partial_judges(observers, {"this model": about["config"]}):
        print(warning, file=sys.stderr)
    mixture = kept_mixture(arguments.model, vae) if observers.embed_samples() else None
    found = evaluate_model(vae, data, splits, observers, mixture=mixture, draws=draws, seed=seed, progress=True)
    print_measures(found.measured.values(), found.measured.intervals(seed))
    if observers.embed_samples():
        print_samples(found, compared(splits["val"], splits["test"]))
    here = {name: value for name, value in environment().items() if name in ("commit", "device", "versions")}
    print_card(found.card | here)
    if told := lpips_skipped(observers.lpips):
        print(f"\n{told}")
    if arguments.out:
        numbers = found.as_json(seed)
        numbers["protocol"] |= here
        arguments.out.write_text(json.dumps(numbers, indent=2) + "\n")


def probe(arguments: Any) -> None:
    """Print what linear classifiers read of attributes in a model's latents, beside controls."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source, held_out=False)
    result = probe_model(vae, load_faces(data), progress=True)
    print(probe_table(result))
    if arguments.out:
        about = {"model": digest(vae), "source": source_name(data), "size": data.size, "crop": data.crop}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(about | probe_record(result), indent=2) + "\n")


def print_samples(found: Evaluated, n: int) -> None:
    """How far samples are from the test split, unless there are too few faces."""
    if not found.samples:
        print(f"\nSamples are not measured: {FEWEST} validation and test faces are needed, and there are {n}.")
        return
    for space in spaces_of(found.samples["samples"]):
        where = f"the {SPACES[space]}" if space == "judge" else SPACES.get(space, f"the judge {space}")
        print(f"\nAgainst the test split, in the features of {where}, {n:,} images each")
        titles = [NAMED.get(f"{kind}_{space}", title) for kind, title in KINDS.items()]
        titles = [title.upper() if title in NAMED.values() else title for title in titles]
        print(f"{'':<28}" + "".join(f"{title:>20}" for title in titles))
        for kind, row in found.samples.items():
            print(f"{SETS[kind]:<28}" + "".join(f"{row[key]:>20.4g}" for key in distance_keys(space)))


def print_card(card: dict[str, Any]) -> None:
    """One line of the protocol to a line."""
    print("\nProtocol")
    lines = {name: value for name, value in card.items() if name != "judges"}
    lines |= {f"judge {name}": value for name, value in card.get("judges", {}).items()}
    for name, value in lines.items():
        text = ", ".join(f"{key} {_plain(part)}" for key, part in value.items()) if isinstance(value, dict) else value
        print(f"{name:<28}{text}")


def _plain(value: Any) -> str:
    return " ".join(value) or "none" if isinstance(value, list) else str(value)
