"""Commands that evaluate a model: measures with intervals and their protocol, and what its latents tell."""

import json
from typing import Any

from dfcvae.commands.measuring import print_measures
from dfcvae.data import data_of, load_faces, source_name, tell_other_data
from dfcvae.errors import UserError
from dfcvae.evaluation import compared, probe_model, probe_record, probe_table
from dfcvae.evaluation.lpips import left_out
from dfcvae.evaluation.samples import FEWEST
from dfcvae.reports.evaluated import INCEPTION, JUDGED, SETS, Evaluated, evaluate_model
from dfcvae.reports.observers import Observers
from dfcvae.training.environment import environment, pick_device
from dfcvae.vae import VAE, digest, read_model


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
    if arguments.source is None:
        tell_other_data(read_model(arguments.model)[0], splits["test"])
    found = evaluate_model(vae, data, splits, observers, draws=draws, seed=seed, progress=True)
    print_measures(found.measured.values(), found.measured.intervals(seed))
    if observers.judge or observers.inception:
        print_samples(found, compared(splits["val"], splits["test"]))
    about = {name: value for name, value in environment().items() if name in ("commit", "device", "versions")}
    print_card(found.card | about)
    if told := left_out(observers.lpips):
        print(f"\n{told}")
    if arguments.out:
        numbers = found.as_json(seed)
        numbers["protocol"] |= about
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
    for titles, where in ((JUDGED, "in the judge's features"), (INCEPTION, "in the features of Inception")):
        if titles.keys() <= found.samples["samples"].keys():
            print(f"\nAgainst the test split, {where}, {n:,} images each")
            print(f"{'':<28}" + "".join(f"{title:>26}" for title in titles.values()))
            for kind, row in found.samples.items():
                print(f"{SETS[kind]:<28}" + "".join(f"{row[key]:>26.4g}" for key in titles))


def print_card(card: dict[str, Any]) -> None:
    """One line of the protocol to a line."""
    print("\nProtocol")
    for name, value in card.items():
        text = ", ".join(f"{package} {number}" for package, number in value.items()) if name == "versions" else value
        print(f"{name:<28}{text}")
